"""Pairs of classes as units: the upper triangle of a C x C table, row after row.

Pair 0 is (0, 1), pair 1 is (0, 2), ..., pair C-1 is (1, 2), ...: C(C-1)/2 units in all.
"""

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def pair_count(classes: int) -> int:
    """C(C-1)/2."""
    return classes * (classes - 1) // 2


def class_count(pairs: int) -> int:
    """The number of classes that have this many pairs. Raises ValueError where no number does."""
    classes = (1 + math.isqrt(1 + 8 * max(pairs, 0))) // 2
    if pairs < 1 or pair_count(classes) != pairs:
        raise ValueError(f"{pairs} is not C(C-1)/2 for any number of classes C >= 2")
    return classes


@functools.cache
def places(way: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(i, j), each (N(N-1)/2,): the pairs of N places, i < j, row after row; read-only."""
    i, j = np.triu_indices(way, 1)
    i.flags.writeable = j.flags.writeable = False
    return i, j


def row_starts(classes: int) -> Tensor:
    """(C,) int64: the unit {i, i+1} that row i of the triangle begins with; the last row is empty."""
    i = torch.arange(classes)
    return i * (2 * classes - i - 1) // 2


def pair_index(i: Tensor, j: Tensor, classes: int) -> Tensor:
    """The unit of the pair {i, j}, in either order; any shapes that broadcast, int64. i and j must differ."""
    low, high = torch.minimum(i, j), torch.maximum(i, j)
    return low * (2 * classes - low - 1) // 2 + (high - low - 1)


def pair_members(index: Tensor, classes: int) -> Tensor:
    """(..., 2) int64: the two classes of each unit, the lower first. The inverse of `pair_index`."""
    starts = row_starts(classes)
    low = torch.searchsorted(starts, index, right=True) - 1
    return torch.stack([low, low + 1 + index - starts[low]], dim=-1)


def upper_triangle(table: Tensor) -> Tensor:
    """(U,): what is right of the diagonal of the first columns (R, C), R ≤ C, row after row."""
    return table.masked_select(torch.ones_like(table, dtype=torch.bool).triu_(1))


def symmetric(values: Tensor, classes: int, diagonal: float) -> Tensor:
    """(C, C): the values (C(C-1)/2,) of all pairs on both sides of the diagonal."""
    table = torch.zeros(classes, classes, dtype=values.dtype)
    table.masked_scatter_(torch.ones(classes, classes, dtype=torch.bool).triu_(1), values)
    return (table + table.T).fill_diagonal_(diagonal)
