"""Own pictures in batches: files, decoded in the background, or images that a program holds in memory."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mtl.data.decode import THREADS, upright
from mtl.data.formats import FULL, in_words, largest_value, largest_values
from mtl.data.ink import Ink
from mtl.data.own_picture import Change, own_picture, prepare_picture
from mtl.errors import UserError, one_line

_MOST_CHANNELS = 4  # an array whose last side is no longer is one image, not a stack of such narrow grey ones
_ALLOWED = "images are a sequence of paths or of PIL images, or a uint8 array (n, H, W) or (n, H, W, 3)"


@dataclass(frozen=True)
class Unread:
    """A file that is not a readable picture, and a sentence that names it and says why."""

    file: Path
    why: str


@dataclass(frozen=True, eq=False)
class Decoded:
    """The next files of a list."""

    files: tuple[Path, ...]
    images: Tensor  # (B, channels, size, size) uint8: an image for each of `files`
    unread: tuple[Unread, ...]  # files between them that could not be read
    changes: tuple[Change, ...] = ()  # of each image


def decode_ahead(
    files: Sequence[Path],
    size: int,
    grayscale: bool,
    at_once: int = 32,
    ahead: int = 64,
    ink: Ink | None = None,
    top: int = FULL,
) -> Iterator[Decoded]:
    """The images of files, in their order, as `own_picture` makes them of each with size, grayscale, ink and
    top.

    A file that cannot be read does not stop the others. Batches are of `at_once` files, fewer in the last;
    `ahead` more may be decoded or wait for it, so that no more images are held, however many files there are.
    """
    images: list[Tensor] = []
    read: list[Path] = []
    changes: list[Change] = []
    unread: list[Unread] = []
    with ThreadPoolExecutor(THREADS) as pool:
        rest = iter(files)

        def begun(file: Path) -> tuple[Path, Future[tuple[Tensor, Change]]]:
            return file, pool.submit(own_picture, file, size, grayscale, ink, top)

        waiting = deque(begun(file) for file in islice(rest, ahead))
        try:
            while waiting:
                file, result = waiting.popleft()
                try:
                    image, change = result.result()
                except UserError as error:
                    unread.append(Unread(file, str(error)))
                else:
                    images.append(image)
                    changes.append(change)
                    read.append(file)
                waiting.extend(begun(after) for after in islice(rest, 1))
                if len(read) + len(unread) == at_once or not waiting:
                    none = torch.empty(0, 1 if grayscale else 3, size, size, dtype=torch.uint8)
                    stacked = torch.stack(images) if images else none
                    yield Decoded(tuple(read), stacked, tuple(unread), tuple(changes))
                    read, images, unread, changes = [], [], [], []
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def image_list(images: Any) -> Sequence[Any]:
    """The images one by one: each a path, a PIL image or a uint8 array (H, W) or (H, W, 3).

    Raises:
        ValueError: they have another form.
    """
    if isinstance(images, str | bytes | os.PathLike | Image.Image):
        raise ValueError(f"one image is given alone; {_ALLOWED}")
    if isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[2] <= _MOST_CHANNELS:
        raise ValueError(f"one image is given alone, as an array of shape {images.shape}; {_ALLOWED}")
    of_pixels = isinstance(images, np.ndarray) and images.ndim > 1
    if not of_pixels and (not hasattr(images, "__len__") or getattr(images, "ndim", 1) != 1):
        raise ValueError(f"images are given as {type(images).__name__}; {_ALLOWED}")
    for image in images:
        if isinstance(image, str | os.PathLike | Image.Image):
            continue
        if not isinstance(image, np.ndarray):
            raise ValueError(f"an image is given as {type(image).__name__}; {_ALLOWED}")
        fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
        if image.dtype != np.uint8 or not fits or not image.size:
            raise ValueError(f"an image is given as {image.dtype} of shape {image.shape}; {_ALLOWED}")
    return list(images)


def deep_values(images: Sequence[Any]) -> list[int]:
    """`largest_value` of those images of `image_list` that have more than 8 bits."""
    files = [Path(image) for image in images if isinstance(image, str | os.PathLike)]
    pictures = [largest_value(image) for image in images if isinstance(image, Image.Image)]
    return [*largest_values(files), *(value for value in pictures if value is not None)]


def prepare_images(
    images: Sequence[Any],
    size: int,
    grayscale: bool,
    at_once: int = 32,
    ink: Ink | None = None,
    top: int = FULL,
    changes: list[Change] | None = None,
) -> Iterator[Tensor]:
    """Batches (at_once, channels, size, size) uint8 of `image_list`'s images, as `own_picture` makes them.

    `changes` is extended by what is done to each image.

    Raises:
        UserError: one cannot be read, or not be prepared; says which.
    """
    changes = [] if changes is None else changes
    if all(isinstance(image, str | os.PathLike) for image in images):
        paths = [Path(image) for image in images]
        for batch in decode_ahead(paths, size, grayscale, at_once, ink=ink, top=top):
            if batch.unread:
                raise UserError(batch.unread[0].why)
            changes += batch.changes
            yield batch.images
        return

    def prepare(row: int) -> Tensor:
        image = images[row]
        if isinstance(image, str | os.PathLike):  # a path among pictures
            pixels, change = own_picture(Path(image), size, grayscale, ink, top)
        else:
            try:
                picture = Image.fromarray(image) if isinstance(image, np.ndarray) else upright(image)
                pixels, change = prepare_picture(picture, size, grayscale, ink, top)
            except (
                Exception
            ) as error:  # like a file, a picture of Pillow may be damaged: often it is not yet loaded
                raise UserError(
                    f"image {row}: is not a readable image ({one_line(in_words(error))})"
                ) from None
        changes.append(change)
        return pixels

    for first in range(0, len(images), at_once):
        yield torch.stack([prepare(row) for row in range(first, min(first + at_once, len(images)))])
