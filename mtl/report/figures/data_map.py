"""Data maps: each class, neighbourhood or pair by its mean and its spread over the rounds of training."""

from itertools import chain
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

from mtl.ledger.training_dynamics import DataMap, Floats
from mtl.report.figures import style
from mtl.report.figures.style import BLUE, FAINT, INK, SMALL, VERMILION

_FAINTEST = 0.3  # opacity of what stayed
#: From what got worse over what stayed to what got better, on white as on black.
CHANGES = LinearSegmentedColormap.from_list(
    "changes",
    [
        (0.0, to_rgba(VERMILION)),
        (0.5, to_rgba(VERMILION, _FAINTEST)),
        (0.5, to_rgba(BLUE, _FAINTEST)),
        (1.0, to_rgba(BLUE)),
    ],
)

_LABELS = 8  # named points at most
_NAME = 1.9  # inches of a name at most
_MEASURES = {"class": "recall", "neighbourhood": "accuracy", "pair": "confusion"}


@style.in_look
def data_map(found: DataMap) -> Figure:
    """A point for each: spread to the right, mean upwards, and coloured by what it gained or lost.

    What is hard is below: the axis of pairs, whose confusion is hard, goes down. The hardest, the most
    changing, and those that gained or lost most have a ring and a name.
    """
    better = -found.change if found.unit == "pair" else found.change
    most = 100 * float(np.quantile(abs(better), 0.98)) or 1.0
    figure = style.new_figure(4.6)
    figure.suptitle("Change from the first to the last quarter of the rounds (points)", x=0.015, ha="left")
    axes = figure.add_subplot()
    size = min(34.0, max(8.0, 900 / np.sqrt(len(found.names))))  # points²
    look: dict[str, Any] = {"cmap": CHANGES, "vmin": -most, "vmax": most, "linewidths": 0}
    rasterized = len(found.names) > style.SHAPES
    dots = axes.scatter(
        100 * found.spread, 100 * found.mean, size, 100 * better, rasterized=rasterized, **look
    )
    axes.set_xlabel("steady ← standard deviation (points) → changing")
    axes.set_ylabel(f"hard ← mean {_MEASURES[found.unit]} (%) → easy")
    if found.unit == "pair":
        axes.invert_yaxis()
    style.ticks(axes.xaxis, 6)
    style.ticks(axes.yaxis, 6)

    bar = figure.colorbar(dots, location="top", shrink=0.55, aspect=16, anchor=(0, 0))
    marks = [
        f"{sign * most:+.2g}".replace("-", "−") for sign in ((1, -1) if found.unit == "pair" else (-1, 1))
    ]
    bar.set_ticks([-most, 0, most], labels=[f"{marks[0]} worse", "0", f"{marks[1]} better"])
    bar.ax.tick_params(top=False, bottom=True, labeltop=False, labelbottom=True)
    bar.outline.set_edgecolor(FAINT)

    ends = []
    for number in extremes(found, better):
        x, y = 100 * found.spread[number], 100 * found.mean[number]
        axes.plot(x, y, "o", markersize=7, fillstyle="none", color=INK, markeredgewidth=1)
        names = found.names[number]
        words = " – ".join(style.fitted(name, _NAME / len(names), SMALL) for name in names)
        ends.append((x, y, words, BLUE if better[number] >= 0 else VERMILION))
    style.name_ends(axes, ends)
    return figure


def extremes(found: DataMap, better: Floats) -> list[int]:
    """Points worth a name, at most eight, the most telling first: in turn the hardest, the one that changes
    most, the one that gained most and the one that lost most; then the next of each.

    `better` (n,) is what each gained.
    """
    ease = -found.mean if found.unit == "pair" else found.mean
    orders = [np.argsort(values, kind="stable").tolist() for values in (ease, -found.spread, -better, better)]
    return list(dict.fromkeys(chain.from_iterable(zip(*orders, strict=True))))[:_LABELS]
