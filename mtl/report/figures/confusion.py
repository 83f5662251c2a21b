"""What is taken for what: a heat map of classes or groups, those that are confused next to each other."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from mtl.ledger.confusions import Confusions
from mtl.report.figures import style
from mtl.report.figures.style import FAINT, INK, SIZE, VERMILION

#: From nothing to full colour: higher values are stronger, on white as on black.
SHADES = LinearSegmentedColormap.from_list("shades", [(*to_rgb(VERMILION), 0.0), (*to_rgb(VERMILION), 1.0)])

_GAMMA = 0.7  # of the colours: below 1, so that little confusion is seen beside much
_NUMBERED = 14  # rows at most whose numbers are written
_NAME, _BAR = 1.35, 1.6  # inches: of a name at most; of the colour bar


@style.in_look
def heat_map(found: Confusions) -> Figure:
    """Whose queries they are by row, what they were taken for by column; of few rows the numbers are written.

    Grey is what never met in a task. The diagonal of classes is empty; that of groups is confusion within.

    Raises:
        ValueError: the matrix is not (n, n), n ≥ 1, for n names.
    """
    n = len(found.names)
    if n == 0 or found.matrix.shape != (n, n):
        raise ValueError(f"a matrix {found.matrix.shape} does not fit {n} names")
    side = max(_BAR, min(4.6, 0.38 * n), 0.145 * n)  # inches
    size = SIZE if n <= 24 else 9.0  # points
    names = [style.fitted(name, _NAME, size) for name in found.names]
    beside = 0.3 + max(style.width_of(name, size) for name in names)
    figure = style.new_figure(side + beside + 1.2, max(4.8, side + beside))
    of = "group" if found.by_group else "class"
    figure.suptitle(f"Probability that queries of the row's {of} get for the column's", x=0.015, ha="left")

    axes = figure.add_subplot(anchor="W")
    percent = 100 * found.matrix
    most = float(np.nanmax(percent)) if np.isfinite(percent).any() else 0.0
    image = axes.imshow(percent, cmap=SHADES, norm=PowerNorm(_GAMMA, 0, most or 1), interpolation="nearest")
    axes.set_xticks(range(n), names, fontsize=size, color=INK, rotation=90)
    axes.set_yticks(range(n), names, fontsize=size, color=INK)
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=FAINT)
    if n <= _NUMBERED:
        for (row, column), value in np.ndenumerate(percent):
            number = f"{value:.0f}" if most >= 10 else f"{value:.1f}"
            axes.text(column, row, number if np.isfinite(value) else "", ha="center", va="center")
    if found.left_out:
        others = f"{found.left_out:,} other class{'es' if found.left_out > 1 else ''} not shown"
        axes.set_xlabel(others, loc="left")

    bar = figure.colorbar(image, location="top", shrink=min(1.0, _BAR / side), aspect=10, anchor=(0, 0))
    middle = most * 0.5 ** (1 / _GAMMA)
    bar.set_ticks(
        [0, middle, most],
        labels=["0", f"{middle:.2g}", f"{most:.{0 if most >= 10 else 1}f} %"] if most else ["0", "", ""],
    )
    bar.ax.tick_params(top=False, bottom=True, labeltop=False, labelbottom=True)
    bar.outline.set_edgecolor(FAINT)
    never_met = np.argwhere(np.isnan(percent) & ~np.eye(n, dtype=bool))
    if len(never_met):  # one shape, in a colour that follows the page
        square = Path.unit_rectangle()
        cells = [square.transformed(Affine2D().translate(j - 0.5, i - 0.5)) for i, j in never_met]
        axes.add_patch(PathPatch(Path.make_compound_path(*cells), facecolor=FAINT, linewidth=0))
        grey = Patch(facecolor=FAINT, label="never met")
        bar.ax.legend(handles=[grey], loc="center left", bbox_to_anchor=(1.2, 0.5))
    return figure
