"""Learning rates as pure functions of the step, so that a resumed run has the same ones; and their limit."""

import math

from torch.optim import Optimizer

from mtl.errors import RunStopped


def warm_up_cosine(step: int, steps: int, warm_up: float) -> float:
    """Factor of the rate at `step` of `steps`: climbs over the share `warm_up`, then half a cosine to 0."""
    climb = warm_up * steps
    if step < climb:
        return (step + 1) / (climb + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - climb) / max(1.0, steps - climb)))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """The rate of the step that follows."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def require_finite(loss: float, stage: str, step: int, key: str, rate: float) -> None:
    """Raises RunStopped where the loss is not finite; to be asked before the step is saved."""
    if not math.isfinite(loss):
        raise RunStopped(
            f"{stage}: the loss is {loss} at step {step}; the likely cause is too high a learning rate "
            f"({key} gave {rate:.3g} here). The last checkpoint is from before it"
        )
