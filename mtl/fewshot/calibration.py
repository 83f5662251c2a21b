"""How sure the answers are: a temperature, so that of answers with probability p a share p is right.

Guo et al., ICML 2017.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mtl.fewshot.held_out import HeldOut
from mtl.fewshot.support import Support

_SPREAD = 0.5  # of ln T between image sets: how far held-out answers may move it from what validation found


def fit_temperature(held_out: HeldOut, support: Support, known: Sequence[tuple[int, float]]) -> float:
    """The temperature of a support set: the one that makes its held-out answers most probable.

    A few answers say little, so that they move what validation tasks have found, `known` (shot, T), and it is
    corrected for the image that each class lacked when it was held out.
    """
    from scipy.optimize import minimize_scalar

    shot = len(support) / support.way
    full, lacking = temperature_at(shot, known), temperature_at(max(shot - 1, 1), known)
    if not len(held_out):
        return full

    def cost(log: float) -> float:
        nll = negative_log_likelihood(held_out.logits, support.labels[held_out.rows], math.exp(log))
        return nll + 0.5 * ((log - math.log(lacking)) / _SPREAD) ** 2

    found = minimize_scalar(cost, bounds=(math.log(lacking) - 4, math.log(lacking) + 4), method="bounded")
    return math.exp(float(found.x)) * full / lacking


def negative_log_likelihood(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """-Σ ln p of the right classes, of logits (n, N) over a temperature."""
    logs = torch.log_softmax(logits.double() / temperature, -1)
    return -float(logs.gather(1, labels[:, None]).sum())


def temperature_at(shot: float, known: Sequence[tuple[int, float]]) -> float:
    """Temperatures (shot, T) taken at another shot: linear between them in logarithms; 1 where none is known."""
    if not known:
        return 1.0
    shots, logs = np.log(np.array(sorted(known), dtype=np.float64)).T
    return math.exp(float(np.interp(math.log(shot), shots, logs)))
