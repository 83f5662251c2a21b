"""Results of runs, each on its own and held against the first of several."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from mtl.ledger.queries import split_name
from mtl.report.contents import ClassChange, Result, RunDifference, SettingResults
from mtl.stats import BY_TASK, fifth_percentile, mean_interval

_CHANGES = 15  # classes that gained most, and as many that lost most, of a setting

Settings = Sequence[Mapping[str, Any]]  # as results.json has them


def setting_results(settings: Settings) -> list[SettingResults]:
    """The settings of results.json as tables."""
    return [
        SettingResults(
            title=_title(s),
            tasks=s["tasks"],
            split=s["split"],
            results=[
                Result(
                    name=one["name"],
                    accuracy=one["accuracy"],
                    interval=one["interval"],
                    percentile_5=_fifth(one["task_accuracy"], s["way"] * s["queries"]),
                    worst_class=min((r[0] for r in one["class_recall"].values()), default=0.0),
                    difference=one["difference"],
                    difference_interval=one["difference_interval"],
                )
                for one in s["scores"]
            ],
            note=_worst_again(s["resampled"]) if s["resampled"] else None,
        )
        for s in settings
    ]


def _fifth(accuracy: Sequence[float], answers: int) -> float:
    """Worked out anew, since older results hold the plain quantile."""
    return fifth_percentile(torch.tensor(accuracy, dtype=torch.float64), answers)


def run_differences(
    first: Settings, name: str, other: Settings, unlike: Callable[[str], str | None]
) -> list[RunDifference]:
    """What the learner of another run has over that of the first, setting by setting.

    Args:
        first: results of the first run.
        name: of the other run.
        other: its results.
        unlike: what made the two draw different tasks from a split of this name; None: nothing did.
    """
    found = []
    for mine, theirs in _shared(first, other):
        a, b = mine["scores"][0], theirs["scores"][0]
        unpaired = unlike(split_name(mine["split"], mine.get("set"))) or _unlike(mine, theirs)
        if unpaired is None:
            gaps = [y - x for x, y in zip(a["task_accuracy"], b["task_accuracy"], strict=True)]
            difference, interval = mean_interval(gaps)
        else:
            difference = b["accuracy"] - a["accuracy"]
            interval = (a["interval"] ** 2 + b["interval"] ** 2) ** 0.5
        found.append(RunDifference(_title(mine), name, b["accuracy"], difference, interval, unpaired))
    return found


def _unlike(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    for key, word in (("tasks", "tasks"), ("queries", "queries of a class")):
        if mine[key] != theirs[key]:
            return f"{theirs[key]:,} {word}, not {mine[key]:,}"
    return None


def class_changes(first: Settings, name: str, other: Settings) -> list[ClassChange]:
    """The classes whose recall gained or lost most from the first run to another, by setting."""
    found = []
    for mine, theirs in _shared(first, other):
        a, b = mine["scores"][0]["class_recall"], theirs["scores"][0]["class_recall"]
        known = intervals_by_task([mine, theirs])
        changes = [
            ClassChange(
                setting=_title(mine),
                run=name,
                name=c,
                before=a[c][0],
                after=b[c][0],
                apart=(a[c][2] < b[c][1] or b[c][2] < a[c][1]) if known else None,
            )
            for c in sorted(set(a) & set(b))
        ]
        changes.sort(key=lambda c: (c.before - c.after, c.name))  # what gained most comes first
        gained = [c for c in changes if c.after > c.before]
        lost = [c for c in changes if c.after < c.before]
        found += [*gained[:_CHANGES], *lost[-_CHANGES:]]
    return found


def intervals_by_task(settings: Settings) -> bool:
    """Whether the intervals of recall are over tasks; those of earlier versions are too narrow to be used."""
    return all(s.get("recall_intervals") == BY_TASK for s in settings)


def _shared(first: Settings, other: Settings) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    theirs = {_title(s): s for s in other}
    return [(s, theirs[_title(s)]) for s in first if _title(s) in theirs]


def _title(s: Mapping[str, Any]) -> str:
    of = f" of {s['set']}" if s.get("set") else ""
    split = "" if s["split"] == "test" else f", {s['split']}"
    return f"{s['way']}-way {s['shot']}-shot{of}{split}"


def _worst_again(r: Mapping[str, Any]) -> str:
    verdicts = ", ".join(f"{n} {word}" for word, n in r["verdicts"].items())
    rounds = "1 round" if r["rounds"] == 1 else f"{r['rounds']} rounds"
    text = (
        f"The {r['tasks']} worst tasks: {100 * r['accuracy_picked']:.1f} % when picked, "
        f"{100 * r['accuracy_fresh']:.1f} % with fresh images in {rounds} ({verdicts})."
    )
    if r.get("control_fresh") is not None:
        text += (
            f" As many of the others, drawn at random: {100 * r['control_first']:.1f} % at first, "
            f"{100 * r['control_fresh']:.1f} % with fresh images."
        )
    return text
