"""The confusion of pairs over some of a phase's episodes, for which the ledger holds no sums."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

PairSum = tuple[int, int, float, float, int]  # low, high, Σ P(high|low), Σ P(low|high), visits


def sum_pairs(episodes: Iterable[tuple[bytes, bytes]], top: int) -> list[PairSum]:
    """From the (classes, confusion) BLOBs of episodes: the `top` pairs by Σ confusion / (n + 1)."""
    by_way: dict[int, tuple[list[bytes], list[bytes]]] = defaultdict(lambda: ([], []))
    for classes, confusion in episodes:
        classes_of, confusion_of = by_way[len(classes)]
        classes_of.append(classes)
        confusion_of.append(confusion)
    if not by_way:
        return []

    parts = [
        _pairs(b"".join(classes), b"".join(confusion), len(classes)) for classes, confusion in by_way.values()
    ]
    keys, there, back = (np.concatenate(column) for column in zip(*parts, strict=True))
    pair, place, n = np.unique(keys, return_inverse=True, return_counts=True)
    there = np.bincount(place, there)
    back = np.bincount(place, back)
    order = np.lexsort((pair, -(there + back) / (n + 1)))[:top]
    columns = (pair[order] >> 32, pair[order] & 0xFFFFFFFF, there[order], back[order], n[order])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _pairs(classes: bytes, confusion: bytes, tasks: int) -> tuple[NDArray[Any], ...]:
    """(keys, P(high|low), P(low|high)) of all pairs in episodes of one way; a key is low << 32 | high."""
    ids = np.frombuffer(classes, ">i4").astype(np.int64).reshape(tasks, -1)
    way = ids.shape[1]
    table = np.frombuffer(confusion, "<f2").astype(np.float64).reshape(tasks, way, way)
    i, j = np.triu_indices(way, 1)
    two = ids[:, i] != ids[:, j]  # a class may fill two ways of one task
    return (ids[:, i] << 32 | ids[:, j])[two], table[:, i, j][two], table[:, j, i][two]
