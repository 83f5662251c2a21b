"""Nearest prototype (Snell et al., NeurIPS 2017), by Euclidean distance or by cosine."""

import torch
import torch.nn.functional as F
from torch import Tensor


def prototypes(support: Tensor, labels: Tensor, way: int) -> Tensor:
    """Mean support feature (T, N, D) of every class."""
    onehot = F.one_hot(labels, way).to(support.dtype)
    return onehot.mT @ support / onehot.sum(1)[..., None]


def prototype_logits(support: Tensor, labels: Tensor, query: Tensor, way: int, metric: str) -> Tensor:
    """(T, Q', N): cosine with each prototype, or minus its squared Euclidean distance."""
    centres = prototypes(support, labels, way)
    if metric == "cosine":
        return F.normalize(query, dim=-1) @ F.normalize(centres, dim=-1).mT
    return -torch.cdist(query, centres).square()
