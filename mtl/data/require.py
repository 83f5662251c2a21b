"""Whether a split can give the episodes that a config asks for; told before any training starts."""

from collections import Counter

import torch
from torch import Tensor

from mtl.data.image_groups import most_queries
from mtl.data.image_set import ImageSet
from mtl.errors import UserError

_NAMED = 5  # groups of a sentence


def require_episodes(
    images: ImageSet, split: str, way: int, shot: int, queries: int, among: Tensor | None = None
) -> None:
    """Checks that N classes with K + Q images each can be drawn; `among` counts these images alone.

    Raises:
        UserError: too few classes, or a class with too few images or groups of images, by name.
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
    if (groups := images.group_ids()) is not None:
        _require_groups(images, groups, split, shot, queries, among)


def _require_groups(
    images: ImageSet, groups: Tensor, split: str, shot: int, queries: int, among: Tensor | None
) -> None:
    """Checks that the groups of each class can be divided between support set and queries."""
    rows = torch.arange(len(images)) if among is None else among
    sizes: dict[int, Counter[int]] = {c: Counter() for c in range(images.num_classes)}
    names: dict[int, str] = {}
    for row, label, group in zip(
        rows.tolist(), images.labels[rows].tolist(), groups[rows].tolist(), strict=True
    ):
        sizes[label][group] += 1
        names[group] = images.image_groups[row] or "one by itself"
    wrong = [c for c, found in sizes.items() if most_queries(found.values(), shot) < queries]
    if not wrong:
        return
    found = sizes[wrong[0]]
    largest = [f"{names[group]} {count}" for group, count in found.most_common(_NAMED)]
    rest = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    held = "" if len(rows) == len(images) else " that episodes may use"
    most = most_queries(found.values(), shot)
    further = f" ({len(wrong) - 1} more classes have the same fault)" if len(wrong) > 1 else ""
    count = "1 group" if len(found) == 1 else f"{len(found)} groups"
    raise UserError(
        f"class {images.class_names[wrong[0]]} of the {split} split has {found.total()} images{held} in "
        f"{count} of data.group_by ({', '.join(largest)}{rest}); support set and queries come from different "
        f"groups, which leaves {most} queries at most beside {shot} for support, not {queries}{further}; "
        "add pictures of other groups, ask for fewer, leave the class out, or leave data.group_by out"
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
