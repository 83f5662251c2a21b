"""What each task of a meta-batch counts in its loss: the worst alone, or every difficulty the same.

Task-level counterparts of online hard example mining (Shrivastava et al., CVPR 2016) and of the conditional
value at risk (Rockafellar and Uryasev, Journal of Risk 2000; as a goal of meta-learning Wang et al., "A
Simple Yet Effective Strategy to Robustify the Meta Learning Paradigm", NeurIPS 2023) leave open who drew the
tasks, so that they go with any sampler. The importance weights of Arnold et al., "Uniform Sampling over
Episode Difficulty", NeurIPS 2021, belong to uniform episodes, and are a sampler.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape, TaskSampler

_QUANTILE_RATE = 0.05  # step of the running quantile, in deviations of the losses
_TAIL = 2.58  # deviations on either side that p covers: 99 % of q


class Objective(Protocol):
    """Weights of a meta-batch's tasks; their mean is 1, at least in the long run."""

    def task_weights(self, losses: Tensor) -> Tensor:
        """(T,) from the tasks' losses (T,)."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class RunningMoments:
    """Mean and deviation of losses: of all at first, then with a weight of `rate` for each new one."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.seen, self.mean, self.square = 0, 0.0, 0.0

    def add(self, losses: Tensor) -> None:
        for loss in losses.double().tolist():
            self.seen += 1
            rate = max(1 / self.seen, self.rate)
            self.mean += rate * (loss - self.mean)
            self.square += rate * (loss * loss - self.square)

    @property
    def deviation(self) -> float:
        return math.sqrt(max(self.square - self.mean**2, 0.0))

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "mean": self.mean, "square": self.square}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen, self.mean, self.square = int(state["seen"]), float(state["mean"]), float(state["square"])


class Ohem:
    """The worst `tail` of each meta-batch, rounded up, count as much as each other; the others not at all."""

    def __init__(self, tail: float) -> None:
        self.tail = tail

    def task_weights(self, losses: Tensor) -> Tensor:
        count = math.ceil(self.tail * len(losses) - 1e-9)
        weights = torch.zeros_like(losses)
        weights[losses.topk(count).indices] = len(losses) / count
        return weights

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """It remembers nothing."""


class Cvar:
    """The mean of the losses beyond a quantile: of all tasks so far, not of this meta-batch alone.

    CVaR = min_t t + E[(L − t)₊] / tail; its gradient counts the tasks with L > t by 1 / tail. t follows the
    losses as a running quantile, t ← t + η T σ (share of the losses above t − tail), so that meta-batches of
    few tasks suffice. σ is the running deviation of earlier losses: that of the same meta-batch is large
    where its losses are, and would carry t beyond the quantile. A meta-batch without a task above t has no
    gradient; Adam still moves by its momentum.
    """

    def __init__(self, tail: float) -> None:
        self.tail = tail
        self.threshold: float | None = None
        self.moments = RunningMoments(0.01)

    def task_weights(self, losses: Tensor) -> Tensor:
        if self.tail == 1:
            return torch.ones_like(losses)
        values = losses.double()
        if self.threshold is None:
            self.threshold = float(values.quantile(1 - self.tail)) - 1e-9
        above = values > self.threshold
        if self.moments.seen > 1:
            excess = float(above.double().sum() - self.tail * len(values))
            self.threshold += _QUANTILE_RATE * self.moments.deviation * excess
        self.moments.add(losses)
        return above.to(losses.dtype) / self.tail

    def state_dict(self) -> dict[str, Any]:
        return {"threshold": self.threshold, **self.moments.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.threshold = state["threshold"]
        self.moments.load_state_dict(state)


def build_objective(name: str, tail: float) -> Objective | None:
    """What `hard_tasks.objective` names; None for the plain mean."""
    if name == "mean":
        return None
    return Ohem(tail) if name == "ohem" else Cvar(tail)


class UniformDifficultySampler(TaskSampler):
    """The episodes of CategoriesSampler with task weights T (p/q) / Σ (p/q).

    q is the normal distribution of losses seen so far (running moments), p uniform within 2.58 of its
    deviations. Weights are normalised within the meta-batch, where the paper divides by the effective number
    of tasks: their mean is 1, so that the size of an update does not depend on `meta.tasks`. A task outside
    of p's range counts 0; a meta-batch with no other counts as it is.
    """

    has_task_weights = True
    state = (*TaskSampler.state, "moments")

    def __init__(self, index: ClassIndex, shape: EpisodeShape, seed: int) -> None:
        super().__init__(shape)
        self.uniform = CategoriesSampler.of(index, shape, seed)
        self.moments = RunningMoments(1 - 0.99)

    def episode(self, number: int) -> tuple[str, Tensor, Tensor]:
        return self.uniform.episode(number)

    def task_weights(self, losses: Tensor) -> Tensor:
        self.moments.add(losses)
        deviation = self.moments.deviation
        if self.moments.seen <= 2 * len(losses) or deviation == 0:
            return torch.ones_like(losses)  # too little is known of q
        z = (losses.double() - self.moments.mean) / deviation
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
        ratio = torch.where(z.abs() <= _TAIL, 1 / (2 * _TAIL) / density, 0.0)
        if not ratio.sum() > 0:
            return torch.ones_like(losses)
        return (len(losses) * ratio / ratio.sum()).to(losses.dtype)
