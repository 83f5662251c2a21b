"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each (Lake et al., Science 2015)."""

from pathlib import Path

import torch

from mtl.config import Data
from mtl.data.cache import cached, fingerprint
from mtl.data.class_lists import class_lists
from mtl.data.decode import class_folders, decode_classes, image_files
from mtl.data.image_set import ImageSet, Splits
from mtl.errors import UserError

_PARTS = ("images_background", "images_evaluation")
_VAL_EVERY = 6  # Lake's split: every sixth background alphabet validates, 5 of 30


def load(config: Data, seed: int) -> Splits:
    """Splits of whole characters; ink is 255 on 0, 28×28 unless the config says otherwise.

    Raises:
        UserError: there is no folder and it may not or cannot be downloaded.
    """
    folder = _find(Path(config.root), config.download)
    characters = {
        f"{alphabet.name}/{character.name}": (part, image_files(character))
        for part in _PARTS
        for alphabet in class_folders(folder / part)
        for character in class_folders(alphabet)
    }
    size = config.image_size or 28
    grayscale = config.grayscale is not False
    every = [f for _, files in characters.values() for f in files]
    key = (size, grayscale, config.split, config.rotations, fingerprint(every))

    def build() -> Splits:
        if config.split == "vinyals":
            lists = class_lists("omniglot_vinyals")
        else:
            background = sorted(n for n, (part, _) in characters.items() if part == _PARTS[0])
            alphabets = sorted({n.split("/")[0] for n in background})[_VAL_EVERY - 1 :: _VAL_EVERY]
            lists = {
                "train": [n for n in background if n.split("/")[0] not in alphabets],
                "val": [n for n in background if n.split("/")[0] in alphabets],
                "test": sorted(n for n, (part, _) in characters.items() if part == _PARTS[1]),
            }
        missing = [n for names in lists.values() for n in names if n not in characters]
        if missing:
            raise UserError(f"{folder}: {missing[0]} of the {config.split} split is not there")
        parts = []
        for names in lists.values():
            files = {n: characters[n][1] for n in names}
            part = decode_classes(files, size, grayscale, folder, {n: n.split("/")[0] for n in names})
            part = ImageSet(255 - part.images, part.labels, part.class_names, part.groups, part.files)
            parts.append(rotated(part) if config.rotations else part)
        return Splits(*parts, name="omniglot")

    return cached(Path(config.root), "omniglot", key, build)


def rotated(images: ImageSet) -> ImageSet:
    """Each class, and the same turned by 90, 180 and 270 degrees as further classes `<name>@<degrees>`.

    As Santoro et al. (ICML 2016) and all who follow Vinyals' split.
    """
    turned = [
        (f"{name}@{90 * k}" if k else name, k, c)
        for k in range(4)
        for c, name in enumerate(images.class_names)
    ]
    turned.sort()
    rows = [(images.labels == c).nonzero().flatten() for c in range(images.num_classes)]
    pictures = [torch.rot90(images.images[rows[c]], k, (2, 3)) for _, k, c in turned]
    return ImageSet(
        torch.cat(pictures),
        torch.arange(len(turned)).repeat_interleave(torch.tensor([len(p) for p in pictures])),
        tuple(name for name, _, _ in turned),
        None if images.groups is None else tuple(images.groups[c] for _, _, c in turned),
        tuple(images.files[i] for _, _, c in turned for i in rows[c].tolist()) if images.files else (),
    )


def _find(root: Path, download: bool) -> Path:
    candidates = (root / "omniglot", root, root / "omniglot-py")
    for folder in candidates:
        if all((folder / part).is_dir() for part in _PARTS):
            return folder
    if not download:
        raise UserError(
            f"data.root: {root / 'omniglot'} has no {' and '.join(_PARTS)}, and data.download is off"
        )
    from torchvision.datasets import Omniglot

    try:
        for background in (True, False):
            Omniglot(str(root), background=background, download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"omniglot could not be downloaded ({error}); put {' and '.join(_PARTS)} below {root / 'omniglot'}"
        ) from None
    return candidates[-1]
