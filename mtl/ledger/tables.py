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
from mtl.ledger.hard_images import HardImage
from mtl.ledger.neighbourhoods import HardNeighbourhood, tasks_come_back
from mtl.ledger.queries import ConfusedPair, HardClass, HardTask
from mtl.ledger.store import Phase, RoundRow
from mtl.ledger.task_history import SolvedEpisode

_LISTED = 6  # classes of a task that a table names
_AROUND = 3  # ... and of those around a class
UNKNOWN = "–"
_POINTS = 12  # of a sparkline in a table
_LONG = 36  # of one that has a line to itself
_NEAR = 1e-6  # so near a tenth a float is that tenth

_BLOCKS = "▁▂▃▄▅▆▇█"
_MIDDLE = 0.45  # of a scale that is a single point
_ROUNDING = 1e-9  # of a step: a number so little below one counts as at it


_Options = dict[str, Any]  # of a column of rich
_Columns = dict[str, _Options]
Cells = tuple[str, _Columns, list[list[str]]]  # a table's title, its columns, and the rows' texts
NAME: _Options = {"overflow": "fold", "min_width": 12}
NUMBER: _Options = {"justify": "right", "no_wrap": True}
_CURVE: _Options = {"no_wrap": True}
_VERDICT: _Options = {"overflow": "fold", "min_width": 10}


@dataclass(frozen=True)
class Curves:
    """What sparklines show beside the rows of the views: always of the whole phase."""

    rounds: Sequence[RoundRow]  # all of them
    visits: Sequence[Sequence[float]]  # accuracies of each of the hardest tasks, in order
    recalls: Sequence[Sequence[float | None]]  # of each of the hardest classes, by rounds


def phase_tables(
    phase: Phase, views: dict[str, list[Any]], curves: Curves, round: int | None, width: int
) -> str:
    """The views of one phase as plain text, `width` columns wide at most. An empty view is left out."""
    of_round = "" if round is None else f", round {round}"
    episodes = "1 episode" if phase.episodes == 1 else f"{phase.episodes:,} episodes"
    parts: list[str | Cells] = [f"{phase.name}: {episodes}, {phase.split} classes{of_round}", ""]
    if lines := _all_rounds(curves.rounds):
        parts += [f"All {len(curves.rounds):,} rounds, from the first to the last", *lines, ""]
    neighbourhoods, tasks = views["hardest_neighbourhoods"], views["hardest_tasks"]
    parts += [_rounds(views["rounds"]), _neighbourhoods(neighbourhoods)]
    if tasks_come_back(tasks, neighbourhoods):
        parts.append(_tasks(tasks, curves.visits))
    parts += [_classes(views["hardest_classes"], curves.recalls), _pairs(views["most_confused_pairs"])]
    return plain_tables([*parts, _images(views["hardest_images"])], width)


def _all_rounds(rows: Sequence[RoundRow]) -> list[str]:
    """A line for accuracy and for ε, where at least two rounds have one."""
    lines = []
    for name, values, write in (
        ("accuracy", [r.accuracy for r in rows], percent),
        ("ε", [r.epsilon for r in rows], figure),
    ):
        points = thinned(values, _LONG)
        known = [v for v in points if v is not None]
        if len(known) > 1:
            low, high = min(known), max(known)
            span = f"{write(low)} to {write(high)}, at last {write(known[-1])}"
            lines.append(f"{name:<9} {sparkline(points, low, high)}  {span}")
    return lines


def _rounds(rows: list[RoundRow]) -> Cells:
    planned = any(r.hard_share for r in rows)  # an evaluation plans none
    names = ["round", "step", "unit", "pool", "ε", "α", "accuracy"] + ["hard share"] * planned
    cells = []
    for r in rows:
        alpha = None if r.epsilon is None else r.alpha  # without an error there is no weight either
        numbers = [str(r.round), str(r.step), r.unit, str(r.pool), figure(r.epsilon), figure(alpha)]
        cells.append([*numbers, percent(r.accuracy), *[percent(r.hard_share)] * planned])
    title = f"Rounds (accuracy{' and share' if planned else ''} in %)"
    return title, dict.fromkeys(names, NUMBER), cells


def _neighbourhoods(rows: list[HardNeighbourhood]) -> Cells:
    lines, scale = _lines([row.history for row in rows])
    weighted = any(row.weight is not None for row in rows)
    columns = {"around": NAME, "taken for it": NAME}
    columns |= dict.fromkeys(["first", "now", "drawn"] + ["weight"] * weighted, NUMBER)
    columns |= {"by round": _CURVE} if lines else {}
    cells = []
    for number, n in enumerate(rows):
        figures = [percent(n.first), percent(n.last), str(n.drawn)]
        figures += [UNKNOWN if n.weight is None else f"{n.weight:.2f}"] * weighted
        cells.append([n.name, ", ".join(n.members[:_AROUND]), *figures, *lines[number : number + 1]])
    return f"Hardest neighbourhoods (accuracy in %{scale})", columns, cells


