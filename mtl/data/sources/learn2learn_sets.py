"""miniImageNet and tieredImageNet as learn2learn downloads them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mtl.config import Data
from mtl.data.cache import cached
from mtl.data.decode import to_tensor
from mtl.data.image_set import ImageSet, Splits
from mtl.errors import UserError
from mtl.learn2learn import import_learn2learn

_SETS = {"mini_imagenet": "MiniImagenet", "tiered_imagenet": "TieredImagenet"}


def download(config: Data, otherwise: str) -> Splits:
    """The set, downloaded below `data.root` where learn2learn has not done so before.

    Raises:
        UserError: learn2learn is not installed, or the download fails; `otherwise` says what to do instead.
    """
    name, root = config.name, Path(config.root)
    who = f"data.name: {name} is not below {root} ({otherwise}), and its download"
    size, grayscale = config.image_size or 84, bool(config.grayscale)

    def split(mode: str, prefix: str) -> ImageSet:
        source = getattr(import_learn2learn(who).vision.datasets, _SETS[name])
        try:
            root.mkdir(parents=True, exist_ok=True)
            part = source(str(root), mode=mode, download=True)
        except Exception as error:  # whatever the network or an unpacker raises
            raise UserError(f"data.name: {name} could not be downloaded ({error}); {otherwise}") from None
        return _image_set(part, prefix, size, grayscale)

    def build() -> Splits:  # one split after the other: learn2learn holds 4 bytes for each pixel's one
        return Splits(split("train", "a"), split("validation", "b"), split("test", "c"), name)

    return cached(root, name, ("learn2learn", size, grayscale), build, config.cache)


def _image_set(part: Any, prefix: str, size: int, grayscale: bool) -> ImageSet:
    """miniImageNet keeps floats (M, 3, 84, 84), tieredImageNet PNG files in memory, both integer labels.

    Only miniImageNet names its classes; those of tieredImageNet get names out of `prefix` and label.
    """
    mini = hasattr(part, "x")
    values = torch.as_tensor(np.asarray(part.y if mini else part.labels)).long()
    named = {int(v): str(n) for n, v in part.class_idx.items()} if mini else {}
    name_of = {v: named.get(v, f"{prefix}{v:04d}") for v in set(values.tolist())}
    names = sorted(name_of.values())
    rank = {v: names.index(name) for v, name in name_of.items()}
    images = torch.empty(len(values), 1 if grayscale else 3, size, size, dtype=torch.uint8)
    for i in range(len(values)):
        image = _from_floats(part.x[i]) if mini else Image.open(io.BytesIO(part.images[i]))
        images[i] = to_tensor(image, size, grayscale)
    return ImageSet(images, torch.tensor([rank[v] for v in values.tolist()]), tuple(names))


def _from_floats(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray(pixels.to(torch.uint8).permute(1, 2, 0).contiguous().numpy())
