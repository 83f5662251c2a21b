"""Base classes made unequal on purpose, to measure what helps where real collections are."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.config import Imbalance
from mtl.data.image_groups import whole_groups
from mtl.runtime.seeds import generator

_UNEQUAL = 2.0


def shares(classes: int, how: Imbalance) -> Tensor:
    """(C,) float64: what is left of each class, the largest first.

    `exponential`: factor^(-i/(C-1)) of class i, so that the first keeps all and the last 1/factor of its
    images (Cui et al., CVPR 2019). `step`: the second half of the classes keeps 1/factor (Buda et al., 2018).
    """
    place = torch.arange(classes, dtype=torch.float64)
    if how.type == "exponential":
        return how.factor ** (-place / max(classes - 1, 1))
    small = place >= classes / 2
    return torch.where(small & (how.type == "step"), 1 / how.factor, 1.0)


def long_tailed(
    labels: Tensor,
    rows: Tensor,
    class_names: Sequence[str],
    how: Imbalance,
    seed: int,
    groups: Tensor | None = None,
) -> Tensor:
    """Those of the images `rows` (M,) that are left, sorted.

    Which classes are small and which of their images stay is drawn from the seed and the names alone. A
    class keeps at least one image.

    Args:
        labels: of every image of the set.
        rows: the images to choose among.
        class_names: (C,).
        how: `data.imbalance`.
        seed: `data.split_seed`.
        groups: (M,) int64 of every image, where they are in groups: these stay or go as a whole, so that a
            class keeps about as many images.
    """
    if how.type == "none":
        return rows
    rank = torch.randperm(len(class_names), generator=generator(seed, "long tail"))
    left = shares(len(class_names), how)[rank]
    kept = []
    for label, name in enumerate(class_names):
        own = rows[labels[rows] == label]
        count = max(round(float(left[label]) * len(own)), 1)
        order = torch.randperm(len(own), generator=generator(seed, "long tail", name))
        if groups is not None and count < len(own):
            stays = whole_groups(groups[own], order, count)
            order = stays.nonzero().flatten() if stays.any() else order  # a single group is all there is
        else:
            order = order[:count]
        kept.append(own[order])
    return torch.cat(kept).sort().values


def thirds(counts: Tensor) -> dict[str, Tensor]:
    """Classes by how many images they have: `many`, `medium` and `few`, a third of the classes each.

    Classes without any image are in none; of equal counts the lower id comes first.
    """
    there = counts.nonzero().flatten()
    order = there[counts[there].argsort(descending=True, stable=True)]
    many, medium, few = order.tensor_split(3)
    return {"many": many.sort().values, "medium": medium.sort().values, "few": few.sort().values}


def size_groups(counts: Tensor) -> dict[str, Tensor]:
    """The thirds; {} where about alike: the large classes have less than twice the images of the small."""
    found = thirds(counts)
    if not all(len(of) for of in found.values()):
        return {}
    large, small = (float(counts[found[name]].double().mean()) for name in ("many", "few"))
    return found if large >= _UNEQUAL * small else {}


def inverse_frequency(counts: Tensor) -> Tensor:
    """(C,) float64: 1/n of the counts n (C,); 0 for a class without images.

    Raises:
        ValueError: counts that are no row of whole numbers, or negative.
    """
    return _where_any(_checked(counts).double().reciprocal(), counts)


def effective_number(counts: Tensor, beta: float) -> Tensor:
    """(C,) float64: (1 − β)/(1 − βⁿ) of the counts n (C,); 0 for a class without images.

    One over the effective number of images of Cui et al., "Class-Balanced Loss Based on Effective Number of
    Samples", CVPR 2019, equation 3. β = 0 makes it 1 for every class, and β → 1 the inverse frequency.

    Raises:
        ValueError: counts that are no row of whole numbers, or negative; β outside [0, 1).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta = {beta} must be at least 0 and below 1")
    log = math.log(beta) if beta > 0 else -math.inf
    return _where_any((1 - beta) / -torch.expm1(_checked(counts).double() * log), counts)


def _where_any(weights: Tensor, counts: Tensor) -> Tensor:
    return torch.where(counts > 0, weights, 0.0)


def _checked(counts: Tensor) -> Tensor:
    if counts.ndim != 1 or counts.dtype.is_floating_point or counts.dtype.is_complex:
        raise ValueError(f"counts must be (C,) whole numbers, not {tuple(counts.shape)} {counts.dtype}")
    if (counts < 0).any():
        raise ValueError(f"counts must not be negative, and one is {int(counts.min())}")
    return counts
