"""Heads fitted to the optimum for many tasks at once: logistic regression, ridge regression."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtl.models.heads.prototype import LinearHead

_NEWTON, _CG = 200, 1000  # most steps; rounding ends both earlier, unless features are not finite
_FORCING = 0.3  # residual that a step far from the optimum may leave, as a share
_NEAR = 0.1  # a step that changes logits by less is one of the last few


def logistic(support: Tensor, labels: Tensor, way: int, penalty: float) -> LinearHead:
    """The heads that minimise Σ cross-entropy + ½ · penalty · (‖W‖² + ‖b‖²) over the support set.

    Newton's method, until a step moves no logit by more than the root of the dtype's rounding (3e-4 in
    float32, 1e-8 in float64); probabilities are then right to about 1e-5 and 1e-9. Gradients are those of
    the optimum by the implicit function theorem: one further linear system, however many steps it took. The
    solution of a task does not depend on the other tasks.

    Args:
        support: (T, S, D) features.
        labels: (T, S) in 0..N-1.
        way: N.
        penalty: above 0; scikit-learn's 1/C, with the bias penalised like the weights.
    """
    onehot = F.one_hot(labels, way).to(support.dtype).mT.contiguous()  # (T, N, S), as in gradient_descent
    weight, bias = _Optimum.apply(support, onehot, penalty)
    return LinearHead(weight, bias)


class _Optimum(torch.autograd.Function):
    """W (T, N, D) and b (T, N) from X (T, S, D), one-hot Y (T, N, S) and the penalty λ.

    With x̃ = (x, 1), θ = (W, b) and P the probabilities (N, S) at the optimum, θ satisfies

        λθ + (P − Y) X̃ = 0

    Backwards, H_s = diag(p_s) − p_s p_sᵀ being the softmax's Jacobian, the adjoint Q and E = H[Q X̃ᵀ] follow
    from the gradient θ̄, and the features' gradient from them:

        λQ + H[Q X̃ᵀ] X̃ = θ̄ ;   X̄ = (Y − P)ᵀ Q_W − Eᵀ W
    """

    @staticmethod
    def forward(ctx: Any, support: Tensor, onehot: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
        gram = support @ support.mT + 1  # the 1 is the bias
        coefficients = _minimise(gram, onehot, penalty)
        weight, bias = coefficients @ support, coefficients.sum(-1)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(support, gram, onehot, torch.softmax(coefficients @ gram, 1), weight)
            ctx.penalty = penalty
        return weight, bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_weight: Tensor, of_bias: Tensor) -> tuple[Tensor | None, ...]:
        support, gram, onehot, p, weight = ctx.saved_tensors
        at_images = of_weight @ support.mT + of_bias[..., None]
        error = _adjoint(gram, p, ctx.penalty, at_images)
        adjoint = (of_weight - error @ support) / ctx.penalty
        return -_error(p, onehot).mT @ adjoint - error.mT @ weight, None, None


def _minimise(gram: Tensor, onehot: Tensor, penalty: float) -> Tensor:
    """Coefficients C (T, N, S) of the optimal heads W = C X, b = C 1, from G = X Xᵀ + 1 (T, S, S).

    A step of size ln(1 + r)/r, where r is the most by which it changes the difference of two logits, always
    descends (Bach, "Self-concordant analysis for logistic regression", 2010, as the third derivative of the
    softmax along a step is at most r times the second). No objective is evaluated, whose rounding would end a
    line search in float32 too early.
    """
    tolerance = torch.finfo(gram.dtype).eps ** 0.5
    longest = gram.diagonal(dim1=-2, dim2=-1).amax(-1).sqrt()
    coefficients = logits = torch.zeros_like(onehot)
    left = torch.ones_like(longest, dtype=torch.bool)
    wanted, near, last = torch.full_like(longest, _FORCING), ~left, torch.full_like(longest, torch.inf)
    for _ in range(_NEWTON):
        p = torch.softmax(logits, 1)
        slope = _error(p, onehot) + penalty * coefficients
        ascent = slope @ gram
        size = _total(slope * ascent)  # squared length of the gradient of the weights
        left = left & ~(near & (size > 0.8 * last))  # but for rounding, it shrinks to a half or less
        step, moved = _newton_step(gram, p, penalty, slope, ascent, torch.where(left, wanted, torch.inf))
        reach = (moved.amax(1) - moved.amin(1)).amax(1)
        damped = torch.where(reach > tolerance, reach.log1p() / reach, 1.0)
        coefficients = coefficients - torch.where(left, damped, 0.0)[:, None, None] * step
        # The step changes the logits of any image as long as the longest by no more than this.
        change = _total(step * moved).clamp_min(0).sqrt() * longest
        left = left & (change > tolerance)
        if not left.any():
            break
        logits = coefficients @ gram
        wanted, near, last = (_FORCING * change).clamp(tolerance, _FORCING), reach < _NEAR, size
    return coefficients


def _newton_step(
    gram: Tensor, p: Tensor, penalty: float, slope: Tensor, ascent: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """Solves λD + H[D G] = g for D by conjugate gradients in the inner product ⟨A, B G⟩; D and D G.

    That is the Newton step of the weights, and of each task until the residual is the share `wanted` (T,) of
    what it was. Stopped early it still descends, which CG in another inner product does not promise.
    """
    tiny, top = torch.finfo(gram.dtype).tiny, p.argmax(1, keepdim=True)
    solution = moved = torch.zeros_like(slope)
    rest, rest_g, ahead, ahead_g = slope, ascent, slope, ascent
    size = _total(rest * rest_g)
    enough = size * wanted.square()
    for _ in range(_CG):
        image = p * _from_mean(p, top, ahead_g) + penalty * ahead
        curvature = _total(ahead_g * image)
        going = (size > enough) & (curvature > 0)
        length = torch.where(going, size / curvature, 0.0)[:, None, None]
        solution, moved = solution + length * ahead, moved + length * ahead_g
        rest, rest_g = rest - length * image, rest_g - length * (image @ gram)
        before, size = size, torch.where(going, _total(rest * rest_g), 0.0)
        if not (size > enough).any():
            break
        share = (size / before.clamp_min(tiny))[:, None, None]
        ahead, ahead_g = rest + share * ahead, rest_g + share * ahead_g
    return solution, moved


def _adjoint(gram: Tensor, p: Tensor, penalty: float, at_images: Tensor) -> Tensor:
    """E (T, N, S) with λE + H[E G] = H[C̄], C̄ (T, N, S) being θ̄ X̃ᵀ.

    H = F Fᵀ with F = (I − p 1ᵀ) diag(√p), so that E = F y where (λ + Fᵀ G F) y = Fᵀ C̄. This is positive
    definite even where images are equal and G is singular. For y in the range of Fᵀ, F y is √p ⊙ y.
    """
    tiny, root, top = torch.finfo(gram.dtype).tiny, p.sqrt(), p.argmax(1, keepdim=True)
    rest = root * _from_mean(p, top, at_images)
    solution, ahead, size = torch.zeros_like(rest), rest, _total(rest.square())
    enough = size * torch.finfo(gram.dtype).eps ** 1.5
    for _ in range(_CG):
        image = root * _from_mean(p, top, (root * ahead) @ gram) + penalty * ahead
        length = torch.where(size > enough, size / _total(ahead * image), 0.0)[:, None, None]
        solution, rest = solution + length * ahead, rest - length * image
        before, size = size, _total(rest.square())
        if not (size > enough).any():
            break
        ahead = rest + (size / before.clamp_min(tiny))[:, None, None] * ahead
    return root * solution


def _error(p: Tensor, onehot: Tensor) -> Tensor:
    """P − Y (T, N, S), also exact where p is close to 1: 1 − p is the sum of the others."""
    others = p * (1 - onehot)
    return others - onehot * others.sum(1, keepdim=True)


def _from_mean(p: Tensor, top: Tensor, values: Tensor) -> Tensor:
    """Values (T, N, S) minus their mean over classes with weights p, also exact where one p is close to 1.

    p ⊙ this is the softmax's Jacobian H[values]. `top` (T, 1, S): the class of the largest p.
    """
    values = values - values.gather(1, top)
    return values - (p * values).sum(1, keepdim=True)


def _total(values: Tensor) -> Tensor:
    """(T,): the sum over each task's (T, N, S)."""
    return values.sum((1, 2))


def ridge(support: Tensor, labels: Tensor, way: int, penalty: float) -> LinearHead:
    """The heads argmin ‖X Wᵀ + b − Y‖² + penalty (‖W‖² + ‖b‖²), in closed form.

    On one-hot labels, in the dual form (Bertinetto et al., ICLR 2019).
    """
    onehot = F.one_hot(labels, way).to(support.dtype)
    gram = support @ support.mT + 1
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    coefficients = torch.linalg.solve(gram + penalty * eye, onehot)
    return LinearHead(coefficients.mT @ support, coefficients.sum(1))
