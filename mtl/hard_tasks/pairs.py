"""Pairs of classes as units: the upper triangle of a C x C table, row after row.

Pair 0 is (0, 1), pair 1 is (0, 2), ..., pair C-1 is (1, 2), ...: C(C-1)/2 units in all.
"""

import math

import torch
from torch import Tensor


def pair_count(classes: int) -> int:
    """How many pairs C classes make."""
    return classes * (classes - 1) // 2


def class_count(pairs: int) -> int:
    """How many classes make so many pairs. Raises ValueError where no number of classes does."""
    classes = (1 + math.isqrt(1 + 8 * max(pairs, 0))) // 2
    if pairs < 1 or pair_count(classes) != pairs:
        raise ValueError(f"{pairs} is not C(C-1)/2 for any number of classes C >= 2")
    return classes


def pair_index(i: Tensor, j: Tensor, classes: int) -> Tensor:
    """The unit of the pair {i, j}, in either order; any shapes that broadcast, int64. i and j must differ."""
    low, high = torch.minimum(i, j), torch.maximum(i, j)
    return low * (2 * classes - low - 1) // 2 + (high - low - 1)


def pair_members(index: Tensor, classes: int) -> Tensor:
    """(..., 2) int64: the two classes of each unit, the lower first. The inverse of `pair_index`."""
    b = 2 * classes - 1
    low = ((b - (b * b - 8 * index.double()).sqrt()) / 2).long().clamp(0, classes - 2)
    start = low * (2 * classes - low - 1) // 2
    # The root is exact to rounding: the row may be off by one, never by more.
    low = low - (index < start).long()
    low = low + (index >= (low + 1) * (2 * classes - low - 2) // 2).long()
    start = low * (2 * classes - low - 1) // 2
    return torch.stack([low, low + 1 + index - start], dim=-1)
