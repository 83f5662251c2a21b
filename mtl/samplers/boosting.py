"""AdaBoost over units: how one round's errors move the weights that hard tasks are drawn from.

After SAMME, the multi-class AdaBoost of Zhu, Zou, Rosset and Hastie, "Multi-class AdaBoost", 2009. What
carries a weight here is not a training example but a unit: a task, a class or a pair of classes.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.config.hard_tasks import Boosting
from mtl.samplers.weighted_draw import Floats

_TINY = float(np.finfo(np.float64).tiny)
_LEAST = 1e-12  # error of a learner that makes none


@dataclass(frozen=True)
class BoostStep:
    """What one round came to."""

    weights: Tensor  # (U,) float64, sum 1, each at least λ/U
    epsilon: float  # ε: weighted error of the visited units; nan if none was visited
    alpha: float  # α: how far the weights moved


def learner_weight(epsilon: float, rule: Boosting, way: int) -> float:
    """α = ν (ln((1 - ε)/ε) + ln(N - 1)), held between 0 and the cap.

    0 when the learner is no better than chance (ε ≥ 1 - 1/N). No error at all counts as the least one, which
    keeps α finite where there is no cap.
    """
    if rule.rate == 0 or epsilon >= 1 - 1 / way:
        return 0.0
    epsilon = max(epsilon, _LEAST)
    alpha = max(rule.rate * (math.log((1 - epsilon) / epsilon) + math.log(way - 1)), 0.0)
    return alpha if rule.cap is None else min(alpha, rule.cap)


def boost(weights: Tensor, errors: Tensor, visited: Tensor, rule: Boosting, way: int) -> BoostStep:
    """One round of AdaBoost over U units, of which only the visited V were measured.

    Takes `weights` (U,) that sum to 1, `errors` (U,) in [0, 1] where visited and anything elsewhere, and
    `visited` (U,) bool. N is `way`, ν, τ, λ and the cap are those of `rule`:

        ε   = Σ_V w_u e_u / Σ_V w_u
        α   = ν (ln((1 - ε)/ε) + ln(N - 1)), between 0 and the cap
        w_u ← (1/U) · (U w_u)^τ · exp(α (e_u - ε))     u visited
        w_u ← w_u                                      u not visited
        w   ← (1 - λ) w / Σ w + λ/U                    all

    Where every unit is visited, the constants 1/U, U^τ and exp(-αε) are common factors and vanish in the
    division by Σ w: this is then w_u^τ exp(α e_u), AdaBoost's own rule with a power on the old weight.
    Where some are not visited, the constants see to it that a visit alone moves nothing:

    - exp(-αε) makes the visited's mean error the measure. AdaBoost needs an error for every unit, and of a
      unit that was not measured the best guess is ε. Without it any visited unit with e > 0, however easy,
      would gain on all others, and what is drawn often would grow by being drawn.
    - U^τ/U makes the uniform weight the one that forgetting leads back to. w^τ alone lifts small numbers:
      with U = 100,000 and τ = 0.9 a visit would multiply a uniform weight by 3.2, whatever the error.

    A unit that is alone in its round has e = ε and does nothing but forget; the floor λ wears off the weights
    of units that are never visited again. If none is visited, nothing is known and the weights
    come back as they were. Computed from logarithms, with the largest taken off: no cap can overflow it.
    The arithmetic is numpy's, on one thread: the result does not depend on how many threads there are.

    Raises ValueError for an error outside [0, 1], nan included.
    """
    before: Floats = weights.double().numpy()
    where: NDArray[np.bool_] = visited.numpy()
    if not where.any():
        return BoostStep(torch.from_numpy(before.copy()), math.nan, 0.0)
    everywhere = bool(where.all())
    seen = slice(None) if everywhere else where.nonzero()[0]
    error: Floats = errors.double().numpy()[seen]
    if not (error.min() >= 0 and error.max() <= 1):  # nan is neither
        raise ValueError("errors of visited units must be between 0 and 1")

    heaviest = max(float(before[seen].max()), _TINY)
    old = before[seen] / heaviest
    if old.min() < _TINY / heaviest:
        np.maximum(old, _TINY / heaviest, out=old)  # a weight of 0 counts as the least one above it
    epsilon = min(max(float(np.einsum("i,i", old, error)) / float(old.sum()), 0.0), 1.0)
    alpha = learner_weight(epsilon, rule, way)
    log_new: Floats = np.log(old, out=old)
    log_new *= rule.forget
    log_new += alpha * error

    if everywhere:
        new = _exp(log_new, log_new.max())
    else:
        log_uniform = -math.log(before.size)
        log_new += (1 - rule.forget) * log_uniform + rule.forget * math.log(heaviest) - alpha * epsilon
        new = before.copy()
        new[seen] = 0.0
        largest = max(float(log_new.max()), math.log(max(float(new.max()), _TINY)))
        new *= math.exp(-largest)
        new[seen] = _exp(log_new, largest)
    new *= (1 - rule.floor) / new.sum()
    new += rule.floor / new.size
    return BoostStep(torch.from_numpy(new), epsilon, alpha)


def _exp(logs: Floats, largest: float) -> Floats:
    """exp(logs - largest), in the place of `logs`."""
    logs -= largest
    return np.exp(logs, out=logs)
