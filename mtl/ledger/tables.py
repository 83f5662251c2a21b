"""The views of a phase as tables in the terminal, readable from 80 columns on, piped or not."""

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtl.ledger.class_history import round_bins
from mtl.ledger.queries import ConfusedPair, HardClass, HardTask
from mtl.ledger.store import Phase, Round

_LISTED = 6  # classes of a task that a table names
_UNKNOWN = "–"
_POINTS = 12  # of a sparkline in a table
_LONG = 36  # of one that has a line to itself
_NEAR = 1e-6  # so near a tenth a float is that tenth

_BLOCKS = "▁▂▃▄▅▆▇█"
_MIDDLE = 0.45  # of a scale that is a single point
_ROUNDING = 1e-9  # of a step: a number so little below one counts as at it


@dataclass(frozen=True)
class Curves:
    """What sparklines show beside the rows of the views: always of the whole phase."""

    rounds: Sequence[Round]  # all of them
    visits: Sequence[Sequence[float]]  # accuracies of each of the hardest tasks, in order
    recalls: Sequence[Sequence[float | None]]  # of each of the hardest classes, by rounds


def phase_tables(
    phase: Phase, views: dict[str, list[Any]], curves: Curves, round: int | None, width: int
) -> str:
    """The four views of one phase as plain text, `width` columns wide at most. An empty view is left out."""
    of_round = "" if round is None else f", round {round}"
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False, legacy_windows=False)
    episodes = "1 episode" if phase.episodes == 1 else f"{phase.episodes:,} episodes"
    console.print(_text(f"{phase.name}: {episodes}, {phase.split} classes{of_round}"))
    console.print()
    if lines := _all_rounds(curves.rounds):
        console.print(_text(f"All {len(curves.rounds):,} rounds, from the first to the last"))
        for line in lines:
            console.print(line)
        console.print()
    for table in (
        _rounds(views["rounds"]),
        _tasks(views["hardest_tasks"], curves.visits),
        _classes(views["hardest_classes"], curves.recalls),
        _pairs(views["most_confused_pairs"]),
    ):
        if table.row_count:
            console.print(table)  # ends in a blank line
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _all_rounds(rows: Sequence[Round]) -> list[str]:
    """A line for accuracy and for ε, where at least two rounds have one."""
    lines = []
    for name, values, write in (
        ("accuracy", [r.accuracy for r in rows], _percent),
        ("ε", [r.epsilon for r in rows], _figure),
    ):
        points = thinned(values, _LONG)
        known = [v for v in points if v is not None]
        if len(known) > 1:
            low, high = min(known), max(known)
            span = f"{write(low)} to {write(high)}, at last {write(known[-1])}"
            lines.append(f"{name:<9} {sparkline(points, low, high)}  {span}")
    return lines


def _rounds(rows: list[Round]) -> Table:
    planned = any(r.hard_share for r in rows)  # an evaluation plans none
    table = _table(
        f"Rounds (accuracy{' and share' if planned else ''} in %)",
        (),
        ("round", "step", "unit", "pool", "ε", "α", "accuracy", *["hard share"] * planned),
    )
    for r in rows:
        alpha = None if r.epsilon is None else r.alpha  # without an error there is no weight either
        _add(
            table, str(r.round), str(r.step), r.unit, str(r.pool), _figure(r.epsilon), _figure(alpha),
            _percent(r.accuracy), *[_percent(r.hard_share)] * planned,
        )  # fmt: skip
    return table


def _tasks(rows: list[HardTask], visits: Sequence[Sequence[float]]) -> Table:
    lines, scale = _lines(visits)
    judged = any(row.verdict for row in rows)
    weighted = any(row.weight is not None for row in rows)
    figures = ["first", "now", "mean", "seen", "resampled"] + ["weight"] * weighted
    drawn, after = ["by visit"] * bool(lines), ["verdict"] * judged
    table = _table(f"Hardest tasks (accuracy in %{scale})", ("classes",), figures, drawn, after)
    for number, t in enumerate(rows):
        cells = [_percent(t.first), _percent(t.last), _percent(t.mean), str(t.seen), str(t.resampled)]
        cells += [_UNKNOWN if t.weight is None else f"{t.weight:.2g}"] * weighted
        cells += lines[number : number + 1] + [t.verdict or _UNKNOWN] * judged
        _add(table, _listed(t.classes), *cells)
    return table


