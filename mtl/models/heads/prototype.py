"""Nearest prototype (Snell et al., NeurIPS 2017), by Euclidean distance or by cosine."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def prototypes(support: Tensor, labels: Tensor, way: int) -> Tensor:
    """Mean support feature (T, N, D) of every class."""
    onehot = F.one_hot(labels, way).to(support.dtype)
    return onehot.mT @ support / onehot.sum(1)[..., None]


@torch.no_grad()
def class_variance(support: Tensor, labels: Tensor, way: int) -> Tensor:
    """(T,) the variance of images around the prototype of their class, summed over features, without bias.

    0 where no class has two images.
    """
    onehot = F.one_hot(labels, way).to(support.dtype)
    squares = (support - onehot @ prototypes(support, labels, way)).square().sum((1, 2))
    return squares / (onehot.sum(1) - 1).sum(-1).clamp(min=1)


def distance_surplus(support: Tensor, labels: Tensor, way: int) -> Tensor:
    """(T, N) how much larger ‖q − c‖² is by noise than for the class with most images.

    The mean c of n images has the noise of an image over n, so that E‖q − c‖² is larger by σ²/n, which would
    put classes of few images at a disadvantage. All are brought to the largest class; equal numbers give
    exactly 0.
    """
    counts = F.one_hot(labels, way).sum(1).to(support.dtype)
    return class_variance(support, labels, way)[:, None] * (1 / counts - 1 / counts.amax(-1, keepdim=True))


def shrinkage(support: Tensor, labels: Tensor, way: int) -> Tensor:
    """(T, N) how much smaller cosines with a prototype are than with that of most images, as a factor ≥ 1.

    If images of a class have the cosine k with each other on average, one has the cosine
    k √(n / (1 + (n−1) k)) with the mean of n others. Equal numbers give exactly 1.
    """
    counts = F.one_hot(labels, way).sum(1).to(support.dtype)
    within = (1 - class_variance(F.normalize(support, dim=-1), labels, way)).clamp(min=1e-3)[:, None]
    cosines = (counts / (1 + (counts - 1) * within)).sqrt()
    return cosines.amax(-1, keepdim=True) / cosines


def prototype_logits(support: Tensor, labels: Tensor, query: Tensor, way: int, metric: str) -> Tensor:
    """(T, Q', N): cosine with each prototype, or minus its squared Euclidean distance."""
    centres = prototypes(support, labels, way)
    if metric == "cosine":
        return F.normalize(query, dim=-1) @ F.normalize(centres, dim=-1).mT
    return -torch.cdist(query, centres).square()


class LinearHead(NamedTuple):
    """The adapted N-way classifiers of T tasks."""

    weight: Tensor  # (T, N, D)
    bias: Tensor  # (T, N)

    def __call__(self, query: Tensor) -> Tensor:
        """Logits (T, Q', N) of query features (T, Q', D)."""
        return query @ self.weight.mT + self.bias[..., None, :]


_NEAR_ZERO = 1e-4  # features after a ReLU are often 0, where a root has no slope


def power_transform(features: Tensor, power: float) -> Tensor:
    """sign(x) · ((|x| + ε)^p − ε^p), any shape: Tukey's ladder, as in Yang et al., ICLR 2021."""
    if power == 1:
        return features
    bent: Tensor = (features.abs() + _NEAR_ZERO) ** power - _NEAR_ZERO**power
    return features.sign() * bent
