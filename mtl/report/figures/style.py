"""What all figures share: colours, panels placed in inches, names that fit."""

import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mtl.runtime.figure_files import DPI, FONTS, short, spread

#: Text and axes; in the page its text colour.
INK = "#1c1e22"
#: Grids, frames and what is left empty; in the page its `--line`.
FAINT = "#d8dade"
#: Six colours with a contrast of at least 3 on white and on near-black, distinct also for those who see no
#: red, no green or no blue.
PALETTE = BLUE, VERMILION, TEAL, ORCHID, WINE, MOSS = (
    "#0072b2", "#d55e00", "#29a691", "#c261f2", "#a64263", "#628c4d",
)  # fmt: skip
#: For numbers and words that only explain.
QUIET = to_rgba(INK, 0.75)
#: Inches, so that a phone of 390 px shows letters of 8 px; points.
WIDTH, SIZE, SMALL = 6.2, 10.5, 10.0

_SHAPES = 800  # more marks become a picture
_PER_INCH = 72  # units of matplotlib's SVG, and points


def new_figure(width: float, height: float) -> Figure:
    """An empty, transparent figure; `width` and `height` in inches."""
    return Figure(figsize=(width, height), dpi=DPI, facecolor="none")


def panel(figure: Figure, left: float, bottom: float, width: float, height: float, title: str = "") -> Axes:
    """Axes at a place in inches from the lower left corner, with a grid and a title above their left end."""
    across, up = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up), facecolor="none")
    axes.tick_params(labelcolor=QUIET, labelsize=SMALL, length=0, pad=5)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_color(INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if title:
        label(axes, 0, 1 + 0.1 / height, title, transform=axes.transAxes, va="bottom")
    return axes


def label(axes: Axes, x: float, y: float, words: str, **look: Any) -> Any:
    """Text in ink, shown as it is, whatever it holds."""
    plain = {"color": INK, "fontsize": SIZE, "fontfamily": list(FONTS), "parse_math": False, "va": "center"}
    return axes.text(x, y, words, **{**plain, **look})


def axis_name(axes: Axes, x: str = "", y: str = "") -> None:
    """Names the axes."""
    axes.set_xlabel(x, fontsize=SMALL, color=QUIET, labelpad=4)
    axes.set_ylabel(y, fontsize=SMALL, color=QUIET, labelpad=4)


def ticks(axis: Axis, most: int, *, whole: bool = False) -> None:
    """At most `most` round numbers on an axis, integers if `whole`."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=whole, min_n_ticks=1))


def dots(axes: Axes, places: NDArray[np.float64], **look: Any) -> None:
    """Points (n, 2) without edges; many of them as one picture, as shapes would make a page heavy."""
    plain = {"linestyle": "", "marker": "o", "markeredgewidth": 0, "rasterized": len(places) > _SHAPES}
    axes.plot(places[:, 0], places[:, 1], **{**plain, **look})


def name_rows(axes: Axes, names: Sequence[str], size: float = SIZE) -> None:
    """Names at the left of rows 0, 1, ..., the first of which is on top."""
    axes.set_yticks(
        range(len(names)), names, color=INK, fontsize=size, fontfamily=list(FONTS), parse_math=False
    )
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def width_of(words: str, size: float = SIZE) -> float:
    """Inches that one line of words takes; wide letters, which no font here may have, are as wide as high."""
    narrow = "".join(letter for letter in words if unicodedata.east_asian_width(letter) not in "WF")
    font = FontProperties(family=list(FONTS), size=size)
    with no_glyph_warnings():
        drawn, _, _ = text_to_path.get_text_width_height_descent(narrow, font, ismath=False)
    return (float(drawn) + size * (len(words) - len(narrow))) / _PER_INCH


def fitted(name: str, inches: float, size: float = SIZE) -> str:
    """A name on one line, shortened in its middle until it fits into `inches`."""
    letters = len(name)
    while (line := short(name, letters)) and letters > 3 and (width := width_of(line, size)) > inches:
        letters = max(3, min(letters - 1, int(letters * inches / width)))
    return line


def signed(share: float) -> str:
    """Percentage points with their sign, of a share: `+1.2`, `−0.4`, `0.0`."""
    points = round(100 * share, 1)
    return f"{points:+.1f}".replace("-", "−") if points else "0.0"


def name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names lines at their right ends: (x, y, name, colour), moved apart where they would touch.

    The limits of the axes must be set before. A lead in the line's colour ends at each name, which is in ink:
    no colour of the palette is dark enough for small letters on white and light enough on black.
    """
    ends = sorted((end for end in ends if end[2]), key=lambda end: end[1])
    box = axes.get_window_extent()
    inch = DPI / box.width, DPI / box.height  # in shares of the axes
    to_axes = axes.transData + axes.transAxes.inverted()
    at = [(float(x), min(max(float(y), 0.0), 1.0)) for x, y in (to_axes.transform(e[:2]) for e in ends)]
    places = spread([y for _, y in at], 0.19 * inch[1], 0.0, 1.0)
    near, far = 1 + 0.06 * inch[0], 1 + 0.26 * inch[0]
    free: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    for (x, y), place, (_, _, name, colour) in zip(at, places, ends, strict=True):
        axes.plot([x, near, far], [y, y, place], color=colour, linewidth=0.9, **free)
        label(axes, far + 0.06 * inch[0], place, name, transform=axes.transAxes)


def key(
    figure: Figure, x: float, y: float, entries: Sequence[tuple[str, dict[str, Any]]], column: float = 0.0
) -> None:
    """A row of marks, each before its name, from `x`, `y` inches on; a mark is what `Line2D` takes.

    Each takes the room it needs, or at least `column` inches.
    """
    across, up = figure.get_size_inches()
    axes = figure.add_axes((0, 0, 1, 1), facecolor="none", zorder=3)
    axes.set(xlim=(0, across), ylim=(0, up))
    axes.axis("off")
    for name, look in entries:
        axes.plot([x, x + 0.11, x + 0.22], [y] * 3, markevery=[1], **look)
        label(axes, x + 0.3, y, name)
        x += max(column, 0.3 + width_of(name) + 0.25)


@contextmanager
def no_glyph_warnings() -> Iterator[None]:
    """Names in any writing are drawn, with boxes for the letters that no font has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
