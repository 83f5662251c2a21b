"""Groups of images within a class: the frames of one clip, the photographs of one animal (`data.group_by`).

Images of a group are too similar for one to test what was learned from another, so groups stay whole: the
support set and the queries of a class come from different groups, and an image is held out with its group.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor


def group_name(path: str, pattern: str) -> str:
    """The group of an image, from its path below the folder of its class.

    It is what the first parenthesis of the regular expression `pattern` matches, anywhere in the path;
    without a parenthesis, the whole match. No match: "", the image is a group by itself.
    """
    match = re.search(pattern, path)
    if match is None:
        return ""
    return (match.group(1) if match.re.groups else match.group()) or ""


def group_ids(labels: Tensor, names: Sequence[str]) -> Tensor:
    """(M,) int64: a number for each group, from the classes (M,) and the names (M,) of the images' groups.

    The same name in two classes is two groups; every image without a name is a group by itself.
    """
    ids: dict[tuple[int, str | int], int] = {}
    keys = (
        (label, name or row) for row, (label, name) in enumerate(zip(labels.tolist(), names, strict=True))
    )
    return torch.tensor([ids.setdefault(key, len(ids)) for key in keys], dtype=torch.int64)


def most_queries(sizes: Iterable[int], shot: int) -> int:
    """The most images that groups of these sizes leave over, once some of them hold `shot` images or more.

    0 if all groups are needed, or are not enough. Episodes of K shots and Q queries can be drawn if, and only
    if, this is at least Q.
    """
    total, sums = 0, 1  # bit s of `sums`: some of the groups have s images together
    for size in sizes:
        total, sums = total + size, sums | sums << size
    enough = sums >> shot
    least = shot + (enough & -enough).bit_length() - 1
    return total - least if enough else 0


def whole_groups(groups: Tensor, order: Tensor, count: int) -> Tensor:
    """(n,) bool: about `count` of n images, taken group by group.

    Groups come in the order of their first image in `order`, a permutation of the n. Each is taken that
    brings the number of images nearer to `count`, or as near; at least one is taken, and one is left. A
    single group is left.

    Args:
        groups: (n,) of each image, any integers.
        order: (n,) int64.
        count: of images, at least 1.
    """
    sizes = Counter(groups.tolist())
    first = list(dict.fromkeys(groups[order].tolist()))
    taken: list[int] = []
    total = 0
    for group in first:
        nearer = abs(total + sizes[group] - count) <= abs(total - count)
        if nearer and len(taken) + 1 < len(first):
            taken.append(group)
            total += sizes[group]
    if not taken and len(first) > 1:
        taken.append(min(first, key=sizes.__getitem__))
    return torch.isin(groups, torch.tensor(taken, dtype=groups.dtype))


def shared_names(of_classes: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The group names that occur in several classes, with these classes; from the names by class."""
    classes_of: dict[str, list[str]] = {}
    for class_name, names in of_classes.items():
        for name in sorted(set(names) - {""}):
            classes_of.setdefault(name, []).append(class_name)
    return {name: classes for name, classes in sorted(classes_of.items()) if len(classes) > 1}
