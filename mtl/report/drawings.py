"""The figures of a report: in the page as inline SVG, and on demand as files."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from mtl.report.contents import Drawing
from mtl.report.figures.style import FAINT, INK, no_glyph_warnings
from mtl.runtime.figure_files import DPI, save_png, write


class Drawings:
    """Turns figures into drawings of one page, and keeps them to be written as files."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}  # by name
        self._pages: dict[str, str] = {}  # as they are in the page, by name
        self._names: set[str] = set()  # that are taken in this page

    def again(self) -> None:
        """Begins the page anew with the same figures: each is taken as it was drawn."""
        self._names.clear()

    def add(self, name: str, draw: Callable[[], Figure | None], caption: str, alt: str) -> Drawing | None:
        """The figure for the page; None if there is none.

        Args:
            name: what it shows and of which run; made unique and fit for a file's name.
            draw: a function of `mtl.report.figures` with what it draws.
            caption: the text below it.
            alt: what a reader who cannot see it should know.
        """
        stem = plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "figure"
        number = 2
        while stem in self._names:
            stem, number = f"{plain}-{number}", number + 1
        if stem not in self.figures:
            figure = draw()
            if figure is None:
                return None
            self.figures[stem], self._pages[stem] = figure, to_svg(figure, stem)
        self._names.add(stem)
        return Drawing(stem, self._pages[stem], caption, alt)

    def write(self, folder: Path) -> None:
        """Each figure as <name>.png and <name>.svg.

        Raises:
            UserError: a file cannot be written.
        """
        for name, figure in self.figures.items():
            save(figure, folder / name)


def to_svg(figure: Figure, salt: str) -> str:
    """The figure as an <svg> for a page, whose `style.css` gives it fonts and the colours of the theme.

    INK becomes currentColor and FAINT var(--line). Figures of different salts have no id in common.
    """
    svg = _svg(figure, salt, "none")
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # the only ids without the salt; nothing refers to them
    svg = re.sub(r">\s+<", "><", svg)
    for colour, of_page in ((INK, "currentColor"), (FAINT, "var(--line)")):
        svg = re.sub(rf"\b(fill|stroke): {colour}", rf"\1: {of_page}", svg)
    return svg


def save(figure: Figure, stem: Path) -> None:
    """Writes <stem>.png and <stem>.svg on white, each whole or not at all.

    Raises:
        UserError: one of them cannot be written.
    """
    svg = _svg(figure, stem.name, "white")
    save_png(figure, stem.with_name(f"{stem.name}.png"))
    write(stem.with_name(f"{stem.name}.svg"), lambda path: path.write_text(svg, encoding="utf-8"))


def _svg(figure: Figure, salt: str, background: str) -> str:
    """Matplotlib's SVG with text as text, the same at every call."""
    file = io.StringIO()
    no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), no_glyph_warnings():
        figure.savefig(file, format="svg", facecolor=background, dpi=DPI, metadata=no_metadata)
    return file.getvalue()
