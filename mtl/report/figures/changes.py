"""What changed: accuracy and recall of classes from run to run, and of tasks that were tested again."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl.ledger.regression_to_mean import Bin, Improvement
from mtl.report.contents import ClassChange, RunDifference
from mtl.report.figures import style
from mtl.report.figures.style import BLUE, INK, VERMILION, signed

Row = TypeVar("Row", ClassChange, RunDifference)

_NAME, _HEADING = 2.0, 5.3  # inches at most
_UNSURE = 0.5  # opacity of what may be chance
_TICK: dict[str, Any] = {"linestyle": "", "marker": "|", "markersize": 10, "markeredgewidth": 2.2}
_DOT: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 7}
_RING: dict[str, Any] = {**_DOT, "fillstyle": "none", "markeredgewidth": 2}
_FAINT = {"faint: may be chance": {"color": BLUE, "alpha": _UNSURE, **_DOT}}
_CROWD = 0.7  # opacity where points are most crowded


@style.in_look
def class_changes(rows: Sequence[ClassChange]) -> Figure:
    """A line for each class from its recall in the first run to that in the other, and what it gained.

    Faint where the intervals of the two recalls meet. In the order given, those of each run and setting under
    a heading.

    Raises:
        ValueError: no rows.
    """
    table = [(f"{r.setting}, {r.run}", r.name, signed(r.after - r.before), r) for r in rows]
    figure, axes, places = _table(table)
    for at, row in places:
        look = _look(row.after - row.before, row.apart)
        axes.plot([100 * row.before, 100 * row.after], [at, at], linewidth=2.2, **look)
        axes.plot(100 * row.before, at, **_TICK, **look)
        axes.plot(100 * row.after, at, **_DOT, **look)
    axes.margins(x=0.03)
    axes.set_xlabel("recall (%)")
    style.key(figure, {"first run": {"color": BLUE, **_TICK}, "other run": {"color": BLUE, **_DOT}, **_FAINT})
    return figure


@style.in_look
def differences(rows: Sequence[RunDifference]) -> Figure:
    """The difference in accuracy of each run to the first, in points, with its 95 % interval.

    Faint where the interval has 0 in it; a ring where the two runs solved different tasks. Under a heading
    for each run, or where there are several runs for each setting.

    Raises:
        ValueError: no rows.
    """
    table = [(r.run, r.setting, f"{signed(r.difference)} ± {100 * r.interval:.1f}", r) for r in rows]
    if len({row.run for row in rows}) > 1:
        table = [(setting, run, result, row) for run, setting, result, row in table]
    figure, axes, places = _table(table)
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for at, row in places:
        look = _look(row.difference, abs(row.difference) > row.interval)
        ends = [100 * (row.difference - row.interval), 100 * (row.difference + row.interval)]
        axes.plot(ends, [at, at], linewidth=2.2, **look)
        axes.plot(100 * row.difference, at, **(_DOT if row.paired else _RING), **look)
    reach = 1.08 * max(abs(end) for end in axes.dataLim.intervalx) or 1.0
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_formatter(lambda points, _: f"{points:+g}".replace("-", "−") if points else "0")
    axes.set_xlabel("difference in accuracy (points)")
    marks = {"same tasks": {"color": BLUE, **_DOT}, "other tasks": {"color": BLUE, **_RING}}
    style.key(figure, _FAINT if all(row.paired for row in rows) else marks | _FAINT)
    return figure


def _table(table: Sequence[tuple[str, str, str, Row]]) -> tuple[Figure, Axes, list[tuple[int, Row]]]:
    """A panel of rows (heading, name, result, what it shows), and where each is: y, and what it shows."""
    if not table:
        raise ValueError("without rows there is nothing to draw")
    figure = style.new_figure(0.26 * (len(table) + len({entry[0] for entry in table})) + 1)
    axes = figure.add_subplot()
    names: list[str] = []
    results: list[str] = []
    places: list[tuple[int, Row]] = []
    for heading in dict.fromkeys(entry[0] for entry in table):
        at: dict[str, Any] = {"xy": (0.01, len(names)), "xycoords": ("figure fraction", "data")}
        words = style.fitted(heading, _HEADING)
        axes.annotate(words, **at, weight="bold", va="center").set_in_layout(False)
        names.append("")
        results.append("")
        for _, name, result, row in (entry for entry in table if entry[0] == heading):
            places.append((len(names), row))
            names.append(style.fitted(name, _NAME))
            results.append(result)
    style.rows(axes, names, results)
    style.ticks(axes.xaxis, 5)
    return figure, axes, places


def _look(gain: float, proven: bool) -> dict[str, Any]:
    return {"color": BLUE if gain >= 0 else VERMILION, "alpha": 1 if proven else _UNSURE}


@style.in_look
def improvement(found: Improvement) -> Figure:
    """Tasks picked for a new test and others, each a faint point, over the diagonal, which is no change.

    Over the points means of bins of equal start, with 95 % intervals: bars for what was picked, a band for
    the others. The title says what they gained.
    """
    figure = style.new_figure(6.2)
    figure.suptitle(_gains(found), x=0.015, ha="left")
    axes = figure.add_subplot(aspect="equal", anchor="W")
    _, shared = np.unique(np.floor(100 * np.vstack([found.picked, found.others])), axis=0, return_counts=True)
    shade = min(0.45, max(0.02, 1 - (1 - _CROWD) ** (1 / shared.max())))  # of most on one spot: `_CROWD`
    for name, points, colour in (("others", found.others, BLUE), ("picked", found.picked, VERMILION)):
        dots: dict[str, Any] = {"alpha": shade, "markersize": 4.5, "rasterized": len(points) > style.SHAPES}
        axes.plot(*100 * points.T, "o", color=colour, **dots)
        axes.plot([], "o", color=colour, markersize=7, label=f"{name} ({len(points):,})")
    bins = 100 * np.array(found.bins).reshape(-1, len(Bin._fields)).T
    start, after, half, _, others_after, others_half, _ = bins
    bars: dict[str, Any] = {"elinewidth": 2, "marker": "o", "markersize": 7, "linestyle": ""}
    bars |= {"markeredgecolor": INK, "markeredgewidth": 1}
    if len(start) > 1:
        band = np.clip([others_after - others_half, others_after + others_half], 0, 100)
        axes.fill_between(start, *band, color=BLUE, alpha=0.35, linewidth=0, zorder=3)
        axes.plot(start, others_after, color=BLUE, linewidth=2, zorder=3)
    else:  # a band needs two ends
        axes.errorbar(start, others_after, others_half, color=BLUE, zorder=3, **bars)
    axes.errorbar(start, after, half, color=VERMILION, zorder=4, **bars)
    low = max(-4, min(*axes.get_xlim(), *axes.get_ylim()))
    high = min(104, max(*axes.get_xlim(), *axes.get_ylim()))
    axes.plot([low, high], [low, high], color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    axes.set(xlim=(low, high), xlabel="accuracy of a task before (%)")
    axes.set(ylim=(low, high), ylabel="accuracy of a task after (%)")
    for words, x, y, align in (("better", 0.02, 0.97, "left"), ("worse", 0.98, 0.03, "right")):
        axes.text(x, y, words, ha=align, va="center", transform=axes.transAxes, color=style.QUIET)
    style.ticks(axes.xaxis, 6)
    style.ticks(axes.yaxis, 6)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, reverse=True)
    return figure


def _gains(found: Improvement) -> str:
    """What was gained, in a line or two."""
    (picked, half), (others, others_half) = found.gain_picked, found.gain_others
    words = f"Picked tasks changed by {signed(picked)} ± {100 * half:.1f} points, "
    words += f"others by {signed(others)} ± {100 * others_half:.1f}."
    if found.at_equal_start is not None:
        more, half = found.at_equal_start
        gained = (
            f"{signed(abs(more)).lstrip('+')} ± {100 * half:.1f} points {'above' if more >= 0 else 'below'}"
        )
        words += f"\nFrom an equal start picked ones ended {gained} the others."
    return words
