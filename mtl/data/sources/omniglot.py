"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each (Lake et al., Science 2015)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mtl.config import Data, Log
from mtl.data.cache import cached, fingerprint_of_folders
from mtl.data.decode import decode_classes
from mtl.data.folders import class_folders, image_files
from mtl.data.image_set import ImageSet, Splits
from mtl.data.sources import class_lists, require_complete
from mtl.data.turned_classes import with_turned_classes
from mtl.errors import UserError

_PARTS = ("images_background", "images_evaluation")
_VAL_EVERY = 6  # Lake's split: every sixth background alphabet validates, 5 of 30


def load(config: Data, seed: int, log: Log | None = None) -> Splits:
    """Splits of whole characters; ink is 255 on 0, 28×28 unless the config says otherwise.

    Raises:
        UserError: there is no folder, and no download is allowed or possible.
    """
    folder = _find(Path(config.root), config.download)
    characters = {
        f"{alphabet.name}/{character.name}": (part, character)
        for part in _PARTS
        for alphabet in class_folders(folder / part)
        for character in class_folders(alphabet)
    }
    vinyals = class_lists("omniglot_vinyals")
    require_complete(folder, vinyals, characters, "the copy is not complete")
    lists = vinyals if config.split == "vinyals" else _lake({n: p for n, (p, _) in characters.items()})
    size, grayscale = config.image_size or 28, config.grayscale is not False
    everything = config.split == "vinyals"
    turned = (("train", "val", "test") if everything else ("train",)) if config.rotations else ()
    key = (
        size,
        grayscale,
        lists,
        turned,
        fingerprint_of_folders((f for _, f in characters.values()), folder),
    )

    def build() -> Splits:
        files = {n: image_files(f) for n, (_, f) in characters.items()}

        def split(part: str) -> ImageSet:
            chosen = {n: files[n] for n in lists[part]}
            alphabets = {n: n.split("/")[0] for n in chosen}
            images = decode_classes(chosen, size, grayscale, folder, alphabets, log)
            images = replace(images, images=255 - images.images)
            return with_turned_classes(images) if part in turned else images

        return Splits(split("train"), split("val"), split("test"), "omniglot")

    return cached(Path(config.root), "omniglot", key, build, config.cache)


def _lake(part_of: Mapping[str, str]) -> dict[str, list[str]]:
    """Background for training and validation, evaluation for the test; whole alphabets each."""
    background = sorted(n for n, part in part_of.items() if part == _PARTS[0])
    alphabets = sorted({n.split("/")[0] for n in background})[_VAL_EVERY - 1 :: _VAL_EVERY]
    return {
        "train": [n for n in background if n.split("/")[0] not in alphabets],
        "val": [n for n in background if n.split("/")[0] in alphabets],
        "test": sorted(n for n, part in part_of.items() if part == _PARTS[1]),
    }


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
    except Exception as error:  # whatever the network or an unpacker raises
        wanted = f"put {' and '.join(_PARTS)} below {root / 'omniglot'}"
        raise UserError(f"omniglot could not be downloaded ({error}); {wanted}") from None
    return candidates[-1]
