"""miniImageNet and tieredImageNet as learn2learn downloads them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mtl.config import Data, Log
from mtl.data.cache import cached
from mtl.data.class_tree import PARTS, Classes, divided
from mtl.data.decode import require_readable, to_tensor
from mtl.data.decoded_set import Form, decoded_set
from mtl.data.folders import class_folders, image_files
from mtl.data.image_set import ImageSet, Splits
from mtl.data.sources import class_lists, require_complete
from mtl.errors import UserError
from mtl.runtime.learn2learn_package import import_learn2learn

_SETS = {"mini_imagenet": "MiniImagenet", "tiered_imagenet": "TieredImagenet"}


def load(config: Data, seed: int, log: Log | None = None) -> Splits:
    """From `<root>/<name>/{train,val,test}/<class>/*`, or for miniImageNet `<root>/<name>/<class>/*`; 84×84.

    Raises:
        UserError: there is no such folder, and learn2learn cannot download the set.
    """
    root = Path(config.root)
    folder = root / config.name
    if not folder.is_dir():
        if not config.download:
            raise UserError(f"data.root: {folder} is missing, and data.download is off; {_wanted(folder)}")
        return _download(config, _wanted(folder))
    if (parts := divided(folder)) is not None:
        return _decoded(folder, config, parts, log)
    if config.name == "mini_imagenet":
        lists = class_lists("mini_imagenet")
        folders = {c.name: c for c in class_folders(folder)}
        require_complete(folder, lists, folders, _wanted(folder))
        return _decoded(folder, config, [{n: folders[n] for n in lists[part]} for part in PARTS], log)
    raise UserError(f"{folder}: has no train, val and test; {_wanted(folder)}")  # a drawn split is not Ren's


def _decoded(folder: Path, config: Data, parts: Sequence[Classes], log: Log | None) -> Splits:
    """Three splits of classes, from the cache below `data.root` if it has them."""
    files = [{name: image_files(f) for name, f in part.items()} for part in parts]
    form, kept_in = Form(config.image_size or 84, bool(config.grayscale)), Path(config.root)
    decoded = decoded_set(folder, config.name, files, form, None, kept_in if config.cache else None, log)
    require_readable(decoded.failed, folder)
    return decoded.splits


def _download(config: Data, otherwise: str) -> Splits:
    """The set, downloaded below `data.root` where learn2learn has not done so before.

    Args:
        config: `data`.
        otherwise: what the user can do instead.

    Raises:
        UserError: learn2learn is not installed, or the download fails.
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
    """miniImageNet has floats (M, 3, 84, 84), tieredImageNet PNG files in memory, both integer labels.

    Only miniImageNet names its classes; those of tieredImageNet are named by `prefix` and label.
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


def _wanted(folder: Path) -> str:
    return f"put its images into {folder}/{{train,val,test}}/<class>/"
