"""Opening picture files of every kind that Pillow reads, and bringing grey values of more than 8 bits to 8.

Why a file cannot be opened is said in plain words. Microscopes, X-ray, depth and thermal cameras keep 8, 10,
12 or 14 bits in files of 16 or 32: which value is white follows from the values themselves, or from a note in
the file.
"""

import re
import warnings
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from mtl.errors import counted

_ENDINGS = """
    heic heif hif
    apng avif avifs blp bmp bw cur dcx dds dib fit fits flc fli ftc ftu gbr gif icb icns ico iim im
    j2c j2k jfif jp2 jpc jpe jpeg jpf jpg jpx mpo msp pbm pcd pcx pfm pgm png pnm ppm psd pxr qoi
    ras rgb rgba sgi tga tif tiff vda vst webp xbm xpm
"""
#: Those of HEIF, and all that Pillow registers for the formats it opens. Written down, since Pillow knows its
#: own only once all its plugins are loaded; a test compares the two.
EXTENSIONS = {f".{ending}" for ending in _ENDINGS.split()}
COMMON = ".jpg, .png, .webp, .heic and other endings of pictures"  # what messages say instead of all

#: Formats that are not opened: EPS would start Ghostscript on whatever the file says, WMF is drawn by Windows
#: alone, and of the others Pillow knows no more than the name.
REFUSED = frozenset({"BUFR", "EPS", "FPX", "GRIB", "HDF5", "MIC", "MPEG", "WMF"})

FULL = 65_535  # white of 16 bits
_MOST_UNEQUAL = 50  # longer side over shorter one: beyond it the middle square shows nothing
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_SILENCE = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_BITS = (8, 10, 12, 14, 16)
_MAX_SAMPLE_VALUE = 281  # a tag of TIFF


class CannotOpenError(ValueError):
    """A file or picture that cannot be worked with; the message says why."""


def opened(file: Path, least: int) -> Image.Image:
    """The first picture in a file, not yet decoded where Pillow puts that off. The caller closes it.

    The content decides what a file is, not its ending. A JPEG file whose shorter side has 2 · `least` pixels
    or more times 2, 4 or 8 is decoded to a half, a quarter or an eighth, which takes a fraction of the time.

    Raises:
        CannotOpenError: it is missing, empty, no picture, too large, or thin as a line.
        Exception: whatever else Pillow raises; see `in_words`.
    """
    if not file.is_file():
        raise CannotOpenError("it is not a file" if file.exists() else "there is no such file")
    if not file.stat().st_size:
        raise CannotOpenError("the file is empty")
    if (
        _SILENCE not in warnings.filters
    ):  # of large pictures and odd metadata; `catch_warnings` is not for threads
        warnings.filterwarnings("ignore", module=_SILENCE[3].pattern)
    try:
        image: Image.Image = Image.open(file, formats=_formats())
    except UnidentifiedImageError:
        image = _open_unidentified(file)
    try:
        _require_a_picture(*image.size)
        if image.format in {"JPEG", "MPO"}:
            image.draft(None, (2 * least, 2 * least))
    except BaseException:
        image.close()
        raise
    return image


def in_words(error: Exception) -> str:
    """Why a picture could not be opened or decoded, from what was raised."""
    text = str(error)
    if isinstance(error, CannotOpenError):
        return text
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\d+", text)
        return _too_large(int(pixels.group())) if pixels else "it has more pixels than are opened"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, OSError) and error.errno:
        return (error.strerror or text).lower()
    if isinstance(error, EOFError) or "truncated" in text.lower():
        return "it ends too early, as after a copy that was broken off"
    return f"it is damaged: {text}" if text else "it is damaged"


def _open_unidentified(file: Path) -> Image.Image:
    """What Pillow does not recognise: HEIF, or else a `CannotOpenError`."""
    with file.open("rb") as stream:
        head = stream.read(512)
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in _AVIF_BRANDS:
        raise CannotOpenError("it is AVIF, which Pillow reads from 11.3 on; needs: pip install -U pillow")
    if brand in _HEIF_BRANDS:
        return _open_heif(file)
    if all(byte >= 32 or byte in b"\t\n\f\r" for byte in head):
        raise CannotOpenError("it holds text, whatever its name says")
    raise CannotOpenError("its content is damaged, or of no kind of picture that can be read")


