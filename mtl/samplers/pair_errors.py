"""The errors of two-way tasks between all pairs of classes, from the features of a few images of each.

A pool of tasks meets few pairs: forty 20-way tasks have 7,600 of the half million that 1,000 classes make.
Two-way tasks need no pool: the features of a few images of each class answer all of them at once. Counted
over a handful of queries an error is 0 for nearly every pair; estimated from the moments of the features it
grades all of them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.episodes.pairs import upper_triangle

_ROWS = 256  # classes that are compared with all others at once


def estimated_errors(features: Tensor, shot: int, apart: int | None = None) -> Tensor:
    """Expected errors (C(C-1)/2,) float64 of nearest-centre classifiers between each two classes.

    Features are taken as unit vectors x. A query of class i goes to its own centre where the margin of its
    cosines with the centres of K support images each is positive. The mean of that margin over queries and
    support sets is d_ij = E x·x' - m_i·m_j, with x, x' different images of class i and m the means of the
    classes; its variance, for one covariance S within classes, is

        v_ij = (m_i - m_j)ᵀ S (m_i - m_j) + (m_iᵀ S m_i + m_jᵀ S m_j + 2 tr S²) / K,

    and the error, if it is normal, is Φ(-d_ij / √v_ij); a pair's is the mean of both directions. Every image
    serves as support image and as query, so that the estimate uses all L images of a class.

    Args:
        features: (C, L, D), L at least 2.
        shot: K.
        apart: the first so many images of a class come from other groups (bursts) than the rest: its images
            are then compared across the two alone. None: all with each other.
    """
    x = F.normalize(features.double(), dim=-1)
    images = x.shape[1]
    means = x.mean(1)  # (C, D)
    within = (x - means[:, None]).flatten(0, 1)
    covariance = within.T @ within / (len(means) * (images - 1))
    if apart is None:
        own = (images * means.square().sum(1) - 1) / (images - 1)  # (C,) mean of x·x' over different images
    else:
        own = (x[:, :apart].mean(1) * x[:, apart:].mean(1)).sum(1)
    spread = means @ covariance  # (C, D)
    variance = (spread * means).sum(1)  # (C,) of x·m_i
    support = 2 * covariance.square().sum()
    parts = []
    for rows in torch.split(torch.arange(len(means)), _ROWS):
        later = slice(int(rows[0]), None)  # each pair once, where its first class is a row
        of_both = variance[rows, None] + variance[later]
        total = of_both - 2 * spread[rows] @ means[later].T + (of_both + support) / shot
        deviation = total.clamp_min_(torch.finfo(total.dtype).tiny).sqrt_()
        other = means[rows] @ means[later].T
        there, back = (torch.special.ndtr((other - to) / deviation) for to in (own[rows, None], own[later]))
        parts.append(upper_triangle(there.add_(back)) / 2)
    return torch.cat(parts)


def counted_errors(features: Tensor, shot: int) -> Tensor:
    """Errors (C(C-1)/2,) float64 of nearest-centre classifiers between each two classes, by the cosine.

    Args:
        features: (C, L, D).
        shot: K, the images of a class that make its centre; all but one where there are fewer. The others
            are queries; a tie counts half.
    """
    shot = min(shot, features.shape[1] - 1)
    centres = F.normalize(features[:, :shot].mean(1), dim=-1)
    queries = F.normalize(features[:, shot:], dim=-1)
    rows = torch.split(torch.arange(len(features)), _ROWS)
    errors = torch.cat([_mistaken(centres, queries[part], part) for part in rows]).double()
    return upper_triangle(errors + errors.T) / 2


def _mistaken(centres: Tensor, queries: Tensor, classes: Tensor) -> Tensor:
    """(R, C): the share of the queries (R, Q, D) of R classes that are nearer the centre of each class."""
    nearness = queries @ centres.T  # (R, Q, C)
    own = nearness.gather(2, classes[:, None, None].expand(-1, nearness.shape[1], 1))
    return ((nearness > own).float() + (nearness == own).float() / 2).mean(1)


def task_accuracies(features: Tensor, classes: Tensor, shot: int) -> Tensor:
    """Accuracies (T,) float32 of N-way tasks, each solved by its nearest centre, by the cosine.

    Args:
        features: (C, L, D).
        classes: (T, N) of the tasks.
        shot: K, the images of a class that make its centre; all but one where there are fewer. The others
            are queries.
    """
    shot = min(shot, features.shape[1] - 1)
    centres = F.normalize(features[:, :shot].mean(1), dim=-1)
    queries = features[:, shot:]
    own = torch.arange(classes.shape[1])
    right = []
    for part in torch.split(classes, _ROWS):
        nearness = torch.einsum("tnqd,tmd->tnqm", queries[part], centres[part])
        right.append((nearness.argmax(-1) == own[:, None]).float().mean((1, 2)))
    return torch.cat(right)


def image_errors(features: Tensor, partners: Tensor, shot: int) -> Tensor:
    """How often an image is taken for another class (C, L) float64, on average over two-way tasks.

    A query x of class i goes to class j where its cosine with the centre of K images of j is larger. By the
    moments of `estimated_errors`, with m_i the mean of the other images of its class, this has the
    probability Φ(-x·(m_i - m_j) / √(2 xᵀ S x / K)).

    Args:
        features: (C, L, D), L at least 2.
        partners: (C, M) the classes j that an image of each class is held against.
        shot: K.
    """
    x = F.normalize(features.double(), dim=-1)
    images = x.shape[1]
    means = x.mean(1)
    within = (x - means[:, None]).flatten(0, 1)
    covariance = within.T @ within / (len(means) * (images - 1))
    errors = []
    for rows in torch.split(torch.arange(len(means)), _ROWS):
        query = x[rows]  # (R, L, D)
        others = (images * means[rows, None] - query) / (images - 1)
        margin = (query * others).sum(-1, keepdim=True) - query @ means[partners[rows]].mT  # (R, L, M)
        variance = 2 * (query @ covariance * query).sum(-1, keepdim=True) / shot
        deviation = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
        errors.append(torch.special.ndtr(-margin / deviation).mean(-1))
    return torch.cat(errors)
