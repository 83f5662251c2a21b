"""miniImageNet (split of Ravi and Larochelle, ICLR 2017) and tieredImageNet (Ren et al., ICLR 2018)."""

from collections.abc import Sequence
from pathlib import Path

from mtl.config import Data
from mtl.data.cache import cached, fingerprint
from mtl.data.class_lists import class_lists
from mtl.data.class_tree import PARTS, Classes, divided
from mtl.data.decode import decode_classes
from mtl.data.image_set import Splits
from mtl.data.listing import class_folders, image_files
from mtl.errors import UserError


def load(config: Data, seed: int) -> Splits:
    """From `<root>/<name>/{train,val,test}/<class>/*`, or for miniImageNet `<root>/<name>/<class>/*`; 84×84.

    Raises:
        UserError: there is no such folder, and learn2learn cannot download the set.
    """
    root = Path(config.root)
    folder = root / config.name
    if not folder.is_dir():
        if not config.download:
            raise UserError(f"data.root: {folder} is not there, and data.download is off; {_wanted(folder)}")
        from mtl.data.sources.learn2learn_sets import download

        return download(config, _wanted(folder))
    if (given := divided(folder)) is not None:
        return _decoded(folder, root, config, given)
    if config.name == "mini_imagenet":
        lists = class_lists("mini_imagenet")
        found = {c.name: c for c in class_folders(folder)}
        missing = [n for names in lists.values() for n in names if n not in found]
        if missing:
            raise UserError(f"{folder}: class {missing[0]} of the split is not there; {_wanted(folder)}")
        return _decoded(folder, root, config, [{n: found[n] for n in lists[part]} for part in PARTS])
    raise UserError(f"{folder}: has no train, val and test; {_wanted(folder)}")  # a drawn split is not Ren's


def _decoded(folder: Path, root: Path, config: Data, parts: Sequence[Classes]) -> Splits:
    """Three splits of classes, or what the cache below `root` has of them; taken as published."""
    size, grayscale = config.image_size or 84, bool(config.grayscale)
    names = [sorted(part) for part in parts]
    key = (size, grayscale, names, fingerprint((f for part in parts for f in part.values()), folder))

    def build() -> Splits:
        files = [{name: image_files(f) for name, f in part.items()} for part in parts]
        train, val, test = (decode_classes(part, size, grayscale, folder) for part in files)
        return Splits(train, val, test, config.name)

    return cached(root, config.name, key, build, config.cache)


def _wanted(folder: Path) -> str:
    return f"put its images into {folder}/{{train,val,test}}/<class>/"
