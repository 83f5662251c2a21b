"""Choosing one of several uniform tasks by how difficult each is foretold to be."""

import torch
from torch import Tensor

from mtl.episodes.class_index import ClassIndex


def draw_ranked(
    candidates: Tensor, difficulty: Tensor, low: float, high: float, random: torch.Generator
) -> Tensor:
    """(N,) one of the candidates (M, N), each equally likely of those between two ranks.

    The M candidates are put in the order of their `difficulty` (M,), the easiest first; those from the share
    `low` to the share `high` may be drawn, at least one. Uniform candidates make this a draw from the tasks
    between two quantiles of difficulty, without the tasks ever being listed.
    """
    count = len(candidates)
    first = min(round(low * count), count - 1)
    last = max(first + 1, min(count, round(high * count)))
    rank = first + int(torch.randint(last - first, (), generator=random))
    return candidates[difficulty.argsort(stable=True)[rank]]


def draw_candidates(index: ClassIndex, count: int, way: int, random: torch.Generator) -> Tensor:
    """(count, N) uniform class sets."""
    return index.draw_classes(way, random, tasks=count).view(count, way)
