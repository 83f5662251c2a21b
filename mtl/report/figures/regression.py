"""Whether what was picked as hard got better: accuracy before against after, beside what was not picked."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mtl.report.figures.style import (
    BLUE,
    INK,
    SIZE,
    SMALL,
    VERMILION,
    WIDTH,
    axis_name,
    dots,
    key,
    label,
    new_figure,
    panel,
    signed,
    ticks,
)
from mtl.runtime.figure_files import text

if TYPE_CHECKING:
    from mtl.ledger.regression_to_mean import Improvement

Floats = NDArray[np.float64]

_SIDE = 4.8  # inches of the square
_LINE = 0.21  # inches of a line of the title
_CROWD = 0.7  # opacity where points are most crowded
_PLURAL = {"task": "tasks", "class": "classes"}


def improvement(found: "Improvement") -> Figure:
    """Picked and others as faint points, and the diagonal, which is no change; a title with what they gained.

    Over the points means of bins of equal start, with 95 % intervals: bars for what was picked, a band for
    the others.
    """
    title = told(found)
    figure = new_figure(WIDTH, _SIDE + 1.15 + _LINE * len(title))
    height = figure.get_size_inches()[1]
    for i, line in enumerate(title):
        text(figure, 0.1, height - 0.17 - _LINE * i, line, fontsize=SIZE, color=INK)
    picked, others = 100 * found.picked, 100 * found.others
    names = [(f"picked ({len(picked):,})", VERMILION), (f"others ({len(others):,})", BLUE)]
    dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6}
    key(figure, 0.6, _SIDE + 0.85, [(name, {**dot, "color": colour}) for name, colour in names])
    axes = panel(figure, 0.7, 0.65, _SIDE, _SIDE)
    low, high = _limits(found)
    shade = _shade(np.concatenate([picked, others]))
    axes.plot([low, high], [low, high], color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    for rows, colour in ((others, BLUE), (picked, VERMILION)):
        dots(axes, rows, color=colour, alpha=shade, markersize=4.5)
    _means(axes, found)
    corner: dict[str, Any] = {"transform": axes.transAxes, "fontsize": SMALL, "alpha": 0.8}
    label(axes, 0.02, 0.97, "better", **corner)
    label(axes, 0.98, 0.03, "worse", ha="right", **corner)
    axes.set(xlim=(low, high), ylim=(low, high))
    ticks(axes.xaxis, 6)
    ticks(axes.yaxis, 6)
    of = "accuracy of a task" if found.unit == "task" else "recall of a class"
    axis_name(axes, f"{of} before (%)", f"{of} after (%)")
    return figure


def told(found: "Improvement") -> list[str]:
    """What was gained, in a sentence or two."""
    units = _PLURAL.get(found.unit, found.unit)
    (picked, half), (others, others_half) = found.gain_picked, found.gain_others
    lines = [
        f"Picked {units} changed by {signed(picked)} ± {100 * half:.1f} points, "
        f"others by {signed(others)} ± {100 * others_half:.1f}."
    ]
    if found.at_equal_start is not None:
        more, half = found.at_equal_start
        lines.append(
            f"From an equal start picked ones ended {signed(abs(more)).lstrip('+')} ± {100 * half:.1f} "
            f"points {'above' if more >= 0 else 'below'} the others."
        )
    return lines


def _means(axes: Axes, found: "Improvement") -> None:
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


def _bins(found: "Improvement") -> Floats:
    """(5, bins) in percent: start, after and half width of the picked, then of the others."""
    rows = [(b.start, b.picked_after, b.picked_half, b.others_after, b.others_half) for b in found.bins]
    percent: Floats = 100.0 * np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return percent


def _limits(found: "Improvement") -> tuple[float, float]:
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
    """Opacity of points (n, 2) in percent; where most lie in the same square point they come to `_CROWD`."""
    _, counts = np.unique(np.floor(points), axis=0, return_counts=True)
    return float(min(0.45, max(0.02, 1 - (1 - _CROWD) ** (1 / counts.max()))))
