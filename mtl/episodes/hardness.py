"""How hard an episode was, in two figures that the literature reports beside its accuracy."""

import torch
from torch import Tensor


def log_odds_of_error(logits: Tensor) -> Tensor:
    """(T,) the episode hardness of Dhillon et al.: the mean over queries of log((1 − p) / p).

    p is the probability of a query's own class, so that harder episodes have higher values: below 0 where
    the own class outweighs all others together, at log(N − 1) where all N are equally likely. "A Baseline for
    Few-Shot Image Classification", ICLR 2020, arXiv 1909.02729. There p comes from the features of one fixed
    network, so that methods can be compared on the same axis; here it is the learner's own.

    Args:
        logits: (T, N, Q, N) of the queries, class by class, with or without their normaliser.
    """
    way = logits.shape[1]
    own = torch.eye(way, dtype=torch.bool, device=logits.device)[:, None]  # (N, 1, N)
    # The difference of logits is exact where 1 − p or p would round to 0.
    others = logits.masked_fill(own, -torch.inf).logsumexp(-1)
    return (others - logits.diagonal(dim1=1, dim2=3).transpose(1, 2)).mean((1, 2))


@torch.no_grad()
def inverse_fisher_ratio(features: Tensor, way: int, shot: int) -> Tensor:
    """(T,) the scatter of features within classes over the distance between them; high where classes overlap.

    (mean of s_i) / (mean of ‖μ_i − μ_j‖², i ≠ j), with a class's centre μ_i and s_i the mean squared distance
    of its images to it, with n − 1: "Understanding Episode Hardness in Few-Shot Learning".

    Args:
        features: (T, N·K + N·Q, D) of support and query images, each class by class.
    """
    tasks, images, width = features.shape
    both = torch.split(features.float(), [way * shot, images - way * shot], 1)
    parts = [part.reshape(tasks, way, part.shape[1] // way, width) for part in both]  # (T, N, K or Q, D)
    n = images // way
    centres = (parts[0].sum(2) + parts[1].sum(2)) / n
    # Not by torch.var, which is several times as slow along this dimension.
    norms = [torch.linalg.vector_norm(part - centres[:, :, None], dim=(2, 3)) for part in parts]
    squares = torch.stack(norms).square().sum(0)  # (T, N)
    # The mean squared distance of two of N centres is twice their variance.
    between = 2 * centres.var(1).sum(-1)
    return squares.mean(1) / (n - 1) / between.clamp_min(torch.finfo(between.dtype).tiny)
