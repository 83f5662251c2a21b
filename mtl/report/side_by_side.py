"""Several runs, the others held against the first."""

from collections.abc import Sequence
from functools import partial

from mtl.report.contents import Comparison
from mtl.report.drawings import Drawings
from mtl.report.figures import changes, curves
from mtl.report.run_files import STAGES, RunFiles
from mtl.report.scores import class_changes, intervals_by_task, run_differences


def side_by_side(runs: Sequence[RunFiles], drawings: Drawings) -> Comparison:
    """Curves over each other, differences on the same tasks, and which classes gained and lost."""
    first, *others = runs
    notes, found, moved = [], [], []
    for run in others:
        between = run_differences(first.results, run.name, run.results, partial(unlike, first, run))
        moved += class_changes(first.results, run.name, run.results)
        if reasons := sorted({d.unpaired for d in between if d.unpaired}):
            notes.append(
                f"{run.name} was scored on other tasks than {first.name} ({'; '.join(reasons)}): "
                "such differences are not paired, and their intervals wider."
            )
        if not intervals_by_task([*first.results, *run.results]):
            notes.append(
                f"Which classes of {first.name} and {run.name} are apart is not known: the results.json of "
                "an earlier version counted queries of one task as independent; `evaluate` writes a new one."
            )
        if not between and first.results and run.results:
            notes.append(f"{run.name} and {first.name} were scored at no common setting.")
        found += between
    names = ", ".join(run.name for run in runs)
    drawn = [
        drawings.add(
            f"{stage} curves of all",
            curves.training_curves({run.name: of for run in runs if (of := _lines(run, stage))}, stage),
            f"{stage.capitalize()} of {names}.",
            f"Training curves of {stage}, {len(runs)} runs",
        )
        for stage in STAGES
    ]
    drawn += [
        drawings.add(
            "differences",
            changes.differences(found) if found else None,
            f"What each run has over {first.name}, in points, with 95 % intervals over tasks.",
            "Differences in accuracy between runs",
        ),
        drawings.add(
            "class changes",
            changes.class_changes(moved) if moved else None,
            f"Recall of novel classes with {first.name} and with the other run: those that gained and lost "
            "most. Of many classes some move far by chance alone.",
            "Classes that gained and lost most",
        ),
    ]
    return Comparison(first.name, found, moved, [d for d in drawn if d is not None], notes)


def unlike(one: RunFiles, other: RunFiles, split: str) -> str | None:
    """Why two runs drew different tasks of a split, or None where they drew the same.

    Tasks are a pure function of the seed, the images and the way of drawing.
    """
    if one.config.seed != other.config.seed:
        return "another seed"
    if one.config.evaluate.within_group != other.config.evaluate.within_group:
        return "tasks within groups against tasks across them"
    if split not in one.images or split not in other.images:
        return "images not known"
    return None if one.images[split] == other.images[split] else "other images"


def _lines(run: RunFiles, stage: str) -> list[dict[str, object]]:
    return [line for line in run.metrics if line.get("stage") == stage]
