"""Opening picture files of every kind that Pillow reads, and why one cannot be opened, in plain words."""

import re
import warnings
from functools import cache
from importlib import import_module
from pathlib import Path

from PIL import Image, UnidentifiedImageError

_HEIF = {".heic", ".heif", ".hif"}  # phones; opened by the package pillow_heif where it is installed
_PILLOW = """
    apng avif avifs blp bmp bw cur dcx dds dib fit fits flc fli ftc ftu gbr gif icb icns ico iim im
    j2c j2k jfif jp2 jpc jpe jpeg jpf jpg jpx mpo msp pbm pcd pcx pfm pgm png pnm ppm psd pxr qoi
    ras rgb rgba sgi tga tif tiff vda vst webp xbm xpm
"""

#: Endings of pictures: those of HEIF, and all that Pillow registers for the formats it opens. Written down,
#: since Pillow knows its own only once all its plugins are loaded; a test holds the two against each other.
EXTENSIONS = _HEIF | {f".{ending}" for ending in _PILLOW.split()}
COMMON = ".jpg, .png, .webp, .heic and other endings of pictures"  # what messages say instead of all

#: Formats that are not opened: EPS would start Ghostscript on whatever the file says, WMF is drawn by Windows
#: alone, and of the others Pillow knows no more than the name.
REFUSED = frozenset({"BUFR", "EPS", "FPX", "GRIB", "HDF5", "MIC", "MPEG", "WMF"})

MOST_UNEQUAL = 50  # longer side over shorter one: beyond it nothing can be seen in the middle square
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_SILENCE = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


class CannotOpenError(ValueError):
    """A file that is no picture to work with; the message says why."""


def opened(file: Path, least: int) -> Image.Image:
    """The first picture in a file, not yet decoded where Pillow puts that off. The caller closes it.

    Args:
        file: of any ending; the content says what it is.
        least: pixels. A JPEG file whose shorter side has 2 · `least` or more times 2, 4 or 8 is decoded to a
            half, a quarter or an eighth, which takes a fraction of the time.

    Raises:
        CannotOpenError: it is not there, empty, no picture, a link to itself, larger than Pillow opens, or
            thin as a line.
        Exception: whatever else Pillow raises; `in_words` says it.
    """
    if not file.is_file():
        raise CannotOpenError("it is no file" if file.exists() else "there is no such file")
    if not file.stat().st_size:
        raise CannotOpenError("the file is empty")
    _silence()
    try:
        image: Image.Image = Image.open(file, formats=_formats())
    except UnidentifiedImageError:
        image = _opened_otherwise(file)
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
    said = str(error)
    if isinstance(error, CannotOpenError):
        return said
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\d+", said)
        return _too_large(int(pixels.group())) if pixels else "it has more pixels than are opened"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, OSError) and error.errno:
        return (error.strerror or said).lower()
    if isinstance(error, EOFError) or "truncated" in said.lower():
        return "it ends too early, as after a copy that was broken off"
    return f"it is damaged: {said}" if said else "it is damaged"


def _opened_otherwise(file: Path) -> Image.Image:
    """What Pillow cannot tell by its beginning: HEIF, text, or nothing that is known.

    Raises:
        CannotOpenError: says which of them.
    """
    with file.open("rb") as stream:
        head = stream.read(512)
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in _AVIF_BRANDS:
        raise CannotOpenError("it is AVIF, which Pillow reads from 11.3 on; needs: pip install -U pillow")
    if brand in _HEIF_BRANDS:
        return _from_heif(file)
    if all(byte >= 32 or byte in b"\t\n\f\r" for byte in head):
        raise CannotOpenError("it holds text, whatever its name says")
    raise CannotOpenError("its content is damaged, or of no kind of picture that can be read")


def _from_heif(file: Path) -> Image.Image:
    try:
        package = import_module("pillow_heif")
    except ImportError:
        raise CannotOpenError("it is HEIF; needs: pip install pillow-heif") from None
    found = package.open_heif(file)
    _require_a_picture(*found.size)
    image: Image.Image = found.to_pillow()
    return image


def _require_a_picture(width: int, height: int) -> None:
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > 2 * most:
        raise CannotOpenError(_too_large(width * height))
    if max(width, height) > MOST_UNEQUAL * min(width, height):
        raise CannotOpenError(
            f"its sides, {width:,} × {height:,} pixels, differ by more than a factor of {MOST_UNEQUAL}: its "
            "middle square shows nothing"
        )


def _too_large(pixels: int) -> str:
    return f"it has {pixels:,} pixels, more than the {2 * (Image.MAX_IMAGE_PIXELS or 0):,} that Pillow opens"


@cache
def _formats() -> tuple[str, ...]:
    """Those that are opened, the usual ones first."""
    Image.init()
    return tuple(name for name in Image.ID if name not in REFUSED)


def _silence() -> None:
    """Pillow warns of large pictures and odd metadata. `catch_warnings` is not for threads, a filter is."""
    if _SILENCE not in warnings.filters:
        warnings.filterwarnings("ignore", module=_SILENCE[3].pattern)
