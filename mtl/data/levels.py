"""Grey values of more than 8 bits: which value of a file is white.

Microscopes, X-ray, depth and thermal cameras keep 8, 10, 12 or 14 bits in files of 16 or 32. Nothing but the
values themselves, or a note in the file, says so.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from mtl.data.formats import CannotOpenError, opened

#: `auto`: white is the largest number of the fewest bits that hold all values of the set; `full`: of 16 bits.
Levels = Literal["auto", "full"] | int

FULL = 65_535
_BITS = (8, 10, 12, 14, 16)
_MAX_SAMPLE_VALUE = 281  # a tag of TIFF


def eight_bits(image: Image.Image, top: int = FULL) -> Image.Image:
    """An image whose grey values in 0..`top` are brought to 0..255; one of 8 bits is returned as it is.

    Raises:
        ValueError: pixels are floating-point numbers, whose range nobody can know, or negative.
    """
    if image.mode == "F":
        raise CannotOpenError("its pixels are floating-point numbers; save it with 8 or 16 bits")
    if not is_deep(image):
        return image
    values = np.asarray(image, dtype=np.float64)
    if values.size and values.min() < 0:
        raise CannotOpenError(
            f"its values go down to {int(values.min()):,}; add what is missing to 0 and save it with 16 bits"
        )
    grey = Image.fromarray((values / (top / 255)).round().clip(0, 255).astype(np.uint8))
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    alpha = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, alpha))


def is_deep(image: Image.Image) -> bool:
    """Whether an image has whole grey values of more than 8 bits."""
    return image.mode.startswith("I")


def largest_value(image: Image.Image, file: Path | None = None) -> int | None:
    """The largest value that an image of more than 8 bits is made for, as its file or its pixels say.

    None for an image of 8 bits, or of pixels that are not whole numbers.

    Args:
        image: as it was opened.
        file: where it comes from: PNG notes the bits that count where Pillow does not read them.
    """
    if not is_deep(image):
        return None
    noted = _noted_in_tiff(image) or (_noted_in_png(file) if image.format == "PNG" and file else 0)
    return max(noted, int(np.asarray(image, dtype=np.float64).max(initial=0)))


def largest_values(files: Iterable[Path]) -> list[int]:
    """Of the files that hold an image of more than 8 bits; what cannot be read is passed over."""
    found = []
    for file in files:
        with suppress(Exception):  # what decodes the file says what is wrong with it
            if _may_be_deep(file):
                with opened(file, 1) as image:
                    value = largest_value(image, file)
                    found += [] if value is None else [value]
    return found


def top_of(largest: Iterable[int], levels: Levels = "auto") -> int | None:
    """The value that is white in a whole set; None where it has no images of more than 8 bits.

    Args:
        largest: of each such image, `largest_value`.
        levels: as the config has it.
    """
    if levels == "full":
        return FULL
    if isinstance(levels, int):
        return levels
    most = max(largest, default=None)
    if most is None:
        return None
    return next((2**bits - 1 for bits in _BITS if most < 2**bits), most)


def told(top: int | None, count: int) -> list[str]:
    """A sentence where grey values were stretched; `count` files have more than 8 bits."""
    if not count or top is None or top >= FULL:
        return []
    files = f"{count:,} file{'s' if count > 1 else ''}"
    return [
        f"Grey values of {files} with more than 8 bits are stretched: {top:,} is white, not {FULL:,}; "
        "data.levels says otherwise."
    ]


def _may_be_deep(file: Path) -> bool:
    """By the first bytes: opening 100,000 files of 8 bits would take as long as decoding them."""
    with file.open("rb") as stream:
        head = stream.read(25)
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return head[24:] == bytes([16])
    return not head.startswith((b"\xff\xd8", b"GIF8", b"RIFF", b"BM"))


def _noted_in_tiff(image: Image.Image) -> int:
    """MaxSampleValue; 0 where there is none."""
    most = getattr(image, "tag_v2", {}).get(_MAX_SAMPLE_VALUE, 0)
    most = most[0] if isinstance(most, tuple) and most else most
    return most if isinstance(most, int) else 0


def _noted_in_png(file: Path) -> int:
    """The largest number of the significant bits that sBIT notes; 0 where it is not there."""
    with file.open("rb") as stream:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"sBIT":
                return int(2 ** stream.read(1)[0] - 1) if length else 0
            if kind == b"IDAT":
                break
            stream.seek(length + 4, 1)
    return 0
