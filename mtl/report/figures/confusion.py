"""What is taken for what: a heat map of classes or groups, those that are confused next to each other."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from mtl.ledger.confusions import Confusions
from mtl.report.figures import style
from mtl.report.figures.style import FAINT, INK, SIZE, VERMILION
from mtl.runtime.figure_files import text

Floats = NDArray[np.float64]

#: From nothing to full colour: higher values are stronger, on white as on black.
SHADES = LinearSegmentedColormap.from_list("shades", [(*to_rgb(VERMILION), 0.0), (*to_rgb(VERMILION), 1.0)])

_GAMMA = 0.7  # of the colours: below 1, so that little confusion is seen beside much
_NUMBERED = 14  # rows at most whose numbers are written
_NAME, _SMALLEST = 1.35, 9.0  # inches of a name at most; points of letters in a crowd
_NARROW, _BROAD, _SIDE = 0.145, 0.38, 4.6  # inches: of a row, at least and at most; of the matrix
_ABOVE, _BAR, _LEAST = 1.05, 1.6, 4.7  # inches: over the matrix; the colour bar; the figure
_TITLE = {"fontsize": SIZE, "color": INK}


def heat_map(found: Confusions) -> Figure:
    """Whose queries they are by row, what they were taken for by column; of few rows the numbers are written.

    Grey is what never met in a task. The diagonal of classes is empty; that of groups is confusion within.

    Raises:
        ValueError: the matrix is not (n, n), n ≥ 1, for n names.
    """
    n = len(found.names)
    if n == 0 or found.matrix.shape != (n, n):
        raise ValueError(f"a matrix {found.matrix.shape} does not fit {n} names")
    percent: Floats = 100 * found.matrix
    row = max(_NARROW, min(_BROAD, _SIDE / n))
    size = max(_SMALLEST, min(SIZE, 64 * row))  # points
    names = [style.fitted(name, _NAME, size) for name in found.names]
    beside = 0.2 + max(style.width_of(name, size) for name in names)
    below = beside + (0.3 if found.left_out else 0.0)
    width, height = max(_LEAST, beside + n * row + 0.15), below + n * row + _ABOVE
    figure = style.new_figure(width, height)
    of = "group" if found.by_group else "class"
    text(
        figure,
        0.1,
        height - 0.18,
        f"Probability that queries of the row's {of} get for the column's",
        **_TITLE,
    )
    axes = style.panel(figure, beside, below, n * row, n * row)
    most = float(np.nanmax(percent)) if np.isfinite(percent).any() else 0.0
    shades: dict[str, Any] = {"cmap": SHADES, "interpolation": "nearest", "aspect": "auto"}
    axes.imshow(percent, norm=PowerNorm(_GAMMA, 0, most or 1), **shades)
    _missing(axes, percent)
    if n <= _NUMBERED:
        _numbers(axes, percent, most)
    style.name_rows(axes, names, size)
    for column, name in enumerate(names):
        style.label(
            axes, column, -0.07 / (n * row), name, rotation=90, rotation_mode="anchor", ha="right",
            fontsize=size, transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    axes.grid(visible=False)
    axes.set(xticks=[], xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    axes.spines[:].set(visible=True, color=FAINT)
    _scale(figure, 0.15, height - 0.5, most, bool(_never_met(percent).any()))
    if found.left_out:
        others = f"{found.left_out:,} other class{'es' if found.left_out > 1 else ''} not shown"
        text(figure, 0.1, 0.15, others, fontsize=SIZE, color=INK, alpha=0.8)
    return figure


def _never_met(percent: Floats) -> NDArray[np.bool_]:
    return np.isnan(percent) & ~np.eye(len(percent), dtype=bool)


def _missing(axes: Axes, percent: Floats) -> None:
    """One grey shape of all cells that never met."""
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    cells = np.argwhere(_never_met(percent))[:, ::-1]
    if len(cells):
        codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * len(cells)
        outlines = (cells[:, None, :] + corners).reshape(-1, 2)
        axes.add_patch(PathPatch(Path(outlines, codes), facecolor=FAINT, linewidth=0))


def _numbers(axes: Axes, percent: Floats, most: float) -> None:
    for (row, column), value in np.ndenumerate(percent):
        if np.isfinite(value):
            style.label(axes, column, row, f"{value:.0f}" if most >= 10 else f"{value:.1f}", ha="center")


def _scale(figure: Figure, x: float, y: float, most: float, missing: bool) -> None:
    """The colours of 0 to the most, with the value in the middle, and what grey is."""
    bar = style.panel(figure, x, y - 0.08, _BAR, 0.16)
    steps = np.linspace(0, 1, 256)[None]
    bar.imshow(steps, cmap=SHADES, aspect="auto", interpolation="nearest", extent=(0, 1, 0, 1))
    percent = ["0", f"{most * 0.5 ** (1 / _GAMMA):.2g}", f"{most:.2g} %"]
    bar.set_xticks([0, 0.5, 1], percent if most else ["0", "", ""])
    bar.set_yticks([])
    bar.grid(visible=False)
    bar.spines[:].set(visible=True, color=FAINT)
    if missing:
        grey = {"color": FAINT, "linestyle": "", "marker": "s", "markersize": 10}
        style.key(figure, x + _BAR + 0.5, y, [("never met", grey)])
