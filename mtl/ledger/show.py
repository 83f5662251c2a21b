"""The views of a ledger as text: tables for a person, JSON or CSV for a program.

JSON is one object: {"ledger", "round", "phases": [{"phase", "split", "episodes", "rounds",
"hardest_neighbourhoods", "hardest_tasks", "hardest_classes", "most_confused_pairs", "hardest_images"}]}, the
last six lists of objects; the images only on request. A task has the `id`, `hardness` and `fisher` of its
worst visit. Beside what CSV has of it, it has its `history`, the accuracy at each visit, a neighbourhood that
of each round, and a class its `trend_over_rounds`, the recall in each bin of the phase's rounds (null: not
drawn there). All these are of the whole phase, whatever the round.

CSV is one table with one header. The columns `phase`, `view` (rounds, hardest_neighbourhoods, hardest_tasks,
hardest_classes, most_confused_pairs or hardest_images) and `rank` (from 1) say what a row is; a cell is empty
where the view has no such column. Class names are in `classes` as a JSON list, since a name may hold any
character.
"""

import csv
import io
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

from mtl.errors import UserError
from mtl.ledger.class_history import class_trends
from mtl.ledger.hard_images import HardImage, hardest_images
from mtl.ledger.log_export import finite, plain_episode
from mtl.ledger.neighbourhoods import HardNeighbourhood, hardest_neighbourhoods
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
from mtl.ledger.store import Ledger, Phase, RoundRow
from mtl.ledger.tables import Curves, episode_tables, phase_tables
from mtl.ledger.task_history import Visit, find_episode, histories, worst_visit

Format = Literal["table", "json", "json line", "csv"]  # a json line is the JSON without line ends
Views = dict[str, list[Any]]

_POINTS = 12  # of a class's recall over the rounds
_OF_WORST = "id", "hardness", "fisher"  # columns of a task that are of its worst visit


def render(
    ledger: Ledger,
    top: int = 20,
    round: int | None = None,
    format: Format = "table",
    width: int = 100,
    images: bool = False,
) -> str:
    """Every view of every phase, `top` rows each; with `round` only of that round, if a phase has it.

    `width` is the table's, in columns; `images` adds the hardest images, for which every episode is read.
    Raises UserError if no phase has the round, or `top` is under 1.
    """
    phases = [phase for phase in ledger.phases() if round is None or has_round(ledger, phase.name, round)]
    if round is not None and not phases:
        raise UserError(f"round {round}: no phase of {ledger.path} has it")
    views = [(phase, phase_views(ledger, phase, top, round, images)) for phase in phases]
    visits = [_visits(ledger, phase, rows["hardest_tasks"]) for phase, rows in views]
    if format == "csv":
        return _csv(views, visits)
    recalls = [
        class_trends(ledger, phase.name, [c.name for c in rows["hardest_classes"]], _POINTS)
        for phase, rows in views
    ]
    if format != "table":
        plain = [_plain_phase(*of) for of in zip(views, visits, recalls, strict=True)]
        whole = {"ledger": str(ledger.path), "round": round, "phases": plain}
        indent = None if format == "json line" else 2
        return json.dumps(whole, indent=indent, allow_nan=False) + "\n"
    if not views:
        return f"{ledger.path}: the ledger holds no episodes yet.\n"
    texts = []
    for (phase, rows), tasks, classes in zip(views, visits, recalls, strict=True):
        curves = Curves(rounds(ledger, phase.name, top=None), _accuracies(tasks), classes)
        texts.append(phase_tables(phase, rows, curves, round, width))
    return "\n".join(texts)


def render_episode(ledger: Ledger, id: str, folder: Path, format: Format = "table", width: int = 100) -> str:
    """One episode by its short id: as tables, or as the JSON that the exported log has of it.

    `folder` is that of the run, for the command that shows the episode again. Raises UserError if there is no
    such episode.
    """
    episode = find_episode(ledger, id)
    if format != "table":
        return json.dumps(plain_episode(episode), indent=2, allow_nan=False) + "\n"
    command = shlex.join(["python", "run_meta.py", "hard-tasks", str(folder), "--task", episode.id])
    return episode_tables(episode, command, width)


def phase_views(ledger: Ledger, phase: Phase, top: int, round: int | None, images: bool = False) -> Views:
    """The rows of each view of one phase, under the names that JSON and CSV use."""
    return {
        "rounds": rounds(ledger, phase.name, top, round),
        "hardest_neighbourhoods": hardest_neighbourhoods(ledger, phase.name, top, round),
        "hardest_tasks": hardest_tasks(ledger, phase.name, top, round),
        "hardest_classes": hardest_classes(ledger, phase.name, top, round),
        "most_confused_pairs": confused_pairs(ledger, phase.name, top, round),
        "hardest_images": hardest_images(ledger, phase.name, top, round) if images else [],
    }


def _visits(ledger: Ledger, phase: Phase, tasks: Sequence[HardTask]) -> list[list[Visit]]:
    """Every visit of each of these tasks in the whole phase."""
    return histories(ledger, phase.name, [task.classes for task in tasks])


def _accuracies(visits: Sequence[Sequence[Visit]]) -> list[list[float]]:
    return [[visit.accuracy for visit in task] for task in visits]


def _worst(visits: Sequence[Visit]) -> dict[str, Any]:
    """What JSON and CSV say of a task's worst visit."""
    worst = worst_visit(visits)
    return {name: finite(getattr(worst, name)) for name in _OF_WORST}


def _plain_phase(
    of: tuple[Phase, Views], visits: Sequence[Sequence[Visit]], recalls: Sequence[Sequence[float | None]]
) -> dict[str, Any]:
    phase, by_view = of
    plain = {view: [_plain(row) for row in rows] for view, rows in by_view.items()}
    for task, met, history in zip(plain["hardest_tasks"], visits, _accuracies(visits), strict=True):
        task.update(_worst(met), history=history)
    for one, trend in zip(plain["hardest_classes"], recalls, strict=True):
        one["trend_over_rounds"] = trend
    return {"phase": phase.name, "split": phase.split, "episodes": phase.episodes} | plain


def _csv(views: list[tuple[Phase, Views]], visits: list[list[list[Visit]]]) -> str:
    of_rows = [
        field.name
        for row in (RoundRow, HardNeighbourhood, HardTask, HardClass, ConfusedPair, HardImage)
        for field in fields(row)
    ]
    columns = ["phase", "split", "view", "rank", "classes", *of_rows, *_OF_WORST]
    columns = [name for name in dict.fromkeys(columns) if name not in {"name", "history"}]
    lines = []
    for (phase, by_view), of_tasks in zip(views, visits, strict=True):
        for view, rows in by_view.items():
            for rank, row in enumerate(rows, 1):
                cells = _plain(row) | (_worst(of_tasks[rank - 1]) if view == "hardest_tasks" else {})
                names = [cells.pop("name")] if "name" in cells else cells.pop("classes", None)
                if "members" in cells:  # JSON has the history as well
                    del cells["history"]
                if names is not None:
                    cells["classes"] = names
                lines.append({"phase": phase.name, "split": phase.split, "view": view, "rank": rank} | cells)
    return csv_text(columns, lines)


def csv_text(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    """A header and rows as CSV, lists as JSON; a cell is empty where a row has no such column."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple) else value


def _plain(row: Any) -> dict[str, Any]:
    return {name: finite(value) for name, value in asdict(row).items()}
