"""Uniform episodes, weighed so that every difficulty counts alike.

Arnold, Dhillon, Ravichandran and Soatto, "Uniform Sampling over Episode Difficulty", NeurIPS 2021: the
difficulty of an episode is the loss of its queries, difficulties are nearly normal, and importance weights
p/q bring the training from that distribution q to one p that is uniform between its tails.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtl.config import HardTasks
from mtl.episodes.categories import UniformSampler
from mtl.episodes.class_index import ClassIndex

_TAIL = 2.58  # deviations on either side that p covers: 99 % of q
_MEMORY = 0.99  # of the running moments, a task at a time


class UniformDifficultySampler(UniformSampler):
    """The episodes of UniformSampler with task weights T (p/q) / Σ (p/q).

    q is the normal distribution of losses seen so far (running moments), p uniform within 2.58 of its
    deviations. Weights are normalised within the meta-batch, where the paper divides by the effective number
    of tasks: their mean is 1, so that the size of an update does not depend on `meta.tasks`. A task outside
    of p's range counts 0; a meta-batch with no other counts as it is.

    Args: as of UniformSampler; the config has nothing for it.
    """

    weighs = True

    def __init__(
        self, index: ClassIndex, config: HardTasks, way: int, shot: int, queries: int, seed: int
    ) -> None:
        super().__init__(index, way, shot, queries, seed)
        self.seen, self.mean, self.square = 0, 0.0, 0.0  # running moments of the loss

    def weigh(self, losses: Tensor) -> Tensor:
        for loss in losses.double().tolist():
            self.seen += 1
            rate = max(1 / self.seen, 1 - _MEMORY)
            self.mean += rate * (loss - self.mean)
            self.square += rate * (loss * loss - self.square)
        deviation = math.sqrt(max(self.square - self.mean**2, 0.0))
        if self.seen <= 2 * len(losses) or deviation == 0:
            return torch.ones_like(losses)  # too little is known of q
        z = (losses.double() - self.mean) / deviation
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
        ratio = torch.where(z.abs() <= _TAIL, 1 / (2 * _TAIL) / density, 0.0)
        if not ratio.sum() > 0:
            return torch.ones_like(losses)
        return (len(losses) * ratio / ratio.sum()).to(losses.dtype)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seen": self.seen, "mean": self.mean, "square": self.square}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.seen, self.mean, self.square = int(state["seen"]), float(state["mean"]), float(state["square"])
