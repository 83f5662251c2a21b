"""What changed: accuracy and recall of classes from run to run, and of tasks that were tested again."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from mtl.ledger.regression_to_mean import Improvement
from mtl.report.contents import ClassChange, RunDifference
from mtl.report.figures import style
from mtl.report.figures.style import BLUE, INK, VERMILION, WIDTH, signed
from mtl.runtime.figure_files import text

Row = TypeVar("Row", ClassChange, RunDifference)
Floats = NDArray[np.float64]

_ROW, _NAME = 0.26, 2.0  # inches: of a row, and of a name at most
_BOLD = 1.15  # times as wide as plain letters
_UNSURE = 0.5  # opacity of what may be chance
_LINE: dict[str, Any] = {"linewidth": 2.2, "solid_capstyle": "butt"}
_TICK: dict[str, Any] = {"linestyle": "", "marker": "|", "markersize": 10, "markeredgewidth": 2.2}
_DOT: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 7, "markeredgewidth": 0}
_RING: dict[str, Any] = {**_DOT, "fillstyle": "none", "markeredgewidth": 2}
_SIDE, _TITLE = 4.8, 0.21  # inches: of the square of tasks tested again, and of a line of its title
_CROWD = 0.7  # opacity where points are most crowded


def class_changes(rows: Sequence[ClassChange]) -> Figure:
    """A line for each class from its recall in the first run to that in the other, and what it gained.

    Faint where the intervals of the two recalls meet. In the order given, those of each run and setting under
    a heading.

    Raises:
        ValueError: no rows.
    """
    lines = _under_headings(rows, lambda row: f"{row.setting}, {row.run}")
    figure, axes = _table(lines, lambda row: row.name, lambda row: signed(row.after - row.before))
    for at, row in enumerate(lines):
        if isinstance(row, ClassChange):
            look = _look(row.after - row.before, row.apart)
            axes.plot([100 * row.before, 100 * row.after], [at, at], **_LINE, **look)
            axes.plot(100 * row.before, at, **_TICK, **look)
            axes.plot(100 * row.after, at, **_DOT, **look)
    axes.margins(x=0.03)
    style.axis_name(axes, "recall (%)")
    _key(figure, [("first run", _TICK), ("other run", _DOT)])
    return figure


def differences(rows: Sequence[RunDifference]) -> Figure:
    """The difference in accuracy of each run to the first, in points, with its 95 % interval.

    Faint where the interval has 0 in it; a ring where the two runs solved different tasks. Under a heading
    for each run, or where there are several runs for each setting.

    Raises:
        ValueError: no rows.
    """
    several = len({row.run for row in rows}) > 1
    lines = _under_headings(rows, lambda row: row.setting if several else row.run)
    figure, axes = _table(
        lines,
        lambda row: row.run if several else row.setting,
        lambda row: f"{signed(row.difference)} ± {100 * row.interval:.1f}",
    )
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for at, row in enumerate(lines):
        if isinstance(row, RunDifference):
            look = _look(row.difference, abs(row.difference) > row.interval)
            ends = [100 * (row.difference - row.interval), 100 * (row.difference + row.interval)]
            axes.plot(ends, [at, at], **_LINE, **look)
            axes.plot(100 * row.difference, at, **(_DOT if row.paired else _RING), **look)
    reach = 1.08 * max(abs(end) for end in axes.dataLim.intervalx) or 1.0
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda points, _: f"{points:+g}".replace("-", "−") if points else "0")
    )
    style.axis_name(axes, "difference in accuracy (points)")
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
    lines: Sequence[str | Row], name: Callable[[Row], str], result: Callable[[Row], str]
) -> tuple[Figure, Axes]:
    """A panel with a row for each line: its name at the left, its result at the right."""
    names = ["" if isinstance(line, str) else style.fitted(name(line), _NAME) for line in lines]
    ends = ["" if isinstance(line, str) else result(line) for line in lines]
    left, right = 0.2 + max(map(style.width_of, names)), 0.22 + max(map(style.width_of, ends))
    width, height = WIDTH - left - right, _ROW * len(lines)
    figure = style.new_figure(WIDTH, height + 1.0)
    axes = style.panel(figure, left, 0.6, width, height)
    style.name_rows(axes, names)
    beside = axes.get_yaxis_transform()
    for at, (line, end) in enumerate(zip(lines, ends, strict=True)):
        style.label(axes, 1 + 0.12 / width, at, end, transform=beside)
        if isinstance(line, str):
            heading = style.fitted(line, (WIDTH - 0.2) / _BOLD)
            style.label(axes, (0.1 - left) / width, at, heading, transform=beside, weight="bold")
    style.ticks(axes.xaxis, 5)
    return figure, axes


def _key(figure: Figure, marks: Sequence[tuple[str, dict[str, Any]]]) -> None:
    entries = [(name, {"color": BLUE, **look}) for name, look in marks]
    unsure = ("faint: may be chance", {"color": BLUE, "alpha": _UNSURE, **_DOT})
    style.key(figure, 0.1, figure.get_size_inches()[1] - 0.2, [*entries, unsure])


def _look(gain: float, proven: bool) -> dict[str, Any]:
    return {"color": BLUE if gain >= 0 else VERMILION, "alpha": 1 if proven else _UNSURE}


def improvement(found: Improvement) -> Figure:
    """Tasks picked for a new test and others, each a faint point, over the diagonal, which is no change.

    Over the points means of bins of equal start, with 95 % intervals: bars for what was picked, a band for
    the others. The title says what they gained.
    """
    title = _gains(found)
    figure = style.new_figure(WIDTH, _SIDE + 1.15 + _TITLE * len(title))
    height = figure.get_size_inches()[1]
    for i, line in enumerate(title):
        text(figure, 0.1, height - 0.17 - _TITLE * i, line, fontsize=style.SIZE, color=INK)
    picked, others = 100 * found.picked, 100 * found.others
    names = [(f"picked ({len(picked):,})", VERMILION), (f"others ({len(others):,})", BLUE)]
    dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6}
    style.key(figure, 0.6, _SIDE + 0.85, [(name, {**dot, "color": colour}) for name, colour in names])
    axes = style.panel(figure, 0.7, 0.65, _SIDE, _SIDE)
    low, high = _limits(found)
    shade = _shade(np.concatenate([picked, others]))
    axes.plot([low, high], [low, high], color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    for rows, colour in ((others, BLUE), (picked, VERMILION)):
        style.dots(axes, rows, color=colour, alpha=shade, markersize=4.5)
    _means(axes, found)
    corner: dict[str, Any] = {"transform": axes.transAxes, "fontsize": style.SMALL, "alpha": 0.8}
    style.label(axes, 0.02, 0.97, "better", **corner)
    style.label(axes, 0.98, 0.03, "worse", ha="right", **corner)
    axes.set(xlim=(low, high), ylim=(low, high))
    style.ticks(axes.xaxis, 6)
    style.ticks(axes.yaxis, 6)
    style.axis_name(axes, "accuracy of a task before (%)", "accuracy of a task after (%)")
    return figure


def _gains(found: Improvement) -> list[str]:
    """What was gained, in a sentence or two."""
    (picked, half), (others, others_half) = found.gain_picked, found.gain_others
    lines = [
        f"Picked tasks changed by {signed(picked)} ± {100 * half:.1f} points, "
        f"others by {signed(others)} ± {100 * others_half:.1f}."
    ]
    if found.at_equal_start is not None:
        more, half = found.at_equal_start
        lines.append(
            f"From an equal start picked ones ended {signed(abs(more)).lstrip('+')} ± {100 * half:.1f} "
            f"points {'above' if more >= 0 else 'below'} the others."
        )
    return lines


def _means(axes: Axes, found: Improvement) -> None:
    """The bins' means after, over their starts, with intervals."""
    bars: dict[str, Any] = {"linewidth": 2, "elinewidth": 2, "marker": "o", "markersize": 7}
    bars |= {"markeredgecolor": INK, "markeredgewidth": 1}
    starts, after, half, others_after, others_half = _bins(found)
    if len(starts) > 1:
        band = np.clip([others_after - others_half, others_after + others_half], 0, 100)
        axes.fill_between(starts, *band, color=BLUE, alpha=0.35, linewidth=0, zorder=3)
        axes.plot(starts, others_after, color=BLUE, linewidth=2, zorder=3)
    else:  # a band needs two ends
        axes.errorbar(starts, others_after, others_half, color=BLUE, zorder=3, **bars)
    axes.errorbar(starts, after, half, color=VERMILION, linestyle="", zorder=4, **bars)


def _bins(found: Improvement) -> Floats:
    """(5, bins) in percent: start, after and half width of the picked, then of the others."""
    rows = [(b.start, b.picked_after, b.picked_half, b.others_after, b.others_half) for b in found.bins]
    percent: Floats = 100.0 * np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return percent


def _limits(found: Improvement) -> tuple[float, float]:
    """Both axes' limits in percent: all points, intervals as far as they can be true, and a little more."""
    _, after, half, others_after, others_half = _bins(found)
    ends = np.clip(
        [after - half, after + half, others_after - others_half, others_after + others_half], 0, 100
    )
    shown = np.concatenate([100 * found.picked.ravel(), 100 * found.others.ravel(), ends.ravel()])
    low, high = float(shown.min()), float(shown.max())
    margin = max(0.04 * (high - low), 1.3)
    return low - margin, high + margin


def _shade(points: Floats) -> float:
    """Opacity of points (n, 2) in percent; where most share a square point they come to `_CROWD`."""
    _, counts = np.unique(np.floor(points), axis=0, return_counts=True)
    return float(min(0.45, max(0.02, 1 - (1 - _CROWD) ** (1 / counts.max()))))
