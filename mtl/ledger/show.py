"""The views of a ledger as text: tables for a person, JSON or CSV for a program.

JSON is one object: {"ledger", "round", "phases": [{"phase", "split", "episodes", "rounds",
"hardest_neighbourhoods", "hardest_tasks", "hardest_classes", "most_confused_pairs"}]}, the last five lists of
objects. Beside what CSV has of it, a task has its `history`, the accuracy at each visit, a neighbourhood that
of each round, and a class its `trend_over_rounds`, the recall in each bin of the phase's rounds (null: not
drawn there); all are of the whole phase, whatever the round.

CSV is one table with one header. The columns `phase`, `view` (rounds, hardest_neighbourhoods, hardest_tasks,
hardest_classes or most_confused_pairs) and `rank` (from 1) say what a row is; a cell is empty where the view
has no such column.
Class names are in `classes` as a JSON list, since a name may hold any character.
"""

import csv
import io
import json
import math
from dataclasses import asdict, fields
from typing import Any, Literal

from mtl.errors import UserError
from mtl.ledger.class_history import class_trends
from mtl.ledger.queries import (
    ConfusedPair,
    HardClass,
    HardNeighbourhood,
    HardTask,
    confused_pairs,
    hardest_classes,
    hardest_neighbourhoods,
    hardest_tasks,
    has_round,
    rounds,
)
from mtl.ledger.store import Ledger, Phase, RoundRow
from mtl.ledger.tables import Curves, phase_tables
from mtl.ledger.task_history import histories

Format = Literal["table", "json", "json line", "csv"]  # a json line is the JSON without line ends
Views = dict[str, list[Any]]

_POINTS = 12  # of a class's recall over the rounds


def render(
    ledger: Ledger, top: int = 20, round: int | None = None, format: Format = "table", width: int = 100
) -> str:
    """Every view of every phase, `top` rows each; with `round` only of that round, if a phase has it.

    `width` is the table's, in columns. Raises UserError if no phase has the round, or `top` is under 1.
    """
    phases = [phase for phase in ledger.phases() if round is None or has_round(ledger, phase.name, round)]
    if round is not None and not phases:
        raise UserError(f"round {round}: no phase of {ledger.path} has it")
    views = [(phase, phase_views(ledger, phase, top, round)) for phase in phases]
    if format == "csv":
        return _csv(views)
    curves = [_curves(ledger, phase, rows) for phase, rows in views]
    if format != "table":
        whole = {"ledger": str(ledger.path), "round": round, "phases": _plain_phases(views, curves)}
        indent = None if format == "json line" else 2
        return json.dumps(whole, indent=indent, allow_nan=False) + "\n"
    if not views:
        return f"{ledger.path}: the ledger holds no episodes yet.\n"
    return "\n".join(
        phase_tables(phase, rows, of_phase, round, width)
        for (phase, rows), of_phase in zip(views, curves, strict=True)
    )


def phase_views(ledger: Ledger, phase: Phase, top: int, round: int | None) -> Views:
    """The rows of each view of one phase, under the names that JSON and CSV use."""
    return {
        "rounds": rounds(ledger, phase.name, top, round),
        "hardest_neighbourhoods": hardest_neighbourhoods(ledger, phase.name, top, round),
        "hardest_tasks": hardest_tasks(ledger, phase.name, top, round),
        "hardest_classes": hardest_classes(ledger, phase.name, top, round),
        "most_confused_pairs": confused_pairs(ledger, phase.name, top, round),
    }


def _curves(ledger: Ledger, phase: Phase, views: Views) -> Curves:
    """How the tasks and classes of these views went over the whole phase."""
    visits = histories(ledger, phase.name, [task.classes for task in views["hardest_tasks"]])
    recalls = class_trends(ledger, phase.name, [c.name for c in views["hardest_classes"]], _POINTS)
    by_task = [[visit.accuracy for visit in task] for task in visits]
    return Curves(rounds(ledger, phase.name, top=None), by_task, recalls)


def _plain_phases(views: list[tuple[Phase, Views]], curves: list[Curves]) -> list[dict[str, Any]]:
    phases = []
    for (phase, by_view), of_phase in zip(views, curves, strict=True):
        plain = {view: [_plain(row) for row in rows] for view, rows in by_view.items()}
        for task, visits in zip(plain["hardest_tasks"], of_phase.visits, strict=True):
            task["history"] = visits
        for one, recalls in zip(plain["hardest_classes"], of_phase.recalls, strict=True):
            one["trend_over_rounds"] = recalls
        phases.append({"phase": phase.name, "split": phase.split, "episodes": phase.episodes} | plain)
    return phases


def _csv(views: list[tuple[Phase, Views]]) -> str:
    of_rows = [
        field.name
        for row in (RoundRow, HardNeighbourhood, HardTask, HardClass, ConfusedPair)
        for field in fields(row)
    ]
    first = ["phase", "split", "view", "rank", "classes"]
    columns = list(dict.fromkeys([*first, *(name for name in of_rows if name not in {"name", "history"})]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for phase, by_view in views:
        for view, rows in by_view.items():
            for rank, row in enumerate(rows, 1):
                cells = _plain(row)
                names = [cells.pop("name")] if "name" in cells else cells.pop("classes", None)
                if "members" in cells:  # JSON has the history as well
                    cells["members"] = json.dumps(cells["members"], ensure_ascii=False)
                    del cells["history"]
                if names is not None:
                    cells["classes"] = json.dumps(names, ensure_ascii=False)
                writer.writerow(
                    {"phase": phase.name, "split": phase.split, "view": view, "rank": rank} | cells
                )
    return text.getvalue()


def _plain(row: Any) -> dict[str, Any]:
    """A row's fields; what is not finite counts as unknown, since JSON has no word for it."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(row).items()
    }
