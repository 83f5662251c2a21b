"""The numbers of an evaluation: as plain values, as results.json and as a table."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, Field
from rich.console import Console
from rich.table import Table

from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.errors import counted
from mtl.evaluation.base_classes import BaseAccuracy
from mtl.evaluation.resample import Resampled
from mtl.runtime.outputs import replace_text
from mtl.runtime.tensor_files import read_json
from mtl.stats import BY_TASK, fifth_percentile, mean_interval, recall_intervals

TRANSDUCTIVE_NOTE = "transductive: all queries of a task seen at once"


@dataclass(frozen=True)
class Score:
    """One baseline at one setting. Accuracies and recalls in [0, 1], intervals are 95 %."""

    name: str
    accuracy: float
    interval: float  # half width, Student t over tasks
    percentile_5: float  # of task accuracy, by `fifth_percentile`
    difference: float | None  # to the first baseline, paired over the same tasks
    difference_interval: float | None
    class_recall: dict[str, tuple[float, float, float]]  # recall and its interval over tasks
    task_accuracy: list[float]
    transductive: bool = False  # all queries of a task were seen at once: not comparable with the others


@dataclass(frozen=True)
class Setting:
    """All baselines at one (way, shot)."""

    split: str
    way: int
    shot: int
    queries: int
    tasks: int
    scores: list[Score]
    resampled: Resampled | None
    set: str | None = None  # whose novel classes, where not those of the run's own image set alone
    recall_intervals: str = BY_TASK  # what the intervals of `class_recall` are over


@dataclass(frozen=True)
class TrialScore:
    """Errors in one-shot trials that others were scored on, in [0, 1]; the interval is over runs, 95 %."""

    error: float  # mean over runs
    interval: float  # half width, Student t over runs
    trials: int
    way: int
    runs: dict[str, float]  # error in each


#: Errors in the 400 trials of Lake et al. (Science 2015): 20 runs, 20 characters of one alphabet each.
PEOPLE, PROGRAM_LEARNING = 0.045, 0.033


def trials_text(s: Mapping[str, Any]) -> str:
    """A `TrialScore`, as a dict, in a sentence."""
    return (
        f"One-shot trials ({s['trials']} in {len(s['runs'])} runs, {s['way']}-way): "
        f"{100 * s['error']:.1f} ± {100 * s['interval']:.1f} % errors; people {100 * PEOPLE:.1f} %, "
        f"Bayesian program learning {100 * PROGRAM_LEARNING:.1f} % (Lake et al., 2015)."
    )


def score(
    name: str, episodes: EpisodeBatch, outcome: Outcome, first: Outcome | None, class_names: Sequence[str]
) -> Score:
    """The numbers of one baseline; `first` is the outcome it is compared with."""
    mean, half = mean_interval(outcome.accuracy.tolist())
    gap, gap_half = None, None
    if first is not None:
        gap, gap_half = mean_interval((outcome.accuracy.double() - first.accuracy).tolist())
    right = (outcome.recall.flatten().double() * episodes.queries).round()
    met, place, drawn = torch.unique(episodes.classes, return_inverse=True, return_counts=True)
    queries = drawn * episodes.queries
    correct = torch.zeros(len(met), dtype=right.dtype).index_add_(0, place.flatten(), right)
    squares = torch.zeros(len(met), dtype=right.dtype).index_add_(0, place.flatten(), right**2)
    intervals = recall_intervals(*(sums.numpy() for sums in (drawn, queries, correct, squares)))
    recall = {
        class_names[c]: (share, low, high)
        for c, share, (low, high) in zip(met.tolist(), (correct / queries).tolist(), intervals, strict=True)
    }
    tasks = [round(a, 5) for a in outcome.accuracy.tolist()]
    fifth = fifth_percentile(outcome.accuracy, episodes.way * episodes.queries)
    return Score(name, mean, half, fifth, gap, gap_half, recall, tasks)


def write_results(
    path: Path,
    run: str,
    settings: Sequence[Setting],
    before: Mapping[str, Any],
    base: BaseAccuracy | None = None,
) -> None:
    """results.json: settings scored now replace earlier ones of the same set, split, way and shot.

    Args:
        before: what the file holds now, as `read_results` gives it.
        base: the accuracy on held-out images of the base classes, where there are any.
    """

    def key(setting: Mapping[str, Any]) -> tuple[Any, ...]:
        return setting.get("set"), setting["split"], setting["way"], setting["shot"]

    new: list[Mapping[str, Any]] = [dataclasses.asdict(s) for s in settings]
    unchanged = [s for s in before.get("settings", []) if key(s) not in {key(n) for n in new}]
    of_base = None if base is None else dataclasses.asdict(base)
    tree = {**before, "run": run, "settings": [*unchanged, *new], "base": of_base}
    replace_text(path, json.dumps(tree, indent=1))


def show(settings: Sequence[Setting], console: Console) -> None:
    """A table for each setting, and what became of its worst tasks."""
    for s in settings:
        of = f" of {s.set}" if s.set else ""
        title = f"{s.way}-way {s.shot}-shot, {s.tasks} {s.split} tasks{of}, {s.queries} queries a class"
        console.print(_scores(title, [one for one in s.scores if not one.transductive]))
        if transductive := [one for one in s.scores if one.transductive]:
            console.print(_scores(f"{title}; {TRANSDUCTIVE_NOTE}", transductive))
        if s.resampled is not None:
            r = s.resampled
            verdicts = ", ".join(f"{n} {word}" for word, n in r.verdicts.items())
            control = ""
            if r.control_first is not None and r.control_fresh is not None:
                control = (
                    f" {counted(r.control, 'other task')}, drawn at random: {100 * r.control_first:.1f}, "
                    f"then {100 * r.control_fresh:.1f}."
                )
            console.print(
                f"The {counted(r.tasks, 'worst task')}: {100 * r.accuracy_picked:.1f} when picked, "
                f"{100 * r.accuracy_fresh:.1f} with fresh images in {counted(r.rounds, 'round')} "
                f"(all tasks: {100 * r.accuracy_all:.1f}).{control} Verdicts: {verdicts}.\n",
                highlight=False,
            )
    if len({s.set for s in settings}) > 1:
        console.print(_across_sets(settings))


def _scores(title: str, scores: Sequence[Score]) -> Table:
    """A row for each baseline."""
    table = Table(title=title, title_justify="left")
    for column in ("", "accuracy", "5th percentile", "worst class", "to the first"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    for one in scores:
        difference = (
            ""
            if one.difference is None or one.difference_interval is None
            else f"{100 * one.difference:+.2f} ± {100 * one.difference_interval:.2f}"
        )
        table.add_row(
            one.name,
            f"{100 * one.accuracy:.2f} ± {100 * one.interval:.2f}",
            f"{100 * one.percentile_5:.1f}",
            f"{100 * min(r[0] for r in one.class_recall.values()):.1f}",
            difference,
        )
    return table


def _across_sets(settings: Sequence[Setting]) -> Table:
    """The first baseline on each set, a row, at each setting, a column."""
    table = Table(title=f"{settings[0].scores[0].name}, by image set", title_justify="left")
    shapes = list(dict.fromkeys((s.way, s.shot) for s in settings))
    table.add_column("")
    for way, shot in shapes:
        table.add_column(f"{way}-way {shot}-shot", justify="right", no_wrap=True)
    for name in dict.fromkeys(s.set for s in settings):
        first = {(s.way, s.shot): s.scores[0] for s in settings if s.set == name}
        figures = [f"{100 * first[at].accuracy:.2f} ± {100 * first[at].interval:.2f}" for at in shapes]
        table.add_row(name or "", *figures)
    return table


_Count = Annotated[int, Field(ge=0, le=10**12)]
_Recall = Annotated[list[float], Field(min_length=3)]  # and the ends of its interval


class _Score(BaseModel):
    name: str
    accuracy: float
    interval: float
    percentile_5: float
    difference: float | None
    difference_interval: float | None
    class_recall: Annotated[dict[str, _Recall], Field(min_length=1)]
    task_accuracy: Annotated[list[float], Field(min_length=1)]


class _Resampled(BaseModel):
    tasks: _Count
    rounds: _Count
    accuracy_picked: float
    accuracy_fresh: float
    verdicts: dict[str, _Count]
    control_first: float | None
    control_fresh: float | None


class _Setting(BaseModel):
    split: str
    way: _Count
    shot: _Count
    queries: _Count
    tasks: _Count
    scores: list[_Score]
    resampled: _Resampled | None
    set: str | None = None
    recall_intervals: Literal["over tasks"]  # BY_TASK


class _Base(BaseModel):
    balanced: float
    images: _Count


class _Trials(BaseModel):
    error: float
    interval: float
    trials: _Count
    way: _Count
    runs: dict[str, float]


class _Results(BaseModel):
    """What must be in results.json; further keys are left to newer versions."""

    settings: list[_Setting] = []
    base: _Base | None = None
    trials: _Trials | None = None


def read_results(path: Path) -> dict[str, Any]:
    """The tree of results.json; {} where there is no such file.

    Raises:
        UserError: it is damaged.
    """
    if not path.exists():
        return {}
    tree: dict[str, Any] = read_json(path, _Results, "move it away and run evaluate again")
    return tree
