"""miniImageNet (split of Ravi and Larochelle, ICLR 2017) and tieredImageNet (Ren et al., ICLR 2018)."""

from pathlib import Path

from mtl.config import Data
from mtl.data.class_lists import class_lists
from mtl.data.decode import class_folders
from mtl.data.image_set import Splits
from mtl.data.sources.image_folder import PARTS, load_folder, splits_of
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
    if any((folder / part).is_dir() for part in PARTS):
        return load_folder(folder, root, config, splits_of(folder, config, seed))
    if config.name == "mini_imagenet":
        lists = class_lists("mini_imagenet")
        found = {c.name: c for c in class_folders(folder)}
        missing = [n for names in lists.values() for n in names if n not in found]
        if missing:
            raise UserError(f"{folder}: class {missing[0]} of the split is not there; {_wanted(folder)}")
        parts = [{n: found[n] for n in lists[part]} for part in PARTS]
        return load_folder(folder, root, config, parts)
    raise UserError(f"{folder}: has no train, val and test; {_wanted(folder)}")  # a drawn split is not Ren's


def _wanted(folder: Path) -> str:
    return f"put its images into {folder}/{{train,val,test}}/<class>/"
