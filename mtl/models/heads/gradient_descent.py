"""Gradient descent on a linear head, in the span of the support features.

All steps of gradient descent on the mean cross-entropy of a support set stay in the span of its features, so
they are taken on coefficients C (S, N) instead of weights (N, D): W = W0 − Cᵀ X, b = b0 − Cᵀ 1. The result is
the loop over weights to rounding, forwards and backwards, at a cost that does not depend on D once the Gram
matrix is there, and for all tasks at once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def gradient_descent(
    support: Tensor,
    labels: Tensor,
    query: Tensor,
    start: tuple[Tensor, Tensor],
    *,
    steps: int,
    lr: Tensor | float,
    first_order: bool = False,
) -> Tensor:
    """Query logits of a linear head after `steps` steps of gradient descent on the support set.

    Args:
        support: (T, S, D) features.
        labels: (T, S) in 0..N-1.
        query: (T, Q', D) features.
        start: head before the first step, W0 (N, D) or (T, N, D) and b0 (N,) or (T, N).
        steps: M of them.
        lr: inner rate a.
        first_order: gradients of the inner steps are taken as constants, as in the published PyTorch code
            of meta-transfer learning; otherwise the backward pass is exact to second order.

    Returns:
        (T, Q', N).
    """
    w0, b0 = start
    onehot = F.one_hot(labels, b0.shape[-1]).to(support.dtype)
    rate = lr / support.shape[1]
    at_start = support @ w0.mT + b0[..., None, :]
    with torch.set_grad_enabled(torch.is_grad_enabled() and not first_order):
        gram = support @ support.mT + 1  # the 1 is the bias
        steps_taken = torch.zeros_like(onehot)
        for _ in range(steps):
            error = torch.softmax(at_start - gram @ steps_taken, -1) - onehot
            steps_taken = steps_taken + rate * error
    fixed = support.detach() if first_order else support
    return query @ w0.mT + b0[..., None, :] - (query @ fixed.mT + 1) @ steps_taken
