"""miniImageNet and tieredImageNet as learn2learn downloads them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtl.data.cache import cached
from mtl.data.image_set import ImageSet, Splits
from mtl.errors import UserError
from mtl.learn2learn import import_learn2learn

_SETS = {"mini_imagenet": "MiniImagenet", "tiered_imagenet": "TieredImagenet"}


def download(name: str, root: Path, otherwise: str) -> Splits:
    """The set, downloaded below `root` where learn2learn has not done so before.

    Raises:
        UserError: learn2learn is not installed, or the download fails; `otherwise` says what to do instead.
    """
    sets = import_learn2learn(f"data.name: {name} is not below {root}, and its download").vision.datasets

    def build() -> Splits:
        try:
            parts = [
                getattr(sets, _SETS[name])(str(root), mode=mode, download=True)
                for mode in ("train", "validation", "test")
            ]
        except Exception as error:  # whatever the network or an unpacker raises
            raise UserError(f"data.name: {name} could not be downloaded ({error}); {otherwise}") from None
        return Splits(*(_image_set(part, mode) for part, mode in zip(parts, "abc", strict=True)), name=name)

    return cached(root, name, ("learn2learn",), build)


def _image_set(part: Any, prefix: str) -> ImageSet:
    """learn2learn keeps arrays (M, 84, 84, 3) or (M, 3, 84, 84) with integer labels and no class names."""
    images = torch.from_numpy(np.asarray(part.x if hasattr(part, "x") else part.images)).to(torch.uint8)
    if images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    values, labels = torch.as_tensor(np.asarray(part.y if hasattr(part, "y") else part.labels)).unique(
        return_inverse=True
    )
    names = tuple(f"{prefix}{int(v):04d}" for v in values)
    return ImageSet(images.contiguous(), labels, names)
