"""Images as programs hold them: paths, pictures of Pillow, arrays of pixels."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mtl.data.decode import upright
from mtl.data.formats import in_words
from mtl.data.ink import Ink
from mtl.data.levels import FULL, largest_value, largest_values
from mtl.data.own_picture import Change, brought, own_picture
from mtl.data.prefetch import decode_ahead
from mtl.errors import UserError, one_line

_MOST_CHANNELS = 4  # an array whose last side is no longer is one image, and not grey ones so narrow
_ALLOWED = "images are a sequence of paths or of PIL images, or a uint8 array (n, H, W) or (n, H, W, 3)"


def image_list(images: Any) -> Sequence[Any]:
    """The images one by one: each a path, a PIL image or a uint8 array (H, W) or (H, W, 3).

    Raises:
        ValueError: they are given in another form.
    """
    if isinstance(images, str | bytes | os.PathLike | Image.Image):
        raise ValueError(f"one image is given alone; {_ALLOWED}")
    if isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[2] <= _MOST_CHANNELS:
        raise ValueError(f"one image is given alone, as an array of shape {images.shape}; {_ALLOWED}")
    if isinstance(images, np.ndarray) and images.ndim > 1:
        return [_checked(pixels) for pixels in images]
    if not hasattr(images, "__len__") or getattr(images, "ndim", 1) != 1:
        raise ValueError(f"images are given as {type(images).__name__}; {_ALLOWED}")
    return [_checked(image) for image in images]


def _checked(image: Any) -> Any:
    if isinstance(image, str | os.PathLike | Image.Image):
        return image
    if not isinstance(image, np.ndarray):
        raise ValueError(f"an image is given as {type(image).__name__}; {_ALLOWED}")
    fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not fits or not image.size:
        raise ValueError(f"an image is given as {image.dtype} of shape {image.shape}; {_ALLOWED}")
    return image


def deep_values(images: Sequence[Any]) -> list[int]:
    """Of the images of `image_list` that have more than 8 bits, the largest value that each is made for."""
    files = [Path(image) for image in images if isinstance(image, str | os.PathLike)]
    pictures = [largest_value(image) for image in images if isinstance(image, Image.Image)]
    return [*largest_values(files), *(value for value in pictures if value is not None)]


def prepared(
    images: Sequence[Any],
    size: int,
    grayscale: bool,
    at_once: int = 32,
    ink: Ink | None = None,
    top: int = FULL,
    changes: list[Change] | None = None,
) -> Iterator[Tensor]:
    """Batches (B, channels, size, size) uint8 of the images of `image_list`, as `own_picture` makes them.

    Args:
        images: of `image_list`.
        size, grayscale, ink, top: as of `own_picture`.
        at_once: B, fewer in the last batch.
        changes: takes up what is done to each image.

    Raises:
        UserError: one cannot be read, or brought to that form; says which.
    """
    noted = [] if changes is None else changes
    if all(isinstance(image, str | os.PathLike) for image in images):
        paths = [Path(image) for image in images]
        for batch in decode_ahead(paths, size, grayscale, at_once, ink=ink, top=top):
            if batch.unread:
                raise UserError(batch.unread[0].why)
            noted += batch.changes
            yield batch.images
        return
    for first in range(0, len(images), at_once):
        part = range(first, min(first + at_once, len(images)))
        made = [_prepared(images[i], i, size, grayscale, ink, top) for i in part]
        noted += [change for _, change in made]
        yield torch.stack([image for image, _ in made])


def _prepared(
    image: Any, place: int, size: int, grayscale: bool, ink: Ink | None, top: int
) -> tuple[Tensor, Change]:
    if isinstance(image, str | os.PathLike):  # a path among pictures
        return own_picture(Path(image), size, grayscale, ink, top)
    try:
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else upright(image)
        return brought(picture, size, grayscale, ink, top)
    except Exception as error:  # as a file, a picture of Pillow may be damaged: it is often not yet loaded
        raise UserError(f"image {place}: is not a readable image ({one_line(in_words(error))})") from None
