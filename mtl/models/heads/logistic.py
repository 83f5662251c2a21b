"""Multinomial logistic regression to convergence, for many tasks at once."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.models.heads.linear import LinearHead


def logistic(support: Tensor, labels: Tensor, way: int, penalty: float, steps: int = 200) -> LinearHead:
    """The heads that minimise Σ cross-entropy + ½ · penalty · (‖W‖² + ‖b‖²) over the support set.

    Nesterov's method for strongly convex functions, on coefficients in the span of the support features. The
    step size of each task follows from its own largest eigenvalue, so a task's answer does not depend on the
    others; with features of length about 1 to 10 and penalty near 1, 200 steps reach float32 rounding.
    """
    onehot = F.one_hot(labels, way).to(support.dtype).mT.contiguous()  # (T, N, S), as in gradient_descent
    gram = support @ support.mT + 1
    # The softmax's Hessian is at most ½; the trace bounds the largest eigenvalue from above too loosely.
    top = torch.linalg.eigvalsh(gram.detach())[..., -1]
    smooth = (0.5 * top + penalty)[:, None, None]
    ratio = (penalty / smooth).sqrt()
    momentum = (1 - ratio) / (1 + ratio)
    here = ahead = torch.zeros_like(onehot)
    for _ in range(steps):
        slope = torch.softmax(ahead @ gram, 1) - onehot + penalty * ahead
        there = ahead - slope / smooth
        ahead = there + momentum * (there - here)
        here = there
    return LinearHead(here @ support, here.sum(-1))
