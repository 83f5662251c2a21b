"""How many images of each class are needed: accuracy by their number, and what more would bring."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mtl.own_images.forecast import Forecast, told
from mtl.own_images.learning_curve import LearningCurve, Point
from mtl.report.figures.style import (
    BLUE,
    INK,
    QUIET,
    SIZE,
    SMALL,
    VERMILION,
    WIDTH,
    axis_name,
    fitted,
    label,
    name_ends,
    new_figure,
    panel,
    ticks,
    width_of,
)

_LEFT, _HEIGHT = 0.6, 2.9  # inches: of the panel
_NAME = 1.2  # inches of a class name at most
_LINE = 0.22  # inches from a line of text to the next
_BOLD = 1.15  # times as wide as plain letters
_TEN = 10  # accuracies are drawn from a multiple of so many per cent on
_MEASURED: dict[str, Any] = {"color": BLUE, "markersize": 6, "linewidth": 2, "zorder": 3}
_DASHED: dict[str, Any] = {"color": BLUE, "linestyle": (0, (4, 2)), "zorder": 2}
_RING: dict[str, Any] = {"color": BLUE, "markersize": 6, "markerfacecolor": "white", "zorder": 4}
_WORST: dict[str, Any] = {"color": VERMILION, "markersize": 5, "linewidth": 1.5}


def learning(curve: LearningCurve, expected: Forecast | None) -> Figure:
    """Accuracy on left-out images with its 95 % interval, and the recall of the class that is worst at last.

    Points are measured. The law that is fitted to them is dashed, and goes on to twice the images there are.
    """
    points, worst = curve.points(), curve.points()[-1].worst
    recalls = [100 * point.recalls[worst] for point in points]
    last = 2 * curve.most if expected else points[-1].shot
    end = 100 * (expected.at(last).accuracy if expected else points[-1].accuracy)
    heading = list(_wrapped(told(curve, expected), (WIDTH - 0.2) / _BOLD, SIZE))
    notes = list(_wrapped(_note(curve, expected), WIDTH - 0.2, SMALL))
    of_worst = f"{recalls[-1]:.0f}  worst: {fitted(curve.classes[worst], _NAME)}"
    names = f"{end:.0f}  all classes", of_worst
    bottom = 0.65 + _LINE * len(notes)
    width = WIDTH - _LEFT - 0.45 - max(map(width_of, names))
    figure = new_figure(WIDTH, bottom + _HEIGHT + 0.5 + _LINE * len(heading))
    axes = panel(figure, _LEFT, bottom, width, _HEIGHT, "right answers (%)")

    _measured(axes, points)
    if expected:
        _expected(axes, expected, points[-1].shot, last)
    axes.plot(curve.shots, recalls, "s:", **_WORST)
    _scale(axes, last)
    _name_shots(axes, sorted({*curve.shots, last}), width)
    ends = [(last, end, names[0], BLUE), (points[-1].shot, recalls[-1], names[1], VERMILION)]
    name_ends(axes, ends)
    _write(figure, heading, bottom + _HEIGHT + 0.42, SIZE, color=INK, weight="bold")
    _write(figure, notes, 0.12, SMALL, color=QUIET)
    return figure


def _measured(axes: Axes, points: Sequence[Point]) -> None:
    shots, low, high = zip(*((p.shot, 100 * p.low, 100 * p.high) for p in points), strict=True)
    axes.fill_between(shots, low, high, color=BLUE, alpha=0.16, linewidth=0)
    if len(points) == 1:
        axes.plot(shots * 2, (low[0], high[0]), color=BLUE, alpha=0.3, linewidth=5)
    axes.plot(shots, [100 * p.accuracy for p in points], "o-", **_MEASURED)


def _expected(axes: Axes, law: Forecast, measured: int, last: int) -> None:
    """The law: faint where there are measurements too, then with its interval and a ring at its end."""
    faint: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.7}
    full: dict[str, Any] = {"linewidth": 2}
    for first, end, look in ((1, measured, faint), (measured, last, full)):
        shots = np.unique(np.geomspace(first, end, 40).round().astype(int)).tolist()
        found = [law.at(shot) for shot in shots]
        axes.plot(shots, [100 * f.accuracy for f in found], **_DASHED, **look)
    low, high = [100 * f.low for f in found], [100 * f.high for f in found]
    axes.fill_between(shots, low, high, color=BLUE, alpha=0.08, linewidth=0)
    axes.plot(last, 100 * found[-1].accuracy, "o", **_RING)


def _scale(axes: Axes, last: int) -> None:
    """Logarithmic in the images, since the first ones do most; accuracies from a round number to 100."""
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.9, 1.06 * last)
    lowest = float(axes.dataLim.ymin)
    axes.set_ylim(max(-2.0, _TEN * np.floor(lowest / _TEN - 0.2)), 102)
    ticks(axes.yaxis, 6)
    axis_name(axes, "pictures of each class")


def _name_shots(axes: Axes, shots: Sequence[int], width: float) -> None:
    """Ticks at numbers of images: the last two, and of the others as many as have room."""
    low, high = np.log(axes.get_xlim())
    at = {shot: width * (np.log(shot) - low) / (high - low) for shot in shots}  # inches
    half = {shot: width_of(f"{shot:,}", SMALL) / 2 + 0.04 for shot in shots}
    kept: list[int] = []
    for shot in [*shots[:-3:-1], *shots[:-2]]:
        if all(abs(at[shot] - at[other]) >= half[shot] + half[other] for other in kept):
            kept.append(shot)
    axes.set_xticks(sorted(kept), [f"{shot:,}" for shot in sorted(kept)])


def _note(curve: LearningCurve, expected: Forecast | None) -> str:
    parts = ["Points: asked of left-out pictures. Shade: 95 % interval."]
    if expected:
        parts.append("Dashed: law that fits best.")
    if curve.too_few:
        parts.append(
            f"{len(curve.classes)} classes, and {len(curve.too_few)} left out with too few pictures."
        )
    return " ".join(parts)


def _wrapped(words: str, inches: float, size: float) -> Iterator[str]:
    """Lines of at most so many inches; a line ends after a semicolon."""
    line = ""
    for word in words.split(" "):
        if line and (line.endswith(";") or width_of(f"{line} {word}", size) > inches):
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


def _write(figure: Figure, lines: Sequence[str], bottom: float, size: float, **how: Any) -> None:
    """Lines of text from the left edge, the last one `bottom` inches up."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1), facecolor="none", zorder=3)
    axes.set(xlim=(0, across), ylim=(0, up))
    axes.axis("off")
    for above, line in enumerate(reversed(lines)):
        label(axes, 0.1, bottom + _LINE * above, line, fontsize=size, va="bottom", **how)
