"""Tasks of classes that get confused, by potentials of their pairs.

Liu et al., "Adaptive Task Sampling for Meta-Learning", ECCV 2020: greedy class-pair sampling. Every training
task updates the potentials of its pairs; `boosted` with the unit `pair` differs by its rounds of meta-tests,
and by a weight of the round that depends on how well the learner does.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.config.hard_tasks import ClassPair
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.episodes.pairs import places
from mtl.samplers.mixed import MixedSampler
from mtl.samplers.weighted_draw import Floats, draw_by_weight, draw_greedily


class ClassPairSampler(MixedSampler):
    """P_ij ← P_ij^τ · exp(α · p_ij); a pair by its P, then each class by the product of its P with them."""

    options: ClassPair
    state = (*MixedSampler.state, "potentials")

    def prepare(self) -> None:
        self.potentials = PairPotentials(len(self.index), self.options.rate, self.options.forget)

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        return self.potentials.draw(self.shape.way, random)

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        for classes, confusion in zip(batch.classes, outcome.confusion, strict=True):
            self.potentials.update(classes, confusion)

    def class_weights(self) -> Tensor:
        return self.potentials.class_weights()


_SMALL = 1e-20


class PairPotentials:
    """P (C, C), symmetric, 1 at the start: P_ij ← P_ij^τ · exp(α · p_ij) for the pairs of each task.

    p_ij is the mean of P(j|i) and P(i|j), the probabilities that queries of either class get for the other.
    Kept as logarithms, which no number of updates can overflow while τ < 1; the row sums, by which the first
    class of a task is drawn, are kept beside them, so that neither an update nor a draw touches more than N
    of the C rows.

    Args:
        classes: C.
        rate: α.
        forget: τ.
    """

    def __init__(self, classes: int, rate: float, forget: float) -> None:
        self.rate, self.forget = rate, forget
        self.set_logs(torch.zeros(classes, classes).fill_diagonal_(-torch.inf))

    def set_logs(self, logs: Tensor, peak: float = 0.0) -> None:
        """Takes over ln P (C, C), -inf on the diagonal; exponentials count from `peak` on."""
        self.logs: NDArray[np.float32] = logs.numpy().copy()
        self._peak = peak
        parts = np.array_split(np.arange(len(self.logs)), 64)  # float64 of a part at a time
        self._sums: Floats = np.concatenate([self._sum(rows) for rows in parts])

    def update(self, classes: Tensor, confusion: Tensor) -> None:
        """Takes in one task: its classes (N,) and the mean probabilities (N, N), rows of queries."""
        c = classes.numpy()
        i, j = places(len(c))
        either = ((confusion + confusion.T) / 2).numpy()[i, j]
        new = self.forget * self.logs[c[i], c[j]] + self.rate * either
        self.logs[c[i], c[j]] = self.logs[c[j], c[i]] = new
        self._sums[c] = self._sum(c)
        largest = float(self._sums.max())
        if not _SMALL < largest < 1 / _SMALL:  # exponentials near their limits: count from the new peak on
            self.set_logs(torch.from_numpy(self.logs), float(self.logs.max()))

    def draw(self, way: int, generator: torch.Generator) -> Tensor:
        """(N,) int64: a pair in proportion to its potential, then each class by the product of its own."""
        first = draw_by_weight(self._sums, generator)
        second = draw_by_weight(np.exp(self.log_row(first) - self._peak), generator)
        return draw_greedily([first, second], way, self.log_row, generator)

    def log_row(self, one: int) -> Floats:
        """(C,) ln of the potentials of class `one`; -inf with itself."""
        row: Floats = self.logs[one].astype(np.float64)
        return row

    def class_weights(self) -> Tensor:
        """(C,) float64, sum 1: how likely each class is to be in the first pair."""
        return torch.from_numpy(self._sums / self._sums.sum())

    def state_dict(self) -> dict[str, Any]:
        return {"logs": torch.from_numpy(self.logs.copy()), "peak": self._peak}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.set_logs(state["logs"], float(state["peak"]))

    def _sum(self, rows: NDArray[np.intp]) -> Floats:
        """(R,) sums of the rows of P, over exp of the peak."""
        with np.errstate(over="ignore"):  # the sum is then inf, and counted anew
            total: Floats = np.exp(self.logs[rows].astype(np.float64) - self._peak).sum(1)
        return total
