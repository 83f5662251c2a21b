"""Episodes read many at a time, so that numpy adds them up and memory holds few of them."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS = 1024


def episode_columns(
    rows: sqlite3.Cursor, dtype: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any], tuple[int, ...]]]:
    """From rows of (classes, another BLOB, integers ...): what many episodes of one shape have.

    Yields:
        classes (k, N), the numbers of the other BLOB (k, ...) as they lie there, of type `dtype`, and the
        integers, which are the same for all k.
    """
    while some := rows.fetchmany(_ROWS):
        shapes: dict[tuple[int, ...], list[tuple[bytes, bytes]]] = defaultdict(list)
        for classes, other, *integers in some:
            shapes[len(classes), len(other), *integers].append((classes, other))
        for (_, _, *integers), blobs in shapes.items():
            classes, others = (b"".join(column) for column in zip(*blobs, strict=True))
            ids = np.frombuffer(classes, ">i4").astype(np.int64).reshape(len(blobs), -1)
            yield ids, np.frombuffer(others, dtype).reshape(len(blobs), -1), tuple(integers)
