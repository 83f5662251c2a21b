"""Results of runs as tables, and the runs of a report compared with the first of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mtl.errors import counted
from mtl.evaluation.results import TRANSDUCTIVE_NOTE
from mtl.ledger.queries import split_name
from mtl.report.contents import ClassChange, Comparison, RunDifference, SettingResults
from mtl.report.drawings import Drawings
from mtl.report.figures import changes, curves
from mtl.report.run_files import STAGES, RunFiles
from mtl.stats import mean_interval

_CHANGES = 15  # classes that gained most, and as many that lost most, of a setting

Settings = Sequence[Mapping[str, Any]]  # as results.json has them


def setting_results(settings: Settings) -> list[SettingResults]:
    """The settings of results.json as tables."""
    found = []
    for s in settings:
        # Solvers that see all queries at once have a table of their own.
        alone, together = (
            [one for one in s["scores"] if one.get("transductive", False) == t] for t in (0, 1)
        )
        found.append(SettingResults(_title(s), {**s, "scores": alone}, _resampled(s["resampled"])))
        if together:
            title = f"{_title(s)}; {TRANSDUCTIVE_NOTE}"
            found.append(SettingResults(title, {**s, "scores": together}, None))
    return found


def _title(s: Mapping[str, Any]) -> str:
    of = f" of {s['set']}" if s.get("set") else ""
    split = "" if s["split"] == "test" else f", {s['split']}"
    return f"{s['way']}-way {s['shot']}-shot{of}{split}"


def _resampled(r: Mapping[str, Any] | None) -> str | None:
    """What became of the worst tasks."""
    if r is None:
        return None
    verdicts = ", ".join(f"{n} {word}" for word, n in r["verdicts"].items())
    text = (
        f"The {counted(r['tasks'], 'worst task')}: {100 * r['accuracy_picked']:.1f} % when picked, "
        f"{100 * r['accuracy_fresh']:.1f} % with fresh images in {counted(r['rounds'], 'round')} "
        f"({verdicts})."
    )
    if r["control_fresh"] is not None:
        text += (
            f" As many of the others, drawn at random: {100 * r['control_first']:.1f} % at first, "
            f"{100 * r['control_fresh']:.1f} % with fresh images."
        )
    return text


def compare_runs(runs: Sequence[RunFiles], drawings: Drawings) -> Comparison:
    """Curves over each other, differences on the same tasks, and which classes gained and lost."""
    first, *others = runs
    notes: list[str] = []
    differences: list[RunDifference] = []
    moved: list[ClassChange] = []
    for run in others:
        to_first = run_differences(first.results, run.name, run.results, partial(unlike, first, run))
        if reasons := sorted({d.unpaired for d in to_first if d.unpaired}):
            notes.append(
                f"{run.name} was scored on other tasks than {first.name} ({'; '.join(reasons)}): "
                "such differences are not paired, and their intervals wider."
            )
        if not to_first and first.results and run.results:
            notes.append(f"{run.name} and {first.name} were scored at no common setting.")
        differences += to_first
        moved += class_changes(first.results, run.name, run.results)
    drawn = [
        drawings.add(
            f"{stage} curves of all",
            partial(curves.training_curves, {run.name: of for run in runs if (of := run.lines(stage))}),
            f"{stage.capitalize()} of {', '.join(run.name for run in runs)}.",
            f"Training curves of {stage}, {len(runs)} runs",
        )
        for stage in STAGES
    ]
    drawn += [
        drawings.add(
            "differences",
            lambda: changes.differences(differences) if differences else None,
            f"What each run has over {first.name}, in points, with 95 % intervals over tasks.",
            "Differences in accuracy between runs",
        ),
        drawings.add(
            "class changes",
            lambda: changes.class_changes(moved) if moved else None,
            f"Recall of novel classes with {first.name} and with the other run: those that gained and lost "
            "most. Among many classes some move far by chance.",
            "Classes that gained and lost most",
        ),
    ]
    return Comparison(first.name, differences, moved, [d for d in drawn if d is not None], notes)


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


def run_differences(
    first: Settings, name: str, other: Settings, unlike: Callable[[str], str | None]
) -> list[RunDifference]:
    """What the learner of another run has over that of the first, setting by setting.

    Args:
        first: results of the first run.
        name: of the other run.
        other: its results.
        unlike: why the two drew different tasks from a split of this name; None: they drew the same.
    """
    found = []
    for before, after in _shared(first, other):
        a, b = before["scores"][0], after["scores"][0]
        unpaired = unlike(split_name(before["split"], before.get("set")))
        for key, word in (("tasks", "tasks"), ("queries", "queries of a class")):
            if unpaired is None and before[key] != after[key]:
                unpaired = f"{after[key]:,} {word}, not {before[key]:,}"
        if unpaired is None:
            gaps = [y - x for x, y in zip(a["task_accuracy"], b["task_accuracy"], strict=True)]
            difference, interval = mean_interval(gaps)
        else:
            difference = b["accuracy"] - a["accuracy"]
            interval = (a["interval"] ** 2 + b["interval"] ** 2) ** 0.5
        found.append(RunDifference(_title(before), name, b["accuracy"], difference, interval, unpaired))
    return found


def class_changes(first: Settings, name: str, other: Settings) -> list[ClassChange]:
    """The classes whose recall gained or lost most from the first run to another, by setting."""
    found = []
    for before, after in _shared(first, other):
        a, b = before["scores"][0]["class_recall"], after["scores"][0]["class_recall"]
        changes = [
            ClassChange(
                setting=_title(before),
                run=name,
                name=c,
                before=a[c][0],
                after=b[c][0],
                apart=a[c][2] < b[c][1] or b[c][2] < a[c][1],
            )
            for c in sorted(set(a) & set(b))
        ]
        changes.sort(key=lambda c: (c.before - c.after, c.name))  # what gained most comes first
        gained = [c for c in changes if c.after > c.before]
        lost = [c for c in changes if c.after < c.before]
        found += [*gained[:_CHANGES], *lost[-_CHANGES:]]
    return found


def _shared(first: Settings, other: Settings) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The settings that both runs were scored at."""
    by_title = {_title(s): s for s in other}
    return [(s, by_title[_title(s)]) for s in first if _title(s) in by_title]
