"""Drawing units by their weights: some of U without replacement, or classes by the weights of their pairs."""

import torch
from torch import Tensor

from mtl.hard_tasks.pairs import class_count, pair_index, pair_members

_TINY = torch.finfo(torch.float64).tiny


def draw_units(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count,) int64: different units of `weights` (U,), in the order drawn.

    The first is drawn in proportion to its weight, each further one in proportion among those left: the law
    of Gumbel top-k. Drawing with replacement and passing over what was drawn before has the same law, and
    one cumulative sum does it, where Gumbel noise takes U random numbers and 2 U logarithms. Units drawn are
    struck out between passes, so that no weight, however large, can hold it up.

    Raises ValueError if fewer than `count` units have a weight above 0.
    """
    if count > int(weights.count_nonzero()):
        raise ValueError(f"{count} different units asked for, but fewer have a weight above 0")
    left = weights.double()
    drawn: dict[int, None] = {}  # as an ordered set
    while len(drawn) < count:
        if drawn:
            left = left.index_fill(0, torch.tensor(list(drawn)), 0.0)
        for unit in _by_cumulative(left.cumsum(0), 2 * (count - len(drawn)), generator).tolist():
            drawn[unit] = None
            if len(drawn) == count:
                break
    return torch.tensor(list(drawn), dtype=torch.int64)


class PairDraw:
    """Draws the classes of a task by the weights of their pairs; built once after every update of them.

    First a pair in proportion to its weight, then one class after another in proportion to the product of
    its pair weights with all those chosen: the greedy class-pair sampling of Liu et al., "Adaptive Task
    Sampling for Meta-Learning", ECCV 2020. Products are sums of logarithms, drawn from by Gumbel noise.
    A draw costs N - 1 rows of the triangle, and never touches the rest of it.
    """

    def __init__(self, weights: Tensor) -> None:
        """From `weights` (C(C-1)/2,) in the order of `pairs`; ValueError if that is no number of pairs."""
        self.classes = class_count(weights.numel())
        self._weights = weights.double()
        self._cumulative = self._weights.cumsum(0)
        low = torch.arange(self.classes)
        self._before_row = pair_index(low, low + 1, self.classes) - low - 1  # + j: the unit of (low, j)

    def draw(self, way: int, generator: torch.Generator) -> Tensor:
        """(N,) int64: different classes in 0..C-1, in the order chosen. ValueError unless 2 ≤ N ≤ C."""
        if not 2 <= way <= self.classes:
            raise ValueError(f"{way} classes asked for; there are {self.classes}, and a pair is the least")
        first = _by_cumulative(self._cumulative, 1, generator)
        chosen = pair_members(first, self.classes)[0].tolist()
        score = self._log_row(chosen[0]) + self._log_row(chosen[1])
        while len(chosen) < way:
            chosen.append(int((score + _gumbel(self.classes, generator)).argmax()))
            if len(chosen) < way:
                score = score + self._log_row(chosen[-1])
        return torch.tensor(chosen, dtype=torch.int64)

    def _log_row(self, one: int) -> Tensor:
        """(C,) ln of the pair weights of class `one` with each other class; -inf with itself."""
        row = torch.empty(self.classes, dtype=torch.float64)
        row[:one] = self._weights[self._before_row[:one] + one]
        start = int(self._before_row[one])
        row[one + 1 :] = self._weights[start + one + 1 : start + self.classes]
        row[one] = 0.0
        log_row = row.clamp_min_(_TINY).log_()  # a weight of 0 is drawn only where nothing else is left
        log_row[one] = -torch.inf
        return log_row


def _by_cumulative(cumulative: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count,) units, with replacement, each in proportion to its step in `cumulative` (U,)."""
    total = cumulative[-1]
    below = torch.nextafter(total, torch.zeros_like(total))  # rounding may not carry a draw past the end
    where = (torch.rand(count, dtype=torch.float64, generator=generator) * total).clamp_max(below)
    return torch.searchsorted(cumulative, where, right=True)


def _gumbel(count: int, generator: torch.Generator) -> Tensor:
    uniform = torch.rand(count, dtype=torch.float64, generator=generator).clamp_min(_TINY)
    return -(-uniform.log()).clamp_min(_TINY).log()
