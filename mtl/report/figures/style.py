"""What all figures share: ink that follows the page's theme, colours, panels placed in inches, SVG, files."""

import hashlib
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mtl.runtime.figure_files import DPI, FONTS, save_png, short, spread, write

#: Text and axes; in SVG the page's own text colour.
INK = "#1c1e22"
#: Grids, frames and what is left empty; in SVG the page's `--line`.
FAINT = "#d8dade"
#: Six colours with a contrast of at least 3 on white and on near-black, which also those tell apart who see
#: no red, no green or no blue.
PALETTE = BLUE, VERMILION, TEAL, ORCHID, WINE, MOSS = (
    "#0072b2", "#d55e00", "#29a691", "#c261f2", "#a64263", "#628c4d",
)  # fmt: skip
#: For numbers and words that only explain.
QUIET = to_rgba(INK, 0.75)
#: Inches, so that a phone of 390 px shows letters of 8 px; points.
WIDTH, SIZE, SMALL = 6.2, 10.5, 10.0

_SHAPES = 800  # more than so many marks become a picture
_PER_INCH = 72  # units of matplotlib's SVG, and points
_PAGE_FONT = "system-ui, sans-serif"
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_NUMBERS = frozenset({"d", "x", "y", "width", "height", "transform", "points"})


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


def label(axes: Axes, x: float, y: float, words: str, **how: Any) -> Any:
    """Text in ink that stays as it is, whatever it holds."""
    plain = {"color": INK, "fontsize": SIZE, "fontfamily": list(FONTS), "parse_math": False, "va": "center"}
    return axes.text(x, y, words, **{**plain, **how})


def axis_name(axes: Axes, x: str = "", y: str = "") -> None:
    """Names the axes."""
    axes.set_xlabel(x, fontsize=SMALL, color=QUIET, labelpad=4)
    axes.set_ylabel(y, fontsize=SMALL, color=QUIET, labelpad=4)


def ticks(axis: Axis, most: int, *, whole: bool = False) -> None:
    """At most so many round numbers on an axis; of `whole` numbers if so."""
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
    with _no_glyph_warnings():
        drawn, _, _ = text_to_path.get_text_width_height_descent(narrow, font, ismath=False)
    return (float(drawn) + size * (len(words) - len(narrow))) / _PER_INCH


def fitted(name: str, inches: float, size: float = SIZE) -> str:
    """A name on one line, shortened in its middle until it takes no more than so many inches."""
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

    The limits of the axes must stand. A lead in the line's colour ends at each name, which is in ink: no
    colour of the palette is dark enough for small letters on white and light enough on black.
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


def to_svg(figure: Figure, salt: str) -> str:
    """The figure as an <svg> that stands in a page and takes part in its theme.

    INK has become currentColor and FAINT var(--line); nothing lies behind. Text is text, in the page's fonts.
    There are no ids but those that are referred to, and these are of the `salt` alone, so that figures of
    different salts share none. No header, no metadata, no <style>, which would hold for all of the page.
    """
    root = ElementTree.fromstring(_drawn(figure, salt, "none"))
    width, height = figure.get_size_inches()
    root.attrib = {
        "viewBox": f"0 0 {_PER_INCH * width:g} {_PER_INCH * height:g}",
        "width": f"{96 * width:.0f}",
        "height": f"{96 * height:.0f}",
        "style": f"max-width: 100%; height: auto; font-family: {_PAGE_FONT}; stroke-linejoin: round",
    }
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style") or _draws_nothing(child):
                parent.remove(child)
    names = _new_names(root, "f" + hashlib.sha256(salt.encode()).hexdigest()[:10])
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if element is not root:
            element.attrib = dict(_attributes(element, names))
        if element.tag != "text":
            element.text = None
        element.tail = None
    root.set("xmlns", _SVG[1:-1])
    return ElementTree.tostring(root, encoding="unicode")


def save(figure: Figure, stem: Path) -> None:
    """Writes <stem>.png and <stem>.svg on white, each whole or not at all.

    Raises:
        UserError: one of them cannot be written.
    """
    made = _drawn(figure, stem.name, "white")
    save_png(figure, stem.with_name(f"{stem.name}.png"), facecolor="white")
    write(stem.with_name(f"{stem.name}.svg"), lambda path: path.write_text(made, encoding="utf-8"))


def _drawn(figure: Figure, salt: str, behind: str) -> str:
    """Matplotlib's SVG, without a date and with ids that are the same each time."""
    made = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), _no_glyph_warnings():
        figure.savefig(made, format="svg", facecolor=behind, dpi=DPI, metadata={"Date": None})
    return made.getvalue()


@contextmanager
def _no_glyph_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _draws_nothing(element: ElementTree.Element) -> bool:
    return "id" not in element.attrib and element.get("style") == "fill: none"


def _new_names(root: ElementTree.Element, prefix: str) -> dict[str, str]:
    """A new id for each that something refers to."""
    told = [value for element in root.iter() for value in element.attrib.values()]
    used = {name for value in told for name in re.findall(r"^#(.+)$|url\(#([^)]+)\)", value) for name in name}
    found = [element.attrib["id"] for element in root.iter() if element.get("id") in used]
    return {name: f"{prefix}-{number}" for number, name in enumerate(found)}


def _attributes(element: ElementTree.Element, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The attributes of an element as they are to be, in their order."""
    for attribute, value in element.attrib.items():
        plain = attribute.removeprefix(_XLINK)
        if plain == "id":
            if value in names:
                yield plain, names[value]
        elif plain == "href":
            yield plain, f"#{names[value[1:]]}" if value.startswith("#") else "".join(value.split())
        elif plain == "style":
            yield plain, _style(value)
        elif plain in _NUMBERS:
            shorter = re.sub(r"-?\d+\.\d+", lambda number: f"{round(float(number[0]), 2):g}", value)
            if not shorter.startswith("rotate(-0 "):
                yield plain, shorter
        else:
            yield plain, re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{names[match[1]]})", value)


def _style(style: str) -> str:
    """A style with the page's colours and without fonts of its own."""
    parts = [part.split(": ", 1) for part in style.split("; ")]
    ours = {INK: "currentColor", FAINT: "var(--line)"}
    return "; ".join(f"{name}: {ours.get(value, value)}" for name, value in parts if name != "font-family")
