"""The views of a ledger as text: tables for a person, JSON or CSV for a program.

JSON is one object: {"ledger", "round", "phases": [{"phase", "split", "episodes", "rounds", "hardest_tasks",
"hardest_classes", "most_confused_pairs"}]}, the last four lists of objects. Beside what CSV has of it, a task
has its `history`, the accuracy at each visit, and a class its `trend_over_rounds`, the recall in each stretch
of the phase's rounds (null: not drawn there); both are of the whole phase, whatever the round.

CSV is one table with one header. The columns `phase`, `view` (rounds, hardest_tasks, hardest_classes or
most_confused_pairs) and `rank` (from 1) say what a row is; a cell is empty where the view has no such column.
Class names stand in `classes` as a JSON list, since a name may hold any character.
"""

import csv
import io
import json
import math
from bisect import bisect_right
from dataclasses import asdict, fields, replace
from typing import Any, Literal

from mtl.errors import UserError
from mtl.ledger.class_history import class_trends
from mtl.ledger.queries import (
    ConfusedPair,
    HardClass,
    HardTask,
    confused_pairs,
    hardest_classes,
    hardest_tasks,
    has_round,
    rounds,
)
from mtl.ledger.store import Ledger, Phase, Round
from mtl.ledger.tables import Course, phase_tables
from mtl.ledger.task_history import histories

Format = Literal["table", "json", "json line", "csv"]  # a json line is the JSON without line ends

_Views = dict[str, list[Any]]

_STRETCHES = 12  # of a phase's rounds
_ALL_ROUNDS = 1 << 40


def render(
    ledger: Ledger, top: int = 20, round: int | None = None, format: Format = "table", width: int = 100
) -> str:
    """Every view of every phase, `top` rows each; with `round` of that round alone, where a phase has it.

    `width` is the table's, in columns. Raises UserError if no phase has the round, or `top` is under 1.
    """
    phases = [phase for phase in ledger.phases() if round is None or has_round(ledger, phase.name, round)]
    if round is not None and not phases:
        raise UserError(f"round {round}: no phase of {ledger.path} has it")
    views = [(phase, phase_views(ledger, phase, top, round)) for phase in phases]
    if format == "csv":
        return _csv(views)
    courses = [phase_course(ledger, phase, rows) for phase, rows in views]
    if format != "table":
        return _json(ledger, round, views, courses, None if format == "json line" else 2)
    if not views:
        return _nothing(ledger)
    shown = zip(views, courses, strict=True)
    return "\n".join(phase_tables(phase, rows, course, round, width) for (phase, rows), course in shown)


def latest_tables(ledger: Ledger, top: int, width: int, height: int) -> str:
    """The tables of the phase that was begun last, with as many rows as `height` lines hold: 1 to `top`.

    Where not even one row of each fits, the list of rounds goes, then what is told beside the hardest task,
    then the curves of all rounds: that a task, a class and a pair can be seen comes first.
    """
    if not ledger.phases():
        return _nothing(ledger)
    phase = ledger.phases()[-1]
    views = phase_views(ledger, phase, top, None)
    course = phase_course(ledger, phase, views)

    without_list = views | {"rounds": []}
    brief = without_list | {
        "hardest_tasks": [
            replace(task, classes=_few(task.classes), weight=None, verdict=None)
            for task in views["hardest_tasks"]
        ]
    }
    for shown, curves in (
        (views, course),
        (without_list, course),
        (brief, replace(course, visits=[])),
        (brief, Course([], [], course.recalls)),
    ):

        def tables(rows: int, shown: _Views = shown, curves: Course = curves) -> str:
            fewer = {name: all_[-rows:] if name == "rounds" else all_[:rows] for name, all_ in shown.items()}
            return phase_tables(phase, fewer, curves, None, width)

        if tables(1).count("\n") <= height:
            break
    heights = range(1, min(top, max(1, height)) + 1)
    return tables(max(1, bisect_right(heights, height, key=lambda rows: tables(rows).count("\n"))))


def _few(classes: tuple[str, ...]) -> tuple[str, ...]:
    return classes if len(classes) <= 2 else (*classes[:2], f"{len(classes) - 2} more")


def phase_views(ledger: Ledger, phase: Phase, top: int, round: int | None) -> dict[str, list[Any]]:
    """The rows of each view of one phase, under the names that JSON and CSV use."""
    return {
        "rounds": rounds(ledger, phase.name, top, round),
        "hardest_tasks": hardest_tasks(ledger, phase.name, top, round),
        "hardest_classes": hardest_classes(ledger, phase.name, top, round),
        "most_confused_pairs": confused_pairs(ledger, phase.name, top, round),
    }


def phase_course(ledger: Ledger, phase: Phase, views: dict[str, list[Any]]) -> Course:
    """What became of the tasks and classes of these views in the course of the phase."""
    visits = histories(ledger, phase.name, [task.classes for task in views["hardest_tasks"]])
    recalls = class_trends(ledger, phase.name, [c.name for c in views["hardest_classes"]], _STRETCHES)
    of_tasks = [[visit.accuracy for visit in task] for task in visits]
    return Course(rounds(ledger, phase.name, _ALL_ROUNDS), of_tasks, recalls)


def _nothing(ledger: Ledger) -> str:
    return f"{ledger.path}: the ledger holds no episodes yet.\n"


def _json(
    ledger: Ledger,
    round: int | None,
    views: list[tuple[Phase, dict[str, list[Any]]]],
    courses: list[Course],
    indent: int | None,
) -> str:
    phases = []
    for (phase, by_view), course in zip(views, courses, strict=True):
        plain = {view: [_plain(row) for row in rows] for view, rows in by_view.items()}
        for task, visits in zip(plain["hardest_tasks"], course.visits, strict=True):
            task["history"] = visits
        for one, recalls in zip(plain["hardest_classes"], course.recalls, strict=True):
            one["trend_over_rounds"] = recalls
        phases.append({"phase": phase.name, "split": phase.split, "episodes": phase.episodes} | plain)
    whole = {"ledger": str(ledger.path), "round": round, "phases": phases}
    return json.dumps(whole, indent=indent, allow_nan=False) + "\n"


def _csv(views: list[tuple[Phase, dict[str, list[Any]]]]) -> str:
    of_rows = [field.name for row in (Round, HardTask, HardClass, ConfusedPair) for field in fields(row)]
    columns = [
        "phase",
        "split",
        "view",
        "rank",
        "classes",
        *(c for c in of_rows if c not in {"classes", "name"}),
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(columns)), lineterminator="\n")
    writer.writeheader()
    for phase, by_view in views:
        for view, rows in by_view.items():
            for rank, row in enumerate(rows, 1):
                cells = _plain(row)
                names = [cells.pop("name")] if "name" in cells else cells.pop("classes", None)
                own = {"phase": phase.name, "split": phase.split, "view": view, "rank": rank}
                listed = {} if names is None else {"classes": json.dumps(names, ensure_ascii=False)}
                writer.writerow(own | listed | cells)
    return text.getvalue()


def _plain(row: Any) -> dict[str, Any]:
    """A row's fields; what is not finite counts as unknown, since JSON has no word for it."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(row).items()
    }
