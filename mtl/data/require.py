"""Whether a split can give the episodes that a config asks for; told before any training starts."""

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
        held = "" if among is None or len(among) == len(images.labels) else " held out of pretraining"
        more = f" (and {len(scarce) - 1} more classes are too small)" if len(scarce) > 1 else ""
        raise UserError(
            f"class {images.class_names[scarce[0]]} of the {split} split has {int(counts[scarce[0]])} "
            f"images{held}, fewer than shot + queries = {shot} + {queries}{more}"
        )
