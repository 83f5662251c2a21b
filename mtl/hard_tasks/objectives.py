"""What a meta-batch's task losses are made into: their mean, or a mean of the worst.

Task-level counterparts of online hard example mining (Shrivastava et al., CVPR 2016) and of the conditional
value at risk (Rockafellar and Uryasev, Journal of Risk 2000; as a goal of meta-learning Wang et al., "A
Simple Yet Effective Strategy to Robustify the Meta Learning Paradigm", NeurIPS 2023). They say how much each
task counts and leave open who drew it, so that they go with any sampler.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

_RATE = 0.05  # step of the running quantile, in deviations of the losses


class Objective(Protocol):
    """Weights of a meta-batch's tasks; their mean is 1, at least in the long run."""

    def weigh(self, losses: Tensor) -> Tensor:
        """(T,) from the tasks' losses (T,)."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Ohem:
    """The worst `tail` of each meta-batch count alike, at least one task; the others not at all."""

    def __init__(self, tail: float) -> None:
        self.tail = tail

    def weigh(self, losses: Tensor) -> Tensor:
        count = max(1, round(self.tail * len(losses)))
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
    losses as a running quantile, t ← t + η σ (share of the losses above t − tail), so that meta-batches of
    few tasks do. A meta-batch without a task above t moves nothing but t.
    """

    def __init__(self, tail: float) -> None:
        self.tail = tail
        self.threshold: float | None = None

    def weigh(self, losses: Tensor) -> Tensor:
        losses = losses.double()
        if self.threshold is None:
            self.threshold = float(losses.quantile(1 - self.tail)) - 1e-9
        above = losses > self.threshold
        spread = float(losses.std()) if len(losses) > 1 else abs(self.threshold)
        self.threshold += _RATE * len(losses) * spread * (float(above.double().mean()) - self.tail)
        return above.float() / self.tail

    def state_dict(self) -> dict[str, Any]:
        return {"threshold": self.threshold}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.threshold = state["threshold"]


def build_objective(name: str, tail: float) -> Objective | None:
    """What `hard_tasks.objective` names; None for the plain mean."""
    if name == "mean":
        return None
    return Ohem(tail) if name == "ohem" else Cvar(tail)