def _listed(classes: Sequence[str]) -> str:
    """The classes of a task, of many ways the first few: JSON and CSV have them all."""
    more = len(classes) - _LISTED
    return ", ".join(classes) if more <= 1 else f"{', '.join(classes[:_LISTED])} and {more} more"


def _classes(rows: list[HardClass], recalls: Sequence[Sequence[float | None]]) -> Table:
    lines, scale = _lines(recalls)
    grouped = any(row.group for row in rows)
    names = ("class", "group") if grouped else ("class",)
    figures, drawn = ("recall", "95 %", "draws", "hard", "trend"), ["by round"] * bool(lines)
    table = _table(f"Hardest classes (recall in %{scale})", names, figures, drawn)
    for number, c in enumerate(rows):
        interval = f"{100 * c.low:.1f}–{100 * c.high:.1f}"
        trend = _UNKNOWN if c.trend is None else f"{100 * c.trend:+.1f}"
        name = [c.name, c.group or _UNKNOWN] if grouped else [c.name]
        cells = [_percent(c.recall), interval, str(c.draws), str(c.hard_draws), trend]
        _add(table, *name, *cells, *lines[number : number + 1])
    return table


def _lines(rows: Sequence[Sequence[float | None]]) -> tuple[list[str], str]:
    """A sparkline for each row of shares, all on one scale, and the scale in words for the title.

    No line at all where no row has two values to go from one to the other.
    """
    points = [thinned(row, _POINTS) for row in rows]
    known = [[v for v in row if v is not None] for row in points]
    if max(map(len, known), default=0) < 2:
        return [], ""
    low = min(math.floor(10 * min(v for row in known for v in row) + _NEAR) / 10, 0.9)
    high = max(math.ceil(10 * max(v for row in known for v in row) - _NEAR) / 10, low + 0.1)
    return [sparkline(row, low, high) for row in points], f"; ▁ is {100 * low:.0f}, █ is {100 * high:.0f}"


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


def _table(
    title: str,
    names: Sequence[str],
    figures: Iterable[str],
    drawn: Sequence[str] = (),
    after: Sequence[str] = (),
) -> Table:
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
    for name in drawn:
        table.add_column(name, no_wrap=True)
    for name in after:
        table.add_column(name, overflow="fold", min_width=10)
    return table


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(_text(cell) for cell in cells))


def _text(cell: str) -> Text:
    """Literal: no markup is read, and what a terminal would obey (escapes, line ends) is spelt out."""
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cell))


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{100 * share:.1f}"


def _figure(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.3f}"


def sparkline(values: Sequence[float | None], low: float, high: float) -> str:
    """One block a value, after Tufte: [low, high] in eight equal steps, a gap for None and nan.

    Values beyond the scale are drawn as its nearer end; where low equals high, everything in the middle.

    Raises:
        ValueError: low is above high, or one of them is not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"a scale goes from a low number to a high one, not from {low} to {high}")
    return "".join(" " if v is None or math.isnan(v) else _block(v, low, high) for v in values)


def _block(value: float, low: float, high: float) -> str:
    share = (min(max(value, low), high) - low) / (high - low) if low < high else _MIDDLE
    return _BLOCKS[min(int(share * len(_BLOCKS) + _ROUNDING), len(_BLOCKS) - 1)]


def thinned(values: Sequence[float | None], most: int) -> list[float | None]:
    """At most `most` values: the means of as many equal bins, None where nothing in one is known."""
    return [_mean(values[a : b + 1]) for a, b in round_bins(range(len(values)), most)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None and not math.isnan(v)]
    return sum(known) / len(known) if known else None
