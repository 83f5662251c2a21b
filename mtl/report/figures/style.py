"""What all figures share: colours, the look, names that fit, and names where lines end."""

import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

from mtl.runtime.figure_files import DPI, FONTS, PLAIN_TEXT, short, spread

P = ParamSpec("P")
Drawn = TypeVar("Drawn", Figure, Figure | None)

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
#: More points than this become a picture: shapes would make a page heavy.
SHAPES = 800

_LOOK: dict[str, Any] = PLAIN_TEXT | {
    "axes.axisbelow": True, "axes.edgecolor": INK, "axes.facecolor": "none", "axes.grid": True,
    "axes.labelcolor": QUIET, "axes.labelsize": SMALL, "axes.spines.left": False,
    "axes.spines.right": False, "axes.spines.top": False, "axes.titlelocation": "left",
    "axes.titlesize": SIZE, "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.08, "figure.dpi": DPI, "figure.facecolor": "none",
    "figure.titlesize": SIZE, "font.size": SIZE, "grid.color": FAINT, "legend.borderaxespad": 0.3,
    "legend.borderpad": 0.2, "legend.columnspacing": 1.5, "legend.frameon": False,
    "legend.handlelength": 1.4, "legend.handletextpad": 0.5, "lines.linewidth": 1.8,
    "lines.markeredgewidth": 0, "lines.markersize": 3.5, "lines.solid_capstyle": "butt", "text.color": INK,
    "xtick.color": INK, "xtick.labelcolor": QUIET, "xtick.labelsize": SMALL, "xtick.major.pad": 5,
    "xtick.major.size": 0, "xtick.minor.size": 0, "ytick.color": INK, "ytick.labelcolor": QUIET,
    "ytick.labelsize": SMALL, "ytick.major.pad": 5, "ytick.major.size": 0, "ytick.minor.size": 0,
}  # fmt: skip


def in_look(draw: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """Decorates a function that draws: its figure has the look of all, and is laid out once."""

    @wraps(draw)
    def drawn(*args: P.args, **options: P.kwargs) -> Drawn:
        with rc_context(_LOOK), no_glyph_warnings():
            figure = draw(*args, **options)
            if figure is not None:
                figure.draw_without_rendering()
                figure.set_layout_engine("none")
        return figure

    return drawn


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty, transparent figure that arranges what is in it; inches."""
    return Figure(figsize=(width, height), layout="constrained")


def ticks(axis: Axis, most: int, *, whole: bool = False) -> None:
    """At most `most` round numbers on an axis, integers if `whole`."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=whole, min_n_ticks=1))


def rows(axes: Axes, names: Sequence[str], results: Sequence[str] = ()) -> None:
    """Names at the left of rows 0, 1, ..., the first of which is on top, and results at their right."""
    axes.set_yticks(range(len(names)), names, color=INK, fontsize=SIZE)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    for row, result in enumerate(results):
        at: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        axes.annotate(result, (1, row), (8, 0), va="center", **at)


def name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names lines at their right ends: (x, y, name, colour), moved apart where they would touch.

    All else must have been drawn. A lead in the line's colour goes to each name, which is in ink: no colour
    of the palette is dark enough for small letters on white and light enough on black.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = sorted((end for end in ends if end[2]), key=lambda end: float(to_axes.transform(end[:2])[1]))
    heights = to_axes.transform([end[:2] for end in ends])[:, 1]
    line = 1.35 * SIZE / 72 * DPI / axes.bbox.height
    for (x, y, name, colour), place in zip(ends, spread(heights.tolist(), line, 0.0, 1.0), strict=True):
        lead = {"arrowstyle": "-", "color": colour, "linewidth": 0.9, "relpos": (0, 0.5), "shrinkB": 0}
        options: dict[str, Any] = {"textcoords": "axes fraction", "annotation_clip": False, "va": "center"}
        axes.annotate(name, (x, y), (1.06, place), arrowprops=lead, **options)


def key(figure: Figure, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Marks, each before its name, in a row at the upper left; a mark is what `Line2D` takes."""
    marks = [Line2D([], [], **look) for look in entries.values()]
    figure.legend(marks, list(entries), loc="outside upper left", ncols=len(marks))


def width_of(words: str, size: float = SIZE) -> float:
    """Inches that one line of words takes; wide letters, which no font here may have, are as wide as high."""
    narrow = "".join(letter for letter in words if unicodedata.east_asian_width(letter) not in "WF")
    font = FontProperties(family=FONTS, size=size)
    with no_glyph_warnings():
        drawn, _, _ = text_to_path.get_text_width_height_descent(narrow, font, ismath=False)
    return (float(drawn) + size * (len(words) - len(narrow))) / 72


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


@contextmanager
def no_glyph_warnings() -> Iterator[None]:
    """Names in any writing are drawn, with boxes for the letters that no font has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
