"""Figures in files: written whole, with names in any script, and labels that do not overlap."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtl.errors import UserError, one_line
from mtl.runtime.outputs import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
MARK = "mtl few-shot"  # keyword of the text in a PNG file that says where it comes from
#: Together they hold most scripts, and every letter of the set `glyphs`.
FONTS = ["DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral"]
#: Settings of matplotlib under which any name is drawn as it is: a $ is plain text.
PLAIN_TEXT = {"font.family": FONTS, "text.parse_math": False}


def save_png(figure: "Figure", path: Path) -> None:
    """Draws a figure into a file, on white; UserError if it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    note = {MARK: "a drawing, not a picture to learn from"}
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        write(
            path, lambda temporary: figure.savefig(temporary, format="png", facecolor="white", metadata=note)
        )


def drawn_here(path: Path) -> bool:
    """True if a file was drawn by `save_png`, and so is not a picture to learn from or to classify."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb") as file:
            return f"tEXt{MARK}\0".encode() in file.read(512)  # it comes before the pixels
    except OSError:
        return False


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Has `save` write a file, whole or not at all; UserError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save(temporary)
    except OSError as error:
        raise UserError(f"{path}: the picture cannot be written ({error.strerror})") from None


def short(name: str, most: int) -> str:
    """A name on one line of at most `most` characters; a long one loses its middle."""
    line = one_line(name)
    half = (most - 1) // 2
    return line if len(line) <= most else f"{line[:half]}…{line[-half:]}"


def spread(at: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions for labels, wanted at `at` (ascending): at least `gap` apart, moved as little as possible.

    They stay within [low, high] if they fit. Least squares under an order, by pooling neighbours that
    collide (Ayer et al., 1955).
    """
    pools: list[tuple[float, int]] = []  # (mean, labels) of each run of touching labels, less the gaps
    for i, value in enumerate(at):
        pools.append((value - i * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, n), (other, m) = pools[-2:]
            pools[-2:] = [((one * n + other * m) / (n + m), n + m)]
    bases = [mean for mean, n in pools for _ in range(n)]
    top = high - (len(at) - 1) * gap
    return [max(low, min(base, top)) + i * gap for i, base in enumerate(bases)]
