"""Several image sets as one: of one size and number of channels, each class prefixed with its set's name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mtl.config import Data, Log, SetName
from mtl.data.catalogue import SOURCES
from mtl.data.image_set import ImageSet, Splits
from mtl.errors import UserError

_SIZE = 32  # pixels a side, unless the config says otherwise


def load(config: Data, seed: int, log: Log | None = None) -> Splits:
    """The sets of `data.sets`, split by split; a class is called `<set>/<class>`.

    In colour, unless `data.grayscale` is true: grey images then have three equal channels.

    Raises:
        UserError: one of them is not available, or a class is in different splits of two of them.
    """
    sets = {name: load_matching(config, name, seed, log=log) for name in sorted(config.sets)}
    _require_disjoint(sets)
    return Splits(
        join({name: splits.train for name, splits in sets.items()}),
        join({name: splits.val for name, splits in sets.items()}),
        join({name: splits.test for name, splits in sets.items()}),
        "several",
    )


def load_matching(
    config: Data, name: SetName, seed: int, size: int = _SIZE, log: Log | None = None
) -> Splits:
    """The image set `name` with images of the size and the channels of `config`.

    Args:
        config: `data`; its root, size, colours and the options of the set itself apply.
        name: as in `data.name`.
        seed: of what the set draws.
        size: if the config has none.
        log: how progress is shown.
    """
    from mtl.data import load_splits  # which lists this source

    one = replace(
        config,
        name=name,
        sets=(),
        image_size=config.image_size or size,
        grayscale=None if SOURCES[name].grey else bool(config.grayscale),
    )
    splits = load_splits(one, seed, log)
    if config.grayscale:
        return splits
    train, val, test = (
        replace(part, images=in_colour(part.images)) for part in (splits.train, splits.val, splits.test)
    )
    return Splits(train, val, test, name)


def in_colour(images: Tensor) -> Tensor:
    """(M, 3, H, W) of (M, 1 or 3, H, W): grey as three equal channels, without a copy."""
    return images.expand(-1, 3, -1, -1)


def join(parts: dict[str, ImageSet]) -> ImageSet:
    """One split of several sets as one; sets by name, so that class names come sorted.

    The classes of a set without groups are in a group of the set's name.
    """
    names = sorted(parts)
    labels, first = [], 0
    for name in names:
        labels.append(parts[name].labels + first)
        first += parts[name].num_classes

    def groups(name: str) -> list[str]:
        own = parts[name].groups
        return [name] * parts[name].num_classes if own is None else [f"{name}/{group}" for group in own]

    def image_groups(name: str) -> Sequence[str]:
        return parts[name].image_groups or [""] * len(parts[name])  # none: each image is alone

    grouped = any(part.image_groups for part in parts.values())
    return ImageSet(
        torch.cat([parts[name].images for name in names]),
        torch.cat(labels),
        tuple(f"{name}/{c}" for name in names for c in parts[name].class_names),
        tuple(group for name in names for group in groups(name)),
        tuple(f"{name}/{file}" for name in names for file in _files(parts[name])),
        tuple(name for name in names for _ in parts[name].class_names),
        tuple(group for name in names for group in image_groups(name)) if grouped else (),
    )


def _files(images: ImageSet) -> Sequence[str]:
    """Where each image comes from; its number if the set does not say."""
    return images.files or [str(i) for i in range(len(images))]


def _require_disjoint(sets: Mapping[SetName, Splits]) -> None:
    """No class is a base class in one set and a novel one in another: CIFAR-FS and FC100 share theirs."""
    first: dict[str, tuple[str, str]] = {}  # of each class, the first split and set that have it
    for name, splits in sets.items():
        for split, images in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
            for c in images.class_names:
                before, other = first.setdefault(c, (split, name))
                if before != split:
                    raise UserError(
                        f"data.sets: class {c} is in the {before} split of {other} and in the {split} split "
                        f"of {name}; a class may be in one split only"
                    )
