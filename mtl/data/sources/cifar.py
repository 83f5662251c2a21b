"""CIFAR-FS (Bertinetto et al., ICLR 2019) and FC100 (Oreshkin et al., NeurIPS 2018): CIFAR-100 by classes."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mtl.config import Data, Log
from mtl.data.cache import cached
from mtl.data.decode import require_readable, to_tensor
from mtl.data.decoded_set import Form, decoded_set
from mtl.data.folders import class_folders, image_files
from mtl.data.image_set import ImageSet, Splits
from mtl.data.sources import class_lists, require_complete, superclass_of
from mtl.errors import UserError

_PARTS = ("train", "test")


def load(config: Data, seed: int, log: Log | None = None) -> Splits:
    """All 600 images of each class, 32×32 unless the config says otherwise; groups are the superclasses.

    Raises:
        UserError: there is neither a folder nor torchvision's copy, and no download is allowed or possible.
    """
    root, folder = Path(config.root), Path(config.root) / "cifar100"
    lists = class_lists(config.name)
    size, grayscale = config.image_size or 32, bool(config.grayscale)
    if not all((folder / part).is_dir() for part in _PARTS):
        key: tuple[object, ...] = (size, grayscale, lists, "torchvision")
        return cached(
            root, config.name, key, lambda: _from_torchvision(config, size, grayscale), config.cache
        )
    classes: dict[str, list[Path]] = {}  # each has a folder in train and one in test
    for part in _PARTS:
        for c in class_folders(folder / part):
            classes.setdefault(c.name, []).append(c)
    require_complete(folder, lists, classes, _wanted(folder))
    files = {n: [file for c in both for file in image_files(c)] for n, both in classes.items()}
    parts = [{n: files[n] for n in lists[part]} for part in ("train", "val", "test")]
    kept_in = root if config.cache else None
    decoded = decoded_set(folder, config.name, parts, Form(size, grayscale), superclass_of(), kept_in, log)
    require_readable(decoded.failed, folder)
    return decoded.splits


def _from_torchvision(config: Data, size: int, grayscale: bool) -> Splits:
    lists = class_lists(config.name)
    parts = {part: _torchvision_part(config, part) for part in _PARTS}
    names, groups = parts["train"].classes, superclass_of()
    rows: dict[str, list[tuple[str, int]]] = {name: [] for name in names}
    for part, images in parts.items():
        for i, label in enumerate(images.targets):
            rows[names[label]].append((part, i))

    def split(of: str) -> ImageSet:
        classes = sorted(lists[of])
        chosen = [(name, *row) for name in classes for row in rows[name]]
        pictures = [to_tensor(Image.fromarray(parts[part].data[i]), size, grayscale) for _, part, i in chosen]
        return ImageSet(
            torch.stack(pictures),
            torch.tensor([classes.index(name) for name, _, _ in chosen]),
            tuple(classes),
            tuple(groups[name] for name in classes),
            tuple(f"{part}/{i}" for _, part, i in chosen),
        )

    return Splits(split("train"), split("val"), split("test"), config.name)


def _torchvision_part(config: Data, part: str) -> Any:
    from torchvision.datasets import CIFAR100

    try:
        return CIFAR100(config.root, train=part == "train", download=config.download)
    except Exception as error:  # whatever the network or an unpacker raises
        why = f"could not be downloaded ({error})" if config.download else "data.download is off"
        wanted = _wanted(Path(config.root) / "cifar100")
        raise UserError(f"CIFAR-100 is not below {config.root}, and {why}; {wanted}") from None


def _wanted(folder: Path) -> str:
    return f"put its images into {folder}/{{train,test}}/<class>/"
