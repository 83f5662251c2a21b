"""Whether a split can give the episodes that a config asks for; told before any training starts."""

from collections import Counter

import torch
from torch import Tensor

from mtl.data.image_set import ImageSet
from mtl.errors import UserError


def require_episodes(
    images: ImageSet, split: str, way: int, shot: int, queries: int, among: Tensor | None = None
) -> None:
    """Checks that N classes with K + Q images each can be drawn; `among` counts these images alone.

    Raises:
        UserError: too few classes, or a class with too few images, by name.
    """
    if images.num_classes < way:
        raise UserError(
            f"the {split} split has {images.num_classes} classes, fewer than the {way} ways of an episode; "
            "lower meta.way or evaluate.settings, or give the split more classes"
        )
    labels = images.labels if among is None else images.labels[among]
    counts = torch.bincount(labels, minlength=images.num_classes)
    scarce = (counts < shot + queries).nonzero().flatten().tolist()
    if scarce:
        held = "" if among is None or len(among) == len(images.labels) else " that episodes may use"
        more = f" (and {len(scarce) - 1} more classes are too small)" if len(scarce) > 1 else ""
        raise UserError(
            f"class {images.class_names[scarce[0]]} of the {split} split has {int(counts[scarce[0]])} "
            f"images{held}, fewer than shot + queries = {shot} + {queries}{more}"
        )


def require_group(images: ImageSet, split: str, way: int, key: str) -> None:
    """Checks that N classes of one group can be drawn, as the config's `key` asks.

    Raises:
        UserError: the classes are in no groups, or all groups are too small.
    """
    if images.groups is None:
        raise UserError(
            f"{key}: the classes of this image set are in no groups; Omniglot (alphabets), "
            "glyphs (scripts), CIFAR-FS and FC100 (superclasses) have some"
        )
    name, most = Counter(images.groups).most_common(1)[0]
    if most < way:
        raise UserError(
            f"{key}: {way} ways, but the largest group of the {split} split, {name}, has {most} classes"
        )
