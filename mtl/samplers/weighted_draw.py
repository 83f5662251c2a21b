"""Drawing units by their weights or ranks: some of U without replacement, or classes by weights of pairs.

What follows from the weights alone is computed once after every update of them, so that a draw reads few of
them. The arithmetic is numpy's, on one thread: a draw takes a few microseconds, and depends on the weights
and the generator's state alone.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.episodes.class_index import ClassIndex
from mtl.episodes.pairs import class_count, row_starts

Floats = NDArray[np.float64]

_TINY = float(np.finfo(np.float64).tiny)
_PASSES = 3  # of drawing with replacement, before units drawn are struck out


class UnitDraw:
    """Draws different units by their weights; built once after every update of them.

    The first is drawn in proportion to its weight, each further one in proportion among those left: the law
    of Gumbel top-k. Drawing with replacement and passing over what was drawn before has the same law, and
    needs a search in the cumulative sum for each of the N: O(N log U), where Gumbel noise takes U random
    numbers and 2 U logarithms. Where a few units hold nearly all the weight, and so come again and again,
    those drawn are struck out and the rest summed anew: O(U), at least one new unit each time, and what is
    left is drawn from by the same law.
    """

    def __init__(self, weights: Tensor) -> None:
        """From `weights` (U,), which need not sum to 1; they are not copied where they are float64."""
        self._weights = weights.double()
        self._cumulative = _cumulative(self._weights)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) int64: different units in 0..U-1, in the order drawn.

        Raises ValueError if fewer than `count` units have a weight above 0.
        """
        drawn: dict[int, None] = {}  # as an ordered set
        passes = 0
        while len(drawn) < count:
            cumulative = self._cumulative if passes < _PASSES else self._without(drawn)
            if not cumulative[-1] > 0:
                raise ValueError(f"{count} different units needed, but fewer have a weight above 0")
            for unit in _by_cumulative(cumulative, 2 * (count - len(drawn)), generator):
                drawn[unit] = None
                if len(drawn) == count:
                    break
            passes += 1
        return torch.tensor(list(drawn), dtype=torch.int64)

    def _without(self, drawn: dict[int, None]) -> Floats:
        """(U,) cumulative sum of the weights of units not drawn yet."""
        return _cumulative(self._weights.index_fill(0, torch.tensor(list(drawn)), 0.0))


class PairDraw:
    """Draws the classes of a task by the weights of their pairs; built once after every update of them.

    First a pair in proportion to its weight, then one class after another in proportion to the product of
    its pair weights with all those chosen: the greedy class-pair sampling of Liu et al., "Adaptive Task
    Sampling for Meta-Learning", ECCV 2020. Products are sums of logarithms, which nothing can overflow.
    A draw costs N - 1 rows of the triangle, C weights each, and never touches the rest of it.
    """

    def __init__(self, weights: Tensor) -> None:
        """From `weights` (C(C-1)/2,) in the order of `pairs`; ValueError if that is no number of pairs."""
        self.classes = class_count(weights.numel())
        self._weights: Floats = weights.double().numpy()
        self._cumulative = _cumulative(weights.double())
        self._row = row_starts(self.classes).numpy()
        self._to_column = self._row - np.arange(1, self.classes + 1)  # + j: the unit of (i, j), i < j

    def draw(self, way: int, generator: torch.Generator) -> Tensor:
        """(N,) int64: different classes in 0..C-1, in the order chosen. ValueError unless 2 ≤ N ≤ C."""
        if not 2 <= way <= self.classes:
            raise ValueError(f"{way} classes needed: at least 2, at most {self.classes}")
        pair = _by_cumulative(self._cumulative, 1, generator)[0]
        low = int(self._row.searchsorted(pair, side="right")) - 1
        return draw_greedily([low, low + 1 + pair - int(self._row[low])], way, self._log_row, generator)

    def _log_row(self, one: int) -> Floats:
        """(C,) ln of the pair weights of class `one` with each other class; -inf with itself."""
        row = np.empty(self.classes)
        row[:one] = self._weights[self._to_column[:one] + one]
        start = int(self._row[one])
        row[one + 1 :] = self._weights[start : start + self.classes - 1 - one]
        row[one] = 1.0
        log_row: Floats = np.log(np.maximum(row, _TINY))  # 0 is drawn only where nothing else is left
        log_row[one] = -np.inf
        return log_row


def draw_greedily(
    pair: list[int], way: int, log_row: Callable[[int], Floats], generator: torch.Generator
) -> Tensor:
    """(N,) int64: the two classes of a pair, then one after another by its pairs with all those before.

    `log_row` gives ln of the pair weights (C,) of a class with each other, -inf with itself. The sum of the
    rows of those chosen is the logarithm of the product; it is -inf for each of them.
    """
    chosen = list(pair)
    score = log_row(chosen[0]) + log_row(chosen[1])
    while len(chosen) < way:
        cumulative = np.exp(score - score.max()).cumsum()
        chosen.append(_by_cumulative(cumulative, 1, generator)[0])
        if len(chosen) < way:
            score += log_row(chosen[-1])
    return torch.tensor(chosen, dtype=torch.int64)


def draw_by_logs(logs: Floats, count: int, random: torch.Generator) -> Tensor:
    """(count,) different ones of C, one after another in proportion to exp(logs): Gumbel top-k."""
    uniform = torch.rand(len(logs), dtype=torch.float64, generator=random).numpy()
    gumbel = logs - np.log(-np.log(uniform.clip(np.finfo(np.float64).tiny)))
    return torch.from_numpy((-gumbel).argsort(kind="stable")[:count].copy())


def draw_candidates(index: ClassIndex, count: int, way: int, random: torch.Generator) -> Tensor:
    """(count, N) uniform class sets."""
    return index.draw_classes(way, random, tasks=count).view(count, way)


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


def draw_by_weight(weights: Floats, generator: torch.Generator) -> int:
    """One of U in proportion to its weight (U,)."""
    return _by_cumulative(weights.cumsum(), 1, generator)[0]


def _cumulative(weights: Tensor) -> Floats:
    """(U,) float64. By torch: along one line it sums on one thread, and faster than numpy does."""
    result: Floats = weights.cumsum(0).numpy()
    return result


def _by_cumulative(cumulative: Floats, count: int, generator: torch.Generator) -> list[int]:
    """`count` units, with replacement, each in proportion to its step in `cumulative` (U,)."""
    total = cumulative[-1]
    where = torch.rand(count, dtype=torch.float64, generator=generator).numpy() * total
    where = np.minimum(where, np.nextafter(total, 0))  # rounding may not carry a draw past the end
    units: list[int] = np.searchsorted(cumulative, where, side="right").tolist()
    return units
