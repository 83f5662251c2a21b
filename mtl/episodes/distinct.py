"""Drawing without replacement, for many rows at once."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def draw_distinct(below: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(R, count) int64: in each row different integers in 0..below-1, every order equally likely.

    Floyd's algorithm (Bentley and Floyd, "A sample of brilliance", CACM 1987) for the sets, all rows in step,
    and a shuffle for the order: the time does not depend on `below`, where a permutation of all would.

    Args:
        below: (R,) int64, each at least `count`.
        count: of integers in a row.
        generator: on the CPU.

    Raises:
        ValueError: a row has fewer integers to choose from.
    """
    rows, least = len(below), below.numpy() - count
    if rows and least.min() < 0:
        raise ValueError(f"{count} different ones asked for, out of {int(below.min())}")
    random = torch.rand(2, count, rows, dtype=torch.float64, generator=generator).numpy()
    latest = least + np.arange(count)[:, None]
    chosen: NDArray[np.int64] = (random[0] * (latest + 1)).astype(np.int64)  # (count, R), each in 0..latest
    for j in range(1, count):
        met = (chosen[:j] == chosen[j]).any(0)
        np.copyto(chosen[j], latest[j], where=met)
    return torch.from_numpy(np.take_along_axis(chosen, random[1].argsort(0), 0).T.copy())
