"""Figures into files: whole or not there, with names in any writing, and labels that keep apart."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtl.errors import UserError
from mtl.runtime.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
MARK = "mtl few-shot"  # keyword of the text in a PNG file that says where it comes from
#: Between them they hold most writings, and every letter of the set `glyphs`.
FONTS = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral")


def save_png(figure: "Figure", path: Path, **how: Any) -> None:
    """Draws a figure into a file; `how` as of `Figure.savefig`.

    Raises:
        UserError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    how["metadata"] = {**how.get("metadata", {}), MARK: "a drawing, not a picture to learn from"}
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        write(path, lambda temporary: figure.savefig(temporary, format="png", **how))


def drawn_here(path: Path) -> bool:
    """Whether a file is a sheet or plot of `save_png`, and so no picture to learn from or to answer."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb") as file:
            return f"tEXt{MARK}\0".encode() in file.read(512)  # it comes before the pixels
    except OSError:
        return False


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Has a file written beside `path`, then renames it.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save(temporary)
    except OSError as error:
        raise UserError(f"{path}: the picture cannot be written ({error.strerror})") from None


def text(figure: "Figure", x: float, y: float, words: str, **how: Any) -> Any:
    """Text at `x`, `y` inches from the lower left corner; a $ in it is a $."""
    width, height = figure.get_size_inches()
    plain = {"va": "center", "fontfamily": list(FONTS), "parse_math": False}
    return figure.text(x / width, y / height, words, **{**plain, **how})


def short(name: str, most: int) -> str:
    """A name on one line of at most `most` characters; a long one loses its middle."""
    line = "".join(c if c.isprintable() else "�" for c in name)
    half = (most - 1) // 2
    return line if len(line) <= most else f"{line[:half]}…{line[-half:]}"


def spread(at: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels that want to stand at `at` (ascending): `gap` apart, moved as little as can be.

    They stay within [low, high] where they fit. Least squares under an order, by pooling neighbours that
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
