"""Several runs, the others held against the first."""

from collections.abc import Sequence

from mtl.config import Config
from mtl.report.contents import Comparison
from mtl.report.drawings import Drawings
from mtl.report.figures import changes, curves
from mtl.report.run_files import STAGES, RunFiles
from mtl.report.scores import class_changes, run_differences

#: Of `data`: what decides which images and classes there are to draw tasks from.
_DRAWN_BY = (
    "name",
    "sets",
    "split",
    "rotations",
    "samples_per_class",
    "split_fractions",
    "split_seed",
)


def side_by_side(runs: Sequence[RunFiles], drawings: Drawings) -> Comparison:
    """Curves over each other, differences on the same tasks, and which classes gained and lost."""
    first, *others = runs
    notes, found, moved = [], [], []
    for run in others:
        same = same_tasks(first.config, run.config)
        found += run_differences(first.results, run.name, run.results, same)
        moved += class_changes(first.results, run.name, run.results)
        if not same:
            notes.append(
                f"{run.name} was scored on other tasks than {first.name} (another seed, image set or split): "
                "its differences are not paired, and their intervals wider."
            )
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


def same_tasks(one: Config, other: Config) -> bool:
    """Whether two runs were scored on the same tasks: a pure function of seed, images and split."""
    a, b = one.evaluate, other.evaluate
    return (
        one.seed == other.seed
        and all(getattr(one.data, key) == getattr(other.data, key) for key in _DRAWN_BY)
        and (a.split, a.within_group, a.sets) == (b.split, b.within_group, b.sets)
    )


def _lines(run: RunFiles, stage: str) -> list[dict[str, object]]:
    return [line for line in run.metrics if line.get("stage") == stage]
