"""How much a class counts by how many images it has. Not normalised: what uses them divides as it needs."""

import math

import torch
from torch import Tensor


def inverse_frequency(counts: Tensor) -> Tensor:
    """(C,) float64: 1/n of the counts n (C,); 0 for a class without images.

    Raises:
        ValueError: counts that are no row of whole numbers, or negative.
    """
    return _where_any(_checked(counts).double().reciprocal(), counts)


def effective_number(counts: Tensor, beta: float) -> Tensor:
    """(C,) float64: (1 − β)/(1 − βⁿ) of the counts n (C,); 0 for a class without images.

    One over the effective number of images of Cui et al., "Class-Balanced Loss Based on Effective Number of
    Samples", CVPR 2019, equation 3. β = 0 makes it 1 for every class, and β → 1 the inverse frequency.

    Raises:
        ValueError: counts that are no row of whole numbers, or negative; β outside [0, 1).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta = {beta} must be at least 0 and below 1")
    log = math.log(beta) if beta > 0 else -math.inf
    return _where_any((1 - beta) / -torch.expm1(_checked(counts).double() * log), counts)


def _where_any(weights: Tensor, counts: Tensor) -> Tensor:
    return torch.where(counts > 0, weights, 0.0)


def _checked(counts: Tensor) -> Tensor:
    if counts.ndim != 1 or counts.dtype.is_floating_point or counts.dtype.is_complex:
        raise ValueError(f"counts must be (C,) whole numbers, not {tuple(counts.shape)} {counts.dtype}")
    if (counts < 0).any():
        raise ValueError(f"counts must not be negative, and one is {int(counts.min())}")
    return counts
