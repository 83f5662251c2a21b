"""What is known of the ink of the image sets that this program draws, or inverts, itself."""

from mtl.config import Data
from mtl.data.ink import Ink

_SIDES: dict[str, tuple[int, ...]] = {"omniglot": (105,), "glyphs": ()}  # of their files


def file_sides(data: Data, size: int) -> tuple[int, ...]:
    """The sides of the square files of a set, and of its images of `size` pixels; none for other sets."""
    names = data.sets if data.name == "several" else (data.name,)
    if not set(names) <= set(_SIDES):
        return ()
    return tuple(sorted({size, *(side for name in names for side in _SIDES[name])}))


def known_ink(data: Data, size: int) -> Ink | None:
    """Light ink on black, as Omniglot and glyphs have it, for checkpoints that do not note it."""
    sides = file_sides(data, size)
    return Ink(True, (0, 0, 0), (91, 255, 255), 0, (0.25, 0.64, 0.93), sides=sides) if sides else None