def _open_heif(file: Path) -> Image.Image:
    try:
        package = import_module("pillow_heif")
    except ImportError:
        raise CannotOpenError("it is HEIF; needs: pip install pillow-heif") from None
    heif = package.open_heif(file)
    _require_a_picture(*heif.size)
    image: Image.Image = heif.to_pillow()
    return image


def _require_a_picture(width: int, height: int) -> None:
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > 2 * most:
        raise CannotOpenError(_too_large(width * height))
    if max(width, height) > _MOST_UNEQUAL * min(width, height):
        raise CannotOpenError(
            f"its sides, {width:,} × {height:,} pixels, differ by more than a factor of {_MOST_UNEQUAL}: its "
            "middle square shows nothing"
        )


def _too_large(pixels: int) -> str:
    return f"it has {pixels:,} pixels, more than the {2 * (Image.MAX_IMAGE_PIXELS or 0):,} that Pillow opens"


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in REFUSED)


def is_deep(image: Image.Image) -> bool:
    """True if an image has integer grey values of more than 8 bits."""
    return image.mode.startswith("I")


def eight_bits(image: Image.Image, top: int = FULL) -> Image.Image:
    """An image whose grey values in 0..`top` are brought to 0..255; one of 8 bits is returned unchanged.

    Raises:
        CannotOpenError: pixels are negative, or floating-point numbers, whose range nobody can know.
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


def largest_value(image: Image.Image, file: Path | None = None) -> int | None:
    """The largest value that an image is made for, as its file notes or its pixels show; None up to 8 bits.

    `file` is where it was opened from: Pillow does not read the note of a PNG.
    """
    if not is_deep(image):
        return None
    noted = _noted_in_tiff(image) or (_noted_in_png(file) if image.format == "PNG" and file else 0)
    return max(noted, int(np.asarray(image, dtype=np.float64).max(initial=0)))


def largest_values(files: Iterable[Path]) -> list[int]:
    """`largest_value` of those files that have more than 8 bits; what cannot be read is skipped."""
    values = []
    for file in files:
        with suppress(Exception):  # decoding reports what is wrong with the file
            if _may_be_deep(file):
                with opened(file, 1) as image:
                    value = largest_value(image, file)
                    values += [] if value is None else [value]
    return values


def top_of(largest: Iterable[int], levels: Literal["auto", "full"] | int = "auto") -> int | None:
    """The value that is white in a set, by the `largest_value` of its images of more than 8 bits, if there
    are any.

    `levels` is `data.levels`. `auto`: the largest number of the fewest bits that hold all values.
    """
    if levels == "full":
        return FULL
    if isinstance(levels, int):
        return levels
    most = max(largest, default=None)
    if most is None:
        return None
    return next((2**bits - 1 for bits in _BITS if most < 2**bits), most)


def levels_messages(top: int | None, count: int) -> list[str]:
    """A sentence if grey values of `count` files with more than 8 bits were stretched to make `top` white."""
    if not count or top is None or top >= FULL:
        return []
    return [
        f"Grey values of {counted(count, 'file')} with more than 8 bits are stretched: {top:,} is white, not "
        f"{FULL:,}; set data.levels to change that."
    ]


def _may_be_deep(file: Path) -> bool:
    """By the first bytes: opening 100,000 files of 8 bits would take as long as decoding them."""
    with file.open("rb") as stream:
        head = stream.read(25)
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return head[24:] == bytes([16])
    return not head.startswith((b"\xff\xd8", b"GIF8", b"RIFF", b"BM"))


def _noted_in_tiff(image: Image.Image) -> int:
    """0 where there is no note."""
    most = getattr(image, "tag_v2", {}).get(_MAX_SAMPLE_VALUE, 0)
    most = most[0] if isinstance(most, tuple) and most else most
    return most if isinstance(most, int) else 0


def _noted_in_png(file: Path) -> int:
    """The largest number of the significant bits that sBIT notes; 0 where there is none."""
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
