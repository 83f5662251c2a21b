"""A person's own images: `<root>/<class>/*`, or `<root>/{train,val,test}/<class>/*`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from mtl.config import Data
from mtl.data.cache import cached, fingerprint
from mtl.data.decode import class_folders, decode_classes, image_files
from mtl.data.image_set import Splits
from mtl.errors import UserError
from mtl.runtime.seeds import generator

PARTS = ("train", "val", "test")
Classes = Mapping[str, Path]  # the folder of each


def load(config: Data, seed: int) -> Splits:
    """Splits as the folders give them, or classes drawn by `seed`; 84×84 unless the config says otherwise.

    Raises:
        UserError: no folder or no classes, a class without images, an image that cannot be read.
    """
    root = Path(config.root)
    if not root.is_dir():
        raise UserError(f"data.root: {root} is no folder; image_folder wants <root>/<class>/*")
    return load_folder(root, root, config, splits_of(root, config, seed))


def load_folder(folder: Path, root: Path, config: Data, parts: Sequence[Classes]) -> Splits:
    """Decodes three splits of classes, or opens them from the cache below `root`."""
    size, grayscale = config.image_size or 84, bool(config.grayscale)
    names = [sorted(part) for part in parts]
    key = (size, grayscale, names, fingerprint((f for part in parts for f in part.values()), folder))

    def build() -> Splits:
        files = [{name: image_files(f) for name, f in part.items()} for part in parts]
        train, val, test = (decode_classes(part, size, grayscale, folder) for part in files)
        return Splits(train, val, test, config.name)

    return cached(root, config.name, key, build)


def splits_of(root: Path, config: Data, seed: int) -> list[Classes]:
    """Classes of train, val and test below a folder."""
    found = {c.name: c for c in class_folders(root)}
    given = [part for part in PARTS if part in found]
    if len(given) == len(PARTS):
        parts: list[Classes] = [{c.name: c for c in class_folders(found[part])} for part in PARTS]
        _require_disjoint(root, parts)
        return parts
    if given:
        missing = ", ".join(p for p in PARTS if p not in found)
        raise UserError(f"{root}: has {', '.join(given)} but not {missing}; give all three, or classes alone")
    if len(found) < len(PARTS):
        raise UserError(
            f"{root}: holds {len(found)} class folders; at least {len(PARTS)} are needed to split them"
        )
    names = sorted(found)
    order = torch.randperm(len(names), generator=generator(seed, "split")).tolist()
    train, val, _ = (f / sum(config.split_fractions) * len(names) for f in config.split_fractions)
    first = min(max(1, round(train)), len(names) - 2)
    second = min(max(first + 1, round(train + val)), len(names) - 1)
    return [
        {names[i]: found[names[i]] for i in chosen}
        for chosen in (order[:first], order[first:second], order[second:])
    ]


def _require_disjoint(root: Path, parts: Sequence[Classes]) -> None:
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shared = sorted(set(parts[one]) & set(parts[other]))
        if shared:
            raise UserError(
                f"{root}: class {shared[0]} is in {PARTS[one]} and in {PARTS[other]}; splits are by class"
            )
    for part, classes in zip(PARTS, parts, strict=True):
        if not classes:
            raise UserError(f"{root / part}: holds no class folders")