def _tasks(rows: list[HardTask], visits: Sequence[Sequence[float]]) -> Cells:
    lines, scale = _lines(visits)
    judged = any(row.verdict for row in rows)
    weighted = any(row.weight is not None for row in rows)
    figures = ["first", "now", "mean", "seen", "resampled"] + ["weight"] * weighted
    columns = {"classes": NAME} | dict.fromkeys(figures, NUMBER)
    columns |= {"by visit": _CURVE} if lines else {}
    columns |= {"verdict": _VERDICT} if judged else {}
    cells = []
    for number, t in enumerate(rows):
        numbers = [percent(t.first), percent(t.last), percent(t.mean), str(t.seen), str(t.resampled)]
        numbers += [UNKNOWN if t.weight is None else f"{t.weight:.2g}"] * weighted
        after = lines[number : number + 1] + [t.verdict or UNKNOWN] * judged
        cells.append([_listed(t.classes), *numbers, *after])
    return f"Hardest tasks (accuracy in %{scale})", columns, cells


def _listed(classes: Sequence[str]) -> str:
    """The classes of a task, of many ways the first few: JSON and CSV have them all."""
    more = len(classes) - _LISTED
    return ", ".join(classes) if more <= 1 else f"{', '.join(classes[:_LISTED])} and {more} more"


def _classes(rows: list[HardClass], recalls: Sequence[Sequence[float | None]]) -> Cells:
    lines, scale = _lines(recalls)
    grouped = any(row.group for row in rows)
    columns = dict.fromkeys(["class"] + ["group"] * grouped, NAME)
    columns |= dict.fromkeys(("recall", "95 %", "draws", "hard", "trend"), NUMBER)
    columns |= {"by round": _CURVE} if lines else {}
    cells = []
    for number, c in enumerate(rows):
        interval = f"{100 * c.low:.1f}–{100 * c.high:.1f}"
        trend = UNKNOWN if c.trend is None else f"{100 * c.trend:+.1f}"
        names = [c.name] + [c.group or UNKNOWN] * grouped
        numbers = [percent(c.recall), interval, str(c.draws), str(c.hard_draws), trend]
        cells.append([*names, *numbers, *lines[number : number + 1]])
    return f"Hardest classes (recall in %{scale})", columns, cells


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


def _pairs(rows: list[ConfusedPair]) -> Cells:
    columns = dict.fromkeys(("first", "second"), NAME)
    columns |= dict.fromkeys(("confusion", "1st as 2nd", "2nd as 1st", "n"), NUMBER)
    cells = [
        [*p.classes, *map(percent, (p.confusion, p.first_as_second, p.second_as_first)), str(p.n)]
        for p in rows
    ]
    return "Most confused pairs (probability in %)", columns, cells


def _images(rows: list[HardImage]) -> Cells:
    columns = {"image": NUMBER, "class": NAME} | dict.fromkeys(("wrong", "of"), NUMBER)
    columns |= {"taken for": NAME} | dict.fromkeys(("supports", "unlucky"), NUMBER)
    cells = [
        [str(i.image), i.name, str(i.wrong), str(i.asked), i.taken_for, str(i.supports), str(i.unlucky)]
        for i in rows
    ]
    return "Hardest images", columns, cells


def episode_tables(episode: SolvedEpisode, command: str, width: int) -> str:
    """One episode as plain text, `width` columns wide at most, and the command that shows it again."""
    e = episode
    figures = {"loss": e.loss, "hardness": e.hardness, "inverse Fisher ratio": e.fisher}
    rows = [
        [name, percent(recall), " ".join(map(str, support)), " ".join(map(str, query))]
        for name, recall, support, query in zip(e.names, e.recall, e.support, e.query, strict=True)
    ]
    columns = {"class": NAME, "recall": NUMBER} | dict.fromkeys(("support images", "queries"), NAME)
    wrong = [
        [str(w.image), e.names[w.own], e.names[w.predicted], percent(w.confidence)] for w in e.wrong or ()
    ]
    of_wrong = {"image": NUMBER, "class": NAME, "taken for": NAME, "confidence": NUMBER}
    parts: list[str | Cells] = [
        f"Episode {e.id}: {e.phase}, {e.split} classes, round {e.round}, step {e.step}",
        f"{e.way}-way {e.shot}-shot, {e.queries} queries a class; drawn as {e.origin}, number {e.stream} "
        "of its stream",
        f"accuracy {percent(e.accuracy)} %, "
        + ", ".join(f"{name} {figure(value)}" for name, value in figures.items()),
        "",
        ("Classes (recall in %)", columns, rows),
        ("Wrong answers (confidence in %)", of_wrong, wrong),
    ]
    if e.wrong is None:
        parts += ["Single answers were not recorded.", ""]
    return plain_tables(parts, width) + f"Show it again: {command}\n"


def plain_tables(parts: Iterable[str | Cells], width: int) -> str:
    """Lines and tables in their order, `width` columns wide at most; a table without rows is left out."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False, legacy_windows=False)
    for part in parts:
        if isinstance(part, str):
            console.print(_text(part))
        elif part[2]:
            console.print(_table(*part))  # ends in a blank line
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _table(title: str, columns: _Columns, rows: list[list[str]]) -> Table:
    """Names take the room that figures leave, and go on in the next line rather than being cut."""
    style: dict[str, Any] = {"title_justify": "left", "title_style": "", "box": box.SIMPLE_HEAD}
    table = Table(title=title, pad_edge=False, collapse_padding=True, **style)
    for name, options in columns.items():
        table.add_column(name, **options)
    for row in rows:
        table.add_row(*map(_text, row))
    return table


def _text(cell: str) -> Text:
    """Literal: no markup is read, and what a terminal would obey (escapes, line ends) is spelt out."""
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cell))


def percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.1f}"


def figure(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


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
