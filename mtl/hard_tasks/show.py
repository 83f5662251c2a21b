"""The views of a ledger as text: tables for a person, JSON or CSV for a program.

JSON is one object: {"ledger", "round", "phases": [{"phase", "split", "episodes", "rounds", "hardest_tasks",
"hardest_classes", "most_confused_pairs"}]}, the last four lists of objects.

CSV is one table with one header. The columns `phase`, `view` (rounds, hardest_tasks, hardest_classes or
most_confused_pairs) and `rank` (from 1) say what a row is; a cell is empty where the view has no such column.
Class names stand in `classes` as a JSON list, since a name may hold any character.
"""

import csv
import io
import json
import math
from dataclasses import asdict, fields
from typing import Any, Literal

from mtl.errors import UserError
from mtl.hard_tasks.ledger import Ledger, Phase, Round
from mtl.hard_tasks.tables import phase_tables
from mtl.hard_tasks.views import (
    ConfusedPair,
    HardClass,
    HardTask,
    confused_pairs,
    hardest_classes,
    hardest_tasks,
    has_round,
    rounds,
)

Format = Literal["table", "json", "csv"]


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
    if format == "json":
        return _json(ledger, round, views)
    if format == "csv":
        return _csv(views)
    if not views:
        return f"{ledger.path}: the ledger holds no episodes yet.\n"
    return "\n".join(phase_tables(phase, rows, round, width) for phase, rows in views)


def phase_views(ledger: Ledger, phase: Phase, top: int, round: int | None) -> dict[str, list[Any]]:
    """The rows of each view of one phase, under the names that JSON and CSV use."""
    return {
        "rounds": rounds(ledger, phase.name, top, round),
        "hardest_tasks": hardest_tasks(ledger, phase.name, top, round),
        "hardest_classes": hardest_classes(ledger, phase.name, top, round),
        "most_confused_pairs": confused_pairs(ledger, phase.name, top, round),
    }


def _json(ledger: Ledger, round: int | None, views: list[tuple[Phase, dict[str, list[Any]]]]) -> str:
    phases = [
        {"phase": phase.name, "split": phase.split, "episodes": phase.episodes}
        | {view: [_plain(row) for row in rows] for view, rows in by_view.items()}
        for phase, by_view in views
    ]
    whole = {"ledger": str(ledger.path), "round": round, "phases": phases}
    return json.dumps(whole, indent=2, allow_nan=False) + "\n"


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
