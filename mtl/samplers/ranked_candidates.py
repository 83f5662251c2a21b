"""Choosing one of several uniform tasks by how difficult each is foretold to be."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtl.config.hard_tasks import SelfPaced
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape, Outcome, TaskSampler
from mtl.samplers.mixed import MixedSampler
from mtl.samplers.recall_posterior import RecallPosterior


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


class SelfPacedSampler(MixedSampler):
    """Tasks out of a window of difficulty that depends on the progress p of the training.

    `pace: grow` draws from the easiest share part + (1 − part) p of all tasks; `pace: move` goes on to the
    hardest: from p (1 − part) to p (1 − part) + part.

    Args: as of MixedSampler; of the options `candidates`, `part`, `pace`, `forget`.
    """

    options: SelfPaced

    reason = "paced"

    def prepare(self) -> None:
        self.recalls = self.remember("recalls", RecallPosterior(len(self.index), self.options.forget))

    def window(self, number: int) -> tuple[float, float]:
        """Quantiles of difficulty between which episode `number` is drawn."""
        part, progress = self.options.part, min(1.0, number / self.schedule.episodes)
        shift = (1 - part) * progress
        return (shift if self.options.pace == "move" else 0.0), part + shift

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        candidates = draw_candidates(self.index, self.options.candidates, self.shape.way, random)
        error = torch.from_numpy(1 - self.recalls.mean())
        return draw_ranked(candidates, error[candidates].mean(1), *self.window(number), random)

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        self.recalls.add(batch, outcome)


_TAIL = 2.58  # deviations on either side that p covers: 99 % of q
_MEMORY = 0.99  # of the running moments, a task at a time


class UniformDifficultySampler(TaskSampler):
    """The episodes of CategoriesSampler with task weights T (p/q) / Σ (p/q).

    q is the normal distribution of losses seen so far (running moments), p uniform within 2.58 of its
    deviations. Weights are normalised within the meta-batch, where the paper divides by the effective number
    of tasks: their mean is 1, so that the size of an update does not depend on `meta.tasks`. A task outside
    of p's range counts 0; a meta-batch with no other counts as it is.

    Args: as of CategoriesSampler.of.
    """

    has_task_weights = True

    def __init__(self, index: ClassIndex, shape: EpisodeShape, seed: int) -> None:
        super().__init__(shape)
        self.uniform = CategoriesSampler.of(index, shape, seed)
        self.seen, self.mean, self.square = 0, 0.0, 0.0  # running moments of the loss

    def episode(self, number: int) -> tuple[str, Tensor, Tensor]:
        return self.uniform.episode(number)

    def task_weights(self, losses: Tensor) -> Tensor:
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
