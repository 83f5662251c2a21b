"""Solvers that see all queries of a task at once, and learn from them though their labels are unknown.

Figures of such solvers are not comparable with inductive ones, which answer each query alone: they are shown
in a table of their own. With equally many queries a class, as in every task here, they know more than they
would of real queries (Veilleux et al., NeurIPS 2021).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.learners.learner import episode_labels
from mtl.models.heads import prototypes

_SHARPNESS = 10.0  # of the cosines that weigh an image in its class's prototype
_NEIGHBOURS, _PULL, _STEPS = 3, 1.0, 20  # queries that each is drawn to, how strongly, and for how long


def bd_cspn(features: Tensor, way: int, shot: int) -> Tensor:
    """Logits (T, N·Q, N) of features (T, N·K + N·Q, D): cosine with rectified prototypes, times 10.

    Queries are moved by the difference of the means of support and queries; then each counts in the prototype
    that is nearest to it, weighted by its cosine with it (Liu et al., "Prototype Rectification for Few-Shot
    Learning", ECCV 2020).
    """
    query, centres = _rectified(features, way, shot)
    return _SHARPNESS * query @ F.normalize(centres, dim=-1).mT


def laplacian_shot(features: Tensor, way: int, shot: int) -> Tensor:
    """Logits (T, N·Q, N) of features (T, N·K + N·Q, D): near queries get near answers.

    y_q ← softmax(−½‖z_q − m‖² + λ Σ y_p over the k nearest queries p of q), from the rectified prototypes m
    of `bd_cspn` (Ziko et al., "Laplacian Regularized Few-Shot Learning", ICML 2020; λ = 1, k = 3).
    """
    query, centres = _rectified(features, way, shot)
    unary = 0.5 * torch.cdist(query, F.normalize(centres, dim=-1)).square()

    # Each query with its nearest ones but itself; the affinity counts in both directions.
    near = -torch.cdist(query, query)
    near.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    kept = near.topk(min(_NEIGHBOURS, query.shape[1] - 1), -1).indices
    affinity = torch.zeros_like(near).scatter_(2, kept, 1.0)
    affinity = (affinity + affinity.mT) / 2

    logits = -unary
    for _ in range(_STEPS):
        logits = _PULL * affinity @ F.softmax(logits, -1) - unary
    return logits


#: By the name that `evaluate.transductive` takes: what the tables call it, and the solver.
TRANSDUCTIVE: dict[str, tuple[str, Callable[[Tensor, int, int], Tensor]]] = {
    "bd_cspn": ("BD-CSPN", bd_cspn),
    "laplacian": ("LaplacianShot", laplacian_shot),
}


def _rectified(features: Tensor, way: int, shot: int) -> tuple[Tensor, Tensor]:
    """The moved queries (T, N·Q, D), of length 1, and the prototypes (T, N, D)."""
    features = F.normalize(features, dim=-1)
    support, query = features[:, : way * shot], features[:, way * shot :]
    query = F.normalize(query + support.mean(1, keepdim=True) - query.mean(1, keepdim=True), dim=-1)
    labels = episode_labels(len(features), way, shot, features.device)
    plain = F.normalize(prototypes(support, labels, way), dim=-1)

    # Queries count in the class that is nearest to them.
    images = torch.cat([support, query], 1)
    cosines = images @ plain.mT  # (T, images, N)
    member = torch.cat([F.one_hot(labels, way), F.one_hot(cosines[:, way * shot :].argmax(-1), way)], 1)
    weights = torch.softmax((_SHARPNESS * cosines).masked_fill(member == 0, -torch.inf), 1)
    return query, weights.mT @ images
