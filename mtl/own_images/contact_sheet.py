"""Answers as one picture: the least sure of them, each with what it was taken for."""

from collections.abc import Sequence
from pathlib import Path
from unicodedata import east_asian_width

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mtl.own_images.answers import Row, percent
from mtl.runtime.figure_files import DPI, save_png, short, text

MOST = 60
_COLUMNS = 10
_CELL, _GAP, _EDGE = 1.15, 0.17, 0.3  # inches: a picture, what lies between two, the margin
_LINES, _LINE = 3, 0.145  # below each picture
_HEAD = 0.62
_NAME, _FILE = 12, 24  # small letters that a line has room for
_INK, _SOFT, _ACCENT, _WASH = "#1b1f24", "#59626c", "#1a5e9a", "#dde1e6"


def contact_sheet(
    rows: Sequence[Row], pictures: Sequence[Tensor | None], title: str, note: str, path: Path
) -> None:
    """Draws up to 60 answers into a PNG, in the order in which they are given.

    Below each picture: a bar of the probability, the class, the runner-up, the file.

    Args:
        rows: the answers.
        pictures: (1 or 3, side, side) uint8, one for each; None where there is none.
        title, note: stand above them; the note is smaller.
        path: of the file.

    Raises:
        UserError: the file cannot be written.
    """
    shown = list(zip(rows, pictures, strict=True))[:MOST]
    columns = min(_COLUMNS, max(len(shown), 6))
    step = _CELL + _GAP
    row_height = _CELL + _LINES * _LINE + 0.26
    deep = -(-len(shown) // columns)
    width, height = 2 * _EDGE - _GAP + columns * step, _HEAD + deep * row_height + 0.5 * _EDGE
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    text(figure, _EDGE, height - 0.27, short(title, 70), fontsize=12, fontweight="bold", color=_INK)
    text(figure, _EDGE, height - 0.48, short(note, 140), fontsize=7.5, color=_SOFT)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))  # in inches
    axes.axis("off")
    for place, (row, picture) in enumerate(shown):
        down, along = divmod(place, columns)
        _draw(figure, axes, row, picture, _EDGE + along * step, height - _HEAD - down * row_height)
    save_png(figure, path)


def _fitting(name: str, room: float) -> str:
    """A name shortened to the room of so many small letters; capitals and ideographs take more of it."""
    width = {True: 2.0, False: 1.0}
    line = short(name, len(name))
    for most in range(len(line), 2, -1):
        shown = short(line, most)
        if sum(1.3 if c.isupper() else width[east_asian_width(c) in "WF"] for c in shown) <= room:
            return shown
    return short(line, 3)


def _draw(figure: Figure, axes: Axes, row: Row, picture: Tensor | None, left: float, top: float) -> None:
    if picture is not None:
        place = (left, left + _CELL, top - _CELL, top)
        pixels = picture.expand(3, -1, -1).permute(1, 2, 0).numpy()
        axes.imshow(pixels, extent=place, interpolation="antialiased", aspect="auto")
    else:
        axes.add_patch(Rectangle((left, top - _CELL), _CELL, _CELL, facecolor=_WASH, linewidth=0))
    at = top - _CELL - 0.06
    for share, start, colour, faint in (
        (1.0, 0.0, _WASH, 1.0),
        (row.probability, 0.0, _ACCENT, 1.0),
        (row.runner_up_probability, row.probability, _ACCENT, 0.4),
    ):
        corner, length = (left + start * _CELL, at - 0.015), min(share, 1 - start) * _CELL
        axes.add_patch(Rectangle(corner, length, 0.03, facecolor=colour, alpha=faint, linewidth=0))
    at -= 0.115
    right = left + _CELL
    text(figure, left, at, _fitting(row.answer, _NAME), fontsize=7, fontweight="bold", color=_INK)
    text(figure, right, at, percent(row.probability), fontsize=7, ha="right", color=_ACCENT)
    text(figure, left, at - _LINE, _fitting(f"or {row.runner_up}", _NAME + 3), fontsize=6.5, color=_SOFT)
    second = percent(row.runner_up_probability)
    text(figure, right, at - _LINE, second, fontsize=6.5, ha="right", color=_SOFT)
    text(figure, left, at - 2 * _LINE, _fitting(Path(row.file).name, _FILE), fontsize=5.5, color=_SOFT)
