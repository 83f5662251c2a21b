"""Images as programs hold them: paths, pictures of Pillow, arrays of pixels."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mtl.data.decode import decode, to_tensor
from mtl.data.decode_ahead import decode_ahead
from mtl.data.formats import in_words
from mtl.errors import UserError, one_line

_ALLOWED = "images are a sequence of paths or of PIL images, or a uint8 array (n, H, W) or (n, H, W, 3)"


def image_list(images: Any) -> Sequence[Any]:
    """The images one by one: each a path, a PIL image or a uint8 array (H, W) or (H, W, 3).

    Raises:
        ValueError: they are given in another form.
    """
    if isinstance(images, str | bytes | os.PathLike | Image.Image):
        raise ValueError(f"one image is given alone; {_ALLOWED}")
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


def prepared(images: Sequence[Any], size: int, grayscale: bool, at_once: int = 32) -> Iterator[Tensor]:
    """Batches (B, channels, size, size) uint8 of the images of `image_list`, as `decode` makes them.

    Raises:
        UserError: one cannot be read, or brought to that form; says which.
    """
    if all(isinstance(image, str | os.PathLike) for image in images):
        for batch in decode_ahead([Path(image) for image in images], size, grayscale, at_once):
            if batch.unread:
                raise UserError(batch.unread[0].why)
            yield batch.images
        return
    for first in range(0, len(images), at_once):
        part = range(first, min(first + at_once, len(images)))
        yield torch.stack([_prepared(images[i], i, size, grayscale) for i in part])


def _prepared(image: Any, place: int, size: int, grayscale: bool) -> Tensor:
    try:
        if isinstance(image, np.ndarray):
            return to_tensor(Image.fromarray(image), size, grayscale)
        if isinstance(image, Image.Image):
            return to_tensor(ImageOps.exif_transpose(image), size, grayscale)
    except Exception as error:  # as a file, a picture of Pillow may be damaged: it is often not yet loaded
        raise UserError(f"image {place}: is not a readable image ({one_line(in_words(error))})") from None
    return decode(Path(image), size, grayscale)  # a path among pictures
