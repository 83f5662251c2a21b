"""How a backbone lays out images of a few classes: their features in two dimensions, before and after."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mtl.report.figures.style import FAINT, PALETTE, WIDTH, dots, fitted, key, new_figure, panel, width_of

Floats = NDArray[np.float64]

_MOST = 12  # classes
_SHAPES = ("o", "^", "s", "v", "D", "P")
_GAP, _NAME = 0.2, 2.2  # inches: between the panels, and of a name at most


def feature_space(
    before: Floats, after: Floats | None, labels: NDArray[np.int64], names: Sequence[str]
) -> Figure:
    """Points by class, each with a colour and a shape of its own, and the names below.

    Args:
        before: (n, 2) features of n images, laid out in two dimensions.
        after: (n, 2) of the same images by the backbone as it came to be; None: one panel.
        labels: (n,) which of the names each image belongs to.
        names: of at most 12 classes.

    Raises:
        ValueError: shapes or labels do not fit each other, or there are too many classes.
    """
    if not 1 <= len(names) <= _MOST:
        raise ValueError(f"{len(names)} classes cannot be told apart; 1 to {_MOST} can")
    layouts = {"before": before} if after is None else {"before": before, "after": after}
    if labels.ndim != 1 or any(layout.shape != (len(labels), 2) for layout in layouts.values()):
        raise ValueError(f"layouts {[x.shape for x in layouts.values()]} do not fit labels {labels.shape}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(names)):
        raise ValueError(f"labels must be between 0 and {len(names) - 1}")
    side = (WIDTH - 0.2 - _GAP) / 2 if after is not None else 4.2  # inches
    entries = [(fitted(name, _NAME), _look(i)) for i, name in enumerate(names)]
    column = 0.6 + max(width_of(name) for name, _ in entries)
    columns = max(1, int((WIDTH - 0.1) / column))
    below = 0.2 + 0.22 * math.ceil(len(entries) / columns)
    figure = new_figure(WIDTH, below + side + 0.4)
    for row, first in enumerate(range(0, len(entries), columns)):
        key(figure, 0.1, below - 0.2 - 0.22 * row, entries[first : first + columns], column)
    for i, (title, layout) in enumerate(layouts.items()):
        axes = panel(figure, 0.1 + i * (side + _GAP), below, side, side, title if after is not None else "")
        for number in range(len(names)):
            own = np.asarray(layout, dtype=float)[labels == number]
            dots(axes, own, **{**_look(number), "markersize": _size(len(labels)), "alpha": 0.8})
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set(visible=True, color=FAINT)
        axes.set_aspect("equal", adjustable="datalim")
    return figure


def _look(number: int) -> dict[str, Any]:
    """Colour and shape of a class: no two of 12 have both in common."""
    colours = len(PALETTE)
    shape = _SHAPES[(number + number // colours * 3) % len(_SHAPES)]
    return {
        "color": PALETTE[number % colours],
        "marker": shape,
        "linestyle": "",
        "markersize": 6,
        "markeredgewidth": 0,
    }


def _size(count: int) -> float:
    """Points, of one of so many marks."""
    return min(6.0, max(2.5, 90 / math.sqrt(count + 1)))
