"""What another run has over the first: accuracy by setting, and which classes gained or lost."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mtl.report.contents import ClassChange, RunDifference
from mtl.report.figures.style import (
    BLUE,
    INK,
    VERMILION,
    WIDTH,
    axis_name,
    fitted,
    key,
    label,
    name_rows,
    new_figure,
    panel,
    signed,
    ticks,
    width_of,
)

Row = TypeVar("Row", ClassChange, RunDifference)

_ROW, _NAME = 0.26, 2.0  # inches: of a row, and of a name at most
_BOLD = 1.15  # times as wide as plain letters
_UNSURE = 0.5  # opacity of what may be chance
_LINE: dict[str, Any] = {"linewidth": 2.2, "solid_capstyle": "butt"}
_TICK: dict[str, Any] = {"linestyle": "", "marker": "|", "markersize": 10, "markeredgewidth": 2.2}
_DOT: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 7, "markeredgewidth": 0}
_RING: dict[str, Any] = {**_DOT, "fillstyle": "none", "markeredgewidth": 2}


def class_changes(rows: Sequence[ClassChange]) -> Figure:
    """A line for each class from its recall in the first run to that in the other, and what it gained.

    Faint where the intervals of the two recalls meet, or are not known. In the order given, those of each run
    and setting under a heading.

    Raises:
        ValueError: no rows.
    """
    lines = _under_headings(rows, lambda row: f"{row.setting}, {row.run}")
    figure, axes = _table(lines, lambda row: row.name, lambda row: signed(row.after - row.before))
    for at, row in enumerate(lines):
        if isinstance(row, ClassChange):
            look = _look(row.after - row.before, row.apart is True)
            axes.plot([100 * row.before, 100 * row.after], [at, at], **_LINE, **look)
            axes.plot(100 * row.before, at, **_TICK, **look)
            axes.plot(100 * row.after, at, **_DOT, **look)
    axes.margins(x=0.03)
    axis_name(axes, "recall (%)")
    _key(figure, [("first run", _TICK), ("other run", _DOT)])
    return figure


def differences(rows: Sequence[RunDifference]) -> Figure:
    """The difference in accuracy of each run to the first, in points, with its 95 % interval where known.

    Faint where the interval has 0 in it or is not known; a ring where the two runs solved different tasks.
    Under a heading for each run, or where there are several runs for each setting.

    Raises:
        ValueError: no rows.
    """
    several = len({row.run for row in rows}) > 1
    lines = _under_headings(rows, lambda row: row.setting if several else row.run)
    figure, axes = _table(
        lines,
        lambda row: row.run if several else row.setting,
        lambda row: _with_interval(row.difference, row.interval),
    )
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for at, row in enumerate(lines):
        if isinstance(row, RunDifference):
            look = _look(row.difference, row.interval is not None and abs(row.difference) > row.interval)
            half = row.interval or 0.0
            ends = [100 * (row.difference - half), 100 * (row.difference + half)]
            axes.plot(ends, [at, at], **_LINE, **look)
            axes.plot(100 * row.difference, at, **(_DOT if row.paired else _RING), **look)
    reach = 1.08 * max(abs(end) for end in axes.dataLim.intervalx) or 1.0
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda points, _: _tick(points)))
    axis_name(axes, "difference in accuracy (points)")
    _key(figure, [] if all(row.paired for row in rows) else [("same tasks", _DOT), ("other tasks", _RING)])
    return figure


def _under_headings(rows: Sequence[Row], heading: Callable[[Row], str]) -> list[str | Row]:
    """Each heading, in the order they come up, and after it its rows."""
    if not rows:
        raise ValueError("without rows there is nothing to draw")
    below: dict[str, list[str | Row]] = {}
    for row in rows:
        below.setdefault(heading(row), [heading(row)]).append(row)
    return [line for lines in below.values() for line in lines]


def _table(
    lines: Sequence[str | Row], name: Callable[[Row], str], told: Callable[[Row], str]
) -> tuple[Figure, Axes]:
    """A panel with a row for each line: its name at the left, what it came to at the right."""
    names = ["" if isinstance(line, str) else fitted(name(line), _NAME) for line in lines]
    ends = ["" if isinstance(line, str) else told(line) for line in lines]
    left, right = 0.2 + max(map(width_of, names)), 0.22 + max(map(width_of, ends))
    width, height = WIDTH - left - right, _ROW * len(lines)
    figure = new_figure(WIDTH, height + 1.0)
    axes = panel(figure, left, 0.6, width, height)
    name_rows(axes, names)
    beside = axes.get_yaxis_transform()
    for at, (line, end) in enumerate(zip(lines, ends, strict=True)):
        label(axes, 1 + 0.12 / width, at, end, transform=beside)
        if isinstance(line, str):
            heading = fitted(line, (WIDTH - 0.2) / _BOLD)
            label(axes, (0.1 - left) / width, at, heading, transform=beside, weight="bold")
    ticks(axes.xaxis, 5)
    return figure, axes


def _key(figure: Figure, marks: Sequence[tuple[str, dict[str, Any]]]) -> None:
    entries = [(name, {"color": BLUE, **look}) for name, look in marks]
    unsure = ("faint: may be chance", {"color": BLUE, "alpha": _UNSURE, **_DOT})
    key(figure, 0.1, figure.get_size_inches()[1] - 0.2, [*entries, unsure])


def _look(gain: float, proven: bool) -> dict[str, Any]:
    return {"color": BLUE if gain >= 0 else VERMILION, "alpha": 1 if proven else _UNSURE}


def _with_interval(share: float, half: float | None) -> str:
    """`+1.2 ± 0.4`, in points."""
    return signed(share) if half is None else f"{signed(share)} ± {100 * half:.1f}"


def _tick(points: float) -> str:
    return f"{points:+g}".replace("-", "−") if points else "0"
