"""CIFAR-FS (Bertinetto et al., ICLR 2019) and FC100 (Oreshkin et al., NeurIPS 2018): CIFAR-100 by classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from mtl.config import Data
from mtl.data.cache import cached, fingerprint
from mtl.data.class_lists import class_lists, superclass_of
from mtl.data.decode import class_folders, decode_classes, image_files
from mtl.data.image_set import ImageSet, Splits
from mtl.errors import UserError

_PARTS = ("train", "test")


def load(config: Data, seed: int) -> Splits:
    """All 600 images of each class, 32×32 unless the config says otherwise; groups are the superclasses.

    Raises:
        UserError: there is neither a folder nor torchvision's copy, and it may not or cannot be downloaded.
    """
    root, folder = Path(config.root), Path(config.root) / "cifar100"
    lists = class_lists(config.name)
    if not all((folder / part).is_dir() for part in _PARTS):
        return _from_torchvision(config, lists)
    classes: dict[str, list[Path]] = {}
    for part in _PARTS:
        for c in class_folders(folder / part):
            classes.setdefault(c.name, []).extend(image_files(c))
    missing = [n for names in lists.values() for n in names if n not in classes]
    if missing:
        raise UserError(f"{folder}: class {missing[0]} of the {config.name} split is not there")
    size, grayscale = config.image_size or 32, bool(config.grayscale)
    key = (size, grayscale, fingerprint(f for files in classes.values() for f in files))

    def build() -> Splits:
        groups = superclass_of()
        return Splits(
            *(
                decode_classes({n: classes[n] for n in names}, size, grayscale, folder, groups)
                for names in lists.values()
            ),
            name=config.name,
        )

    return cached(root, config.name, key, build)


def _from_torchvision(config: Data, lists: Mapping[str, Sequence[str]]) -> Splits:
    if config.image_size not in {None, 32} or config.grayscale:
        raise UserError(
            "data.image_size and data.grayscale: torchvision's copy of CIFAR-100 is 32×32 in colour; "
            f"other sizes need the folder {Path(config.root) / 'cifar100'}/{{train,test}}/<class>/"
        )
    from torchvision.datasets import CIFAR100

    try:
        parts = [CIFAR100(config.root, train=train, download=config.download) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"CIFAR-100 is not below {config.root} and could not be downloaded ({error}); put its images into "
            f"{Path(config.root) / 'cifar100'}/{{train,test}}/<class>/"
        ) from None
    images = torch.cat([torch.from_numpy(p.data) for p in parts]).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor([label for p in parts for label in p.targets])
    names = tuple(parts[0].classes)
    groups = superclass_of()
    where = tuple(f"{part}/{i}" for part, p in zip(_PARTS, parts, strict=True) for i in range(len(p.targets)))
    whole = ImageSet(images, labels, names, tuple(groups[n] for n in names), where)
    return Splits(*(whole.select([names.index(n) for n in c]) for c in lists.values()), name=config.name)
