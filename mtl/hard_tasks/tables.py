"""The views of a phase as tables in the terminal, readable from 80 columns on, piped or not."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtl.hard_tasks.ledger import Phase, Round
from mtl.hard_tasks.views import ConfusedPair, HardClass, HardTask

_LISTED = 6  # classes of a task that a table names
_UNKNOWN = "–"


def phase_tables(phase: Phase, views: dict[str, list[Any]], round: int | None, width: int) -> str:
    """The four views of one phase as plain text, `width` columns wide at most. An empty view is left out."""
    at = "" if round is None else f", round {round}"
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False, legacy_windows=False)
    episodes = "1 episode" if phase.episodes == 1 else f"{phase.episodes:,} episodes"
    console.print(_text(f"{phase.name}: {episodes}, {phase.split} classes{at}"))
    console.print()
    for table in (
        _rounds(views["rounds"]),
        _tasks(views["hardest_tasks"]),
        _classes(views["hardest_classes"]),
        _pairs(views["most_confused_pairs"]),
    ):
        if table.row_count:
            console.print(table)  # ends in a blank line of its own
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _rounds(rows: list[Round]) -> Table:
    table = _table(
        "Rounds (accuracy and share in %)",
        (),
        ("round", "step", "unit", "pool", "ε", "α", "accuracy", "hard share"),
    )
    for r in rows:
        alpha = None if r.epsilon is None else r.alpha  # without an error there is no weight either
        _add(
            table, str(r.round), str(r.step), r.unit, str(r.pool), _figure(r.epsilon), _figure(alpha),
            _percent(r.accuracy), _percent(r.hard_share),
        )  # fmt: skip
    return table


def _tasks(rows: list[HardTask]) -> Table:
    judged = any(row.verdict for row in rows)
    weighed = any(row.weight is not None for row in rows)
    figures = ["first", "now", "mean", "seen", "resampled"] + ["weight"] * weighed
    table = _table("Hardest tasks (accuracy in %)", ("classes",), figures, ("verdict",) if judged else ())
    for t in rows:
        cells = [_percent(t.first), _percent(t.last), _percent(t.mean), str(t.seen), str(t.resampled)]
        cells += [_UNKNOWN if t.weight is None else f"{t.weight:.2g}"] * weighed
        cells += [t.verdict or _UNKNOWN] * judged
        _add(table, _listed(t.classes), *cells)
    return table


def _listed(classes: Sequence[str]) -> str:
    """The classes of a task, of many ways the first few: JSON and CSV have them all."""
    more = len(classes) - _LISTED
    return ", ".join(classes) if more <= 1 else f"{', '.join(classes[:_LISTED])} and {more} more"


def _classes(rows: list[HardClass]) -> Table:
    grouped = any(row.group for row in rows)
    names = ("class", "group") if grouped else ("class",)
    table = _table("Hardest classes (recall in %)", names, ("recall", "95 %", "draws", "hard", "trend"))
    for c in rows:
        interval = f"{100 * c.low:.1f}–{100 * c.high:.1f}"
        trend = _UNKNOWN if c.trend is None else f"{100 * c.trend:+.1f}"
        own = [c.name, c.group or _UNKNOWN] if grouped else [c.name]
        _add(table, *own, _percent(c.recall), interval, str(c.draws), str(c.hard_draws), trend)
    return table


def _pairs(rows: list[ConfusedPair]) -> Table:
    table = _table(
        "Most confused pairs (probability in %)",
        ("first", "second"),
        ("confusion", "1st as 2nd", "2nd as 1st", "n"),
    )
    for p in rows:
        chances = (_percent(x) for x in (p.confusion, p.first_as_second, p.second_as_first))
        _add(table, *p.classes, *chances, str(p.n))
    return table


def _table(title: str, names: Sequence[str], figures: Iterable[str], after: Sequence[str] = ()) -> Table:
    """Names take the room that figures leave, and go on in the next line rather than being cut."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in names:
        table.add_column(name, overflow="fold", min_width=12)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    for name in after:
        table.add_column(name, overflow="fold", min_width=10)
    return table


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(_text(cell) for cell in cells))


def _text(cell: str) -> Text:
    """As it stands: no markup is read, and what a terminal would obey (escapes, line ends) is spelt out."""
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cell))


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{100 * share:.1f}"


def _figure(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.3f}"
