"""Image files to uint8 tensors."""

import os
import unicodedata
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from mtl.config import Log
from mtl.data.formats import (
    FULL,
    CannotOpenError,
    eight_bits,
    in_words,
    is_deep,
    largest_values,
    opened,
    top_of,
)
from mtl.data.image_set import ImageSet, mean_std_of
from mtl.data.pixel_file import PixelsInMemory, PixelWriter, Shape, images_a_block, mapped
from mtl.errors import UserError, one_line
from mtl.runtime.figure_files import drawn_here
from mtl.runtime.progress import Count

#: For decoding: more would help little, and a large photograph takes hundreds of MB while it is decoded.
THREADS = min(8, os.cpu_count() or 1)
DRAWN = "is a drawing of this program, not a picture"
_JOINERS = "\u200c\u200d"  # between letters, or the parts of an emoji

_Done = tuple[NDArray[np.uint8], dict[str, Any]]  # pixels of some files, and a note on them


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
    log: Log | None = None,
) -> ImageSet:
    """`decode_readable`, or a UserError that names the first file that cannot be read."""
    images, failed = decode_readable(classes, size, grayscale, relative_to, groups, log=log)
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


class White:
    """The grey value that is white in those files of a set that have more than 8 bits; found out when the
    first of them is decoded, since most sets have none.
    """

    def __init__(self, files: Sequence[Path], levels: Literal["auto", "full"] | int = "full") -> None:
        self._files, self._levels, self._lock = files, levels, Lock()
        self.deep = 0  # how many such files there are
        self.top: int | None = None  # what is white in them, where there are any

    def value(self) -> int:
        with self._lock:
            if self.top is None:
                values = largest_values(self._files)
                self.deep, self.top = len(values), top_of(values, self._levels) or FULL
            return self.top


def decode_readable(
    classes: Mapping[str, Sequence[Path]],
    size: int,
    grayscale: bool,
    relative_to: Path,
    groups: Mapping[str, str] | None = None,
    log: Log | None = None,
) -> tuple[ImageSet, dict[str, str]]:
    """The image set of the files of classes that can be read, in memory; and of the others, names and why.

    A class of which nothing can be read is there without images.
    """
    files = [file for name in sorted(classes) for file in classes[name]]
    with Count("decoding", len(files), log) as count:
        decoded = decode_files(files, (1 if grayscale else 3, size, size), White(files), count)
    failed = {source_name(files[place], relative_to): why for place, why in decoded.failed.items()}
    return of_classes(decoded, classes, relative_to, groups), failed


@dataclass(frozen=True, eq=False)
class DecodedFiles:
    """Images of M of n files."""

    images: Tensor  # (M, channels, size, size) uint8, in the order of the files
    failed: Mapping[int, str]  # places of those that are not pictures, and why
    mean_std: tuple[list[float], list[float]]  # of the images


def decode_files(
    files: Sequence[Path],
    shape: Shape,
    white: White,
    count: Count,
    keep: Path | None = None,
    known: Callable[[Path], Tensor | None] = lambda file: None,
) -> DecodedFiles:
    """The images of those files that can be read, decoded on all cores.

    Args:
        files: to decode.
        shape: of an image.
        white: of files with more than 8 bits.
        count: of the progress; files that are there already are not counted.
        keep: the file that pixels are written to and mapped from; decoding goes on where an earlier process
            was stopped. None: they are in memory.
        known: the pixels of a file that was decoded before, if it was.
    """
    with PixelWriter(keep, shape) if keep else PixelsInMemory(len(files), shape) as out:
        start, at_once = sum(block.note["files"] for block in out.blocks), images_a_block(shape)
        if any(block.note["deep"] for block in out.blocks):
            white.value()
        parts = (files[i : i + at_once] for i in range(start, len(files), at_once))
        with closing(_ahead(partial(_decode_some, shape, white, known), parts)) as done:
            for pixels, note in done:
                out.append(pixels, note)
                count.add(note["files"])
    failed: dict[int, str] = {}
    first = 0
    for block in out.blocks:
        failed |= {first + int(place): why for place, why in block.note["failed"].items()}
        first += block.note["files"]
    images = out.images if isinstance(out, PixelsInMemory) else mapped(out.path, shape)
    return DecodedFiles(images, failed, mean_std_of(out.counts))


def of_classes(
    decoded: DecodedFiles,
    classes: Mapping[str, Sequence[Path]],
    relative_to: Path,
    groups: Mapping[str, str] | None = None,
) -> ImageSet:
    """The image set of the files of classes, decoded class by class in the order of their names."""
    names = sorted(classes)
    labels = torch.arange(len(names)).repeat_interleave(torch.tensor([len(classes[name]) for name in names]))
    readable = torch.ones(len(labels), dtype=torch.bool)
    readable[list(decoded.failed)] = False
    files = (file for name in names for file in classes[name])
    sources = [source_name(f, relative_to) for i, f in enumerate(files) if i not in decoded.failed]
    grouped = None if groups is None else tuple(groups[name] for name in names)
    images = ImageSet(decoded.images, labels[readable], tuple(names), grouped, tuple(sources))
    images.recall_mean_std(decoded.mean_std)
    return images


def _decode_some(
    shape: Shape,
    white: White,
    known: Callable[[Path], Tensor | None],
    files: Sequence[Path],
    stopped: Callable[[], bool],
) -> _Done:
    """The pixels of those of some files that can be read, and a note: how many files, which failed, why."""
    pixels = np.empty((len(files), *shape), dtype=np.uint8)
    failed: dict[str, str] = {}
    deep = False
    for place, file in enumerate(files):
        if stopped():
            break
        if (before := known(file)) is not None:
            pixels[place - len(failed)] = before
            continue
        try:
            if drawn_here(file):
                raise CannotOpenError(DRAWN)
            with opened(file, shape[1]) as image:
                picture = upright(image)
                deep = deep or is_deep(picture)
                top = white.value() if is_deep(picture) else FULL
                pixels[place - len(failed)] = to_tensor(picture, shape[1], shape[0] == 1, top)
        except Exception as error:  # as in `decode`
            failed[str(place)] = one_line(in_words(error))
    return pixels[: len(files) - len(failed)], {"files": len(files), "failed": failed, "deep": deep}


def _ahead(
    work: Callable[[Sequence[Path], Callable[[], bool]], _Done], parts: Iterable[Sequence[Path]]
) -> Generator[_Done, None, None]:
    """The work on each part, in their order, some parts ahead in threads; they end soon after a stop."""
    threads, waiting = _all_cores(), deque[Future[_Done]]()
    stop = Event()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(work, part, stop.is_set))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _all_cores() -> int:
    """Threads that decode a set: more than 32 would wait for Python, which one at a time can run."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(32, cores)
