"""What a meta-batch's task losses are made into: their mean, or a mean of the worst.

Task-level counterparts of online hard example mining (Shrivastava et al., CVPR 2016) and of the conditional
value at risk (Rockafellar and Uryasev, Journal of Risk 2000; as a goal of meta-learning Wang et al., "A
Simple Yet Effective Strategy to Robustify the Meta Learning Paradigm", NeurIPS 2023). They say how much each
task counts and leave open who drew it, so that they go with any sampler.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

_RATE = 0.05  # step of the running quantile, in deviations of the losses
_MEMORY = 0.01  # what a loss counts in the running moments


class Objective(Protocol):
    """Weights of a meta-batch's tasks; their mean is 1, at least in the long run."""

    def task_weights(self, losses: Tensor) -> Tensor:
        """(T,) from the tasks' losses (T,)."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Ohem:
    """The worst `tail` of each meta-batch, rounded up, count alike; the others not at all."""

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
    """The mean of the losses beyond a quantile: of all tasks met, not of this meta-batch alone.

    CVaR = min_t t + E[(L − t)₊] / tail; its gradient counts the tasks with L > t by 1 / tail. t follows the
    losses as a running quantile, t ← t + η T σ (share of the losses above t − tail), so that meta-batches of
    few tasks do. σ is the running deviation of earlier losses: that of the same meta-batch is large where
    its losses are, and would carry t beyond the quantile. A meta-batch without a task above t has no
    gradient; Adam still moves by its momentum.
    """

    def __init__(self, tail: float) -> None:
        self.tail = tail
        self.threshold: float | None = None
        self.seen, self.mean, self.square = 0, 0.0, 0.0  # running moments of the losses

    def task_weights(self, losses: Tensor) -> Tensor:
        if self.tail == 1:
            return torch.ones_like(losses)
        values = losses.double()
        if self.threshold is None:
            self.threshold = float(values.quantile(1 - self.tail)) - 1e-9
        above = values > self.threshold
        if self.seen > 1:
            deviation = math.sqrt(max(self.square - self.mean**2, 0.0))
            self.threshold += _RATE * deviation * float(above.double().sum() - self.tail * len(values))
        for loss in values.tolist():
            self.seen += 1
            rate = max(1 / self.seen, _MEMORY)
            self.mean += rate * (loss - self.mean)
            self.square += rate * (loss * loss - self.square)
        return above.to(losses.dtype) / self.tail

    def state_dict(self) -> dict[str, Any]:
        moments = {"seen": self.seen, "mean": self.mean, "square": self.square}
        return {"threshold": self.threshold, **moments}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.threshold = state["threshold"]
        self.seen, self.mean, self.square = int(state["seen"]), float(state["mean"]), float(state["square"])


def build_objective(name: str, tail: float) -> Objective | None:
    """What `hard_tasks.objective` names; None for the plain mean."""
    if name == "mean":
        return None
    return Ohem(tail) if name == "ohem" else Cvar(tail)
