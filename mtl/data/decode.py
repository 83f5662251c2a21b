"""Image files to uint8 tensors."""

import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from mtl.data.formats import FULL, CannotOpenError, eight_bits, in_words, opened
from mtl.data.image_set import ImageSet
from mtl.errors import UserError, one_line

#: For decoding: more would help little, and a large photograph takes hundreds of MB while it is decoded.
THREADS = min(8, os.cpu_count() or 1)
_JOINERS = "\u200c\u200d"  # between letters, or the parts of an emoji


def escaped(name: str) -> str:
    r"""A name as text that any table and any file can hold: what is not printable is written as `\n`,
    `\xff`."""
    return name if name.isprintable() else "".join(map(_escaped, name))


def _escaped(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def source_name(file: Path, below: Path) -> str:
    """How an image set names a file: by its path below a folder, or else in full."""
    return escaped(str(file.relative_to(below) if file.is_relative_to(below) else file.absolute()))


def decode(file: Path, size: int, grayscale: bool, top: int = FULL) -> Tensor:
    """The image of a file as `to_tensor` makes it, turned upright as its EXIF data say. Thread-safe.

    Raises:
        UserError: the file is not a readable image; names it and says why in plain words.
    """
    try:
        return _decoded(file, size, grayscale, top)
    except Exception as error:  # a damaged file provokes anything, from EOFError to struct.error
        raise UserError(unreadable(file, in_words(error))) from None


def _decoded(file: Path, size: int, grayscale: bool, top: int) -> Tensor:
    with opened(file, size) as image:
        return to_tensor(upright(image), size, grayscale, top)


def unreadable(file: Path, why: str) -> str:
    """The sentence that a file cannot be read."""
    return f"{one_line(file)}: is not a readable image ({one_line(why)})"


def upright(image: Image.Image) -> Image.Image:
    """The first picture of an opened image, turned as its EXIF data say."""
    image.load()
    with suppress(Exception):  # damaged EXIF data do not hide the picture
        return ImageOps.exif_transpose(image)
    return image


def to_tensor(image: Image.Image, size: int, grayscale: bool, top: int = FULL) -> Tensor:
    """(channels, size, size) uint8: the middle square of an image, scaled to `size`.

    Transparency is laid on white; pixels of more than 8 bits are scaled so that `top` becomes 255.

    Raises:
        CannotOpenError: pixels are floating-point or negative numbers, or of unknown colours.
    """
    image = eight_bits(image, top)
    try:
        if has_transparency(image):
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if grayscale else "RGB")
    except ValueError:
        raise CannotOpenError(f"its colours, of mode {image.mode}, are not known; save it as RGB") from None
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(image).reshape(size, size, -1)).permute(2, 0, 1).contiguous()


def has_transparency(image: Image.Image) -> bool:
    """True if some of an image can be seen through."""
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"}:
        return bool(np.asarray(image.getchannel(len(image.getbands()) - 1)).min(initial=255) < 255)
    return "transparency" in image.info


def decode_classes(
    classes: Mapping[str, Sequence[Path]],
    size: int,
    grayscale: bool,
    relative_to: Path,
    groups: Mapping[str, str] | None = None,
) -> ImageSet:
    """`decode_readable`, or a UserError that names the first file that cannot be read."""
    images, failed = decode_readable(classes, size, grayscale, relative_to, groups)
    require_readable(failed, relative_to)
    return images


def require_readable(failed: Mapping[str, str], below: Path, advice: str = "") -> None:
    """
    Raises:
        UserError: files below a folder could not be read, by name and why; the sentence ends with `advice`.
    """
    if failed:
        file, why = next(iter(failed.items()))
        more = f"; and {len(failed) - 1:,} more cannot be read" if len(failed) > 1 else ""
        raise UserError(unreadable(below / file, why) + more + advice)


def decode_readable(
    classes: Mapping[str, Sequence[Path]],
    size: int,
    grayscale: bool,
    relative_to: Path,
    groups: Mapping[str, str] | None = None,
    top: int = FULL,
) -> tuple[ImageSet, dict[str, str]]:
    """The image set of the files of classes that can be read; and of those that cannot, the names and why.

    A class of which nothing can be read is there without images.
    """
    names = sorted(classes)
    files = [file for name in names for file in classes[name]]
    images = torch.empty(len(files), 1 if grayscale else 3, size, size, dtype=torch.uint8)

    def fill(row: int) -> str:
        try:
            images[row] = _decoded(files[row], size, grayscale, top)
        except Exception as error:  # as in `decode`
            return one_line(in_words(error))
        return ""

    with ThreadPoolExecutor(THREADS) as pool:
        rows = pool.map(fill, range(len(files)))
        reasons = list(tqdm(rows, desc="decoding", total=len(files), disable=not sys.stderr.isatty()))
    labels = torch.arange(len(names)).repeat_interleave(torch.tensor([len(classes[name]) for name in names]))
    sources = [source_name(file, relative_to) for file in files]
    failed = {source: why for source, why in zip(sources, reasons, strict=True) if why}
    if failed:
        readable = torch.tensor([not why for why in reasons])
        images, labels = images[readable], labels[readable]
        sources = [source for source, why in zip(sources, reasons, strict=True) if not why]
    of_classes = None if groups is None else tuple(groups[name] for name in names)
    return ImageSet(images, labels, tuple(names), of_classes, tuple(sources)), failed
