"""Gradient descent on a linear head, in the span of the support features.

All steps of gradient descent on the mean cross-entropy of a support set stay in the span of its features, so
they are taken on coefficients C (N, S) instead of weights (N, D): W = W0 − C X, b = b0 − C 1. The result is
the loop over weights to rounding, forwards and backwards, at a cost that does not depend on D once the Gram
matrix is there, and for all tasks at once. Classes come before images (N, S): the other way round, small
products and softmaxes are several times slower.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtl.models.heads.prototype import LinearHead


def gradient_descent(
    support: Tensor,
    labels: Tensor,
    start: tuple[Tensor, Tensor],
    *,
    steps: int,
    lr: Tensor | float,
    first_order: bool = False,
) -> LinearHead:
    """The linear heads after `steps` steps of gradient descent on the support set.

    While the steps are taken, ln of its share of the support images is added to each class's logit (Menon et
    al., ICLR 2021): the steps then need not move towards the larger classes, and the heads, without it, take
    all classes for equally likely, after few steps as after many. Subtracted afterwards, as for a converged
    classifier, it would correct what few steps have not done yet. Nothing is added if all classes have
    equally many images.

    Args:
        support: (T, S, D) features.
        labels: (T, S) in 0..N-1.
        start: head before the first step, W0 (N, D) or (T, N, D) and b0 (N,) or (T, N).
        steps: M of them.
        lr: inner rate a.
        first_order: gradients of the inner steps are taken as constants, as in the published PyTorch code
            of meta-transfer learning; otherwise the backward pass is exact to second order.
    """
    w0, b0 = start
    onehot = F.one_hot(labels, b0.shape[-1]).to(support.dtype).mT
    rate = torch.as_tensor(lr, dtype=support.dtype, device=support.device) / support.shape[1]
    counts = onehot.sum(-1)
    shares = (counts / counts.amax(-1, keepdim=True)).log()
    at_start = w0 @ support.mT + (b0 + shares)[..., None]
    gram = support @ support.mT + 1  # the 1 is the bias
    inner = (x.detach() if first_order else x for x in (gram, at_start, rate))
    coefficients: Tensor = _InnerLoop.apply(*inner, onehot, steps)
    fixed = support.detach() if first_order else support
    return LinearHead(w0 - coefficients @ fixed, b0 - coefficients.sum(-1))


class _InnerLoop(torch.autograd.Function):
    """All inner steps as one node of the graph: autograd would keep and visit several a step.

    With r = a/S, logits Z_0 = W0 Xᵀ + b0 and P_m = softmax(Z_m) over classes, the steps m = 0..M-1 are

        E_m = P_m − Y ;  Z_{m+1} = Z_m − r E_m G ;  C = r Σ_m E_m

    Backwards, with bars for the loss's gradients, Z̄_M = 0 and J_m the softmax's Jacobian at Z_m:

        Ē_m = r (C̄ − Z̄_{m+1} G) ;  Z̄_m = Z̄_{m+1} + J_m Ē_m
        Ḡ = −r Σ_m E_mᵀ Z̄_{m+1} ;  r̄ = ⟨C̄, Σ_m E_m⟩ − Σ_m ⟨Z̄_{m+1}, E_m G⟩
    """

    @staticmethod
    def forward(ctx: Any, gram: Tensor, at_start: Tensor, rate: Tensor, onehot: Tensor, steps: int) -> Tensor:
        """C (T, N, S) from G (T, S, S), Z_0 (T, N, S), r (), Y (T, N, S) and M."""
        rated, logits = rate * gram, at_start.clone(memory_format=torch.contiguous_format)
        onehot = onehot.contiguous()
        if not any(ctx.needs_input_grad):  # a meta-test may hold thousands of tasks: store only the sum
            total, error = torch.zeros_like(logits), torch.empty_like(logits)
            for _ in range(steps):
                torch.softmax(logits, 1, out=error).sub_(onehot)
                total += error
                logits.baddbmm_(error, rated, alpha=-1)
            return rate * total
        softmaxes, error = logits.new_empty(steps, *logits.shape), torch.empty_like(logits)
        for softmax in softmaxes.unbind():
            torch.softmax(logits, 1, out=softmax)
            torch.sub(softmax, onehot, out=error)
            logits.baddbmm_(error, rated, alpha=-1)
        ctx.save_for_backward(gram, rate, onehot, softmaxes)
        return rate * (softmaxes.sum(0) - steps * onehot)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, wanted: Tensor) -> tuple[Tensor | None, ...]:
        """(Ḡ, Z̄_0, r̄, None, None) from C̄ (T, N, S)."""
        gram, rate, onehot, softmaxes = ctx.saved_tensors
        rated, direct = rate * gram, (rate * wanted).contiguous()
        flows, of_error = softmaxes.new_empty(len(softmaxes) + 1, *direct.shape), torch.empty_like(direct)
        flow = flows[-1].zero_()  # Z̄_M; Z̄_m follows, down to Z̄_0
        for softmax, before in zip(reversed(softmaxes.unbind()), reversed(flows[:-1].unbind()), strict=True):
            torch.baddbmm(direct, flow, rated, alpha=-1, out=of_error)
            through = torch._softmax_backward_data(of_error, softmax, 1, of_error.dtype)
            flow = torch.add(flow, through, out=before)
        errors = softmaxes - onehot
        # Σ_m E_mᵀ Z̄_{m+1} as one product: sums over steps and classes
        left, right = (x.transpose(0, 1).flatten(1, 2) for x in (errors, flows[1:]))
        crossed = left.mT @ right
        of_rate = (wanted * errors.sum(0)).sum() - (gram * crossed).sum()
        return -rate * crossed, flows[0], of_rate, None, None
