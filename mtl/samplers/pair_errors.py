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
    x = _units(features)
    means = x.mean(1)  # (C, D)
    moments = PairMoments(means, _own(x, means, apart), _covariance(x, means), shot)
    # each pair once, where its first class is a row
    every = torch.split(torch.arange(len(means)), _ROWS)
    return torch.cat([upper_triangle(moments.errors(rows, slice(int(rows[0]), None))) for rows in every])


def pair_moments(features: Tensor, among: Tensor, shot: int, apart: int | None = None) -> "PairMoments":
    """As `estimated_errors` takes them, from features (C, L, D) of any precision, a part at a time.

    The covariance within classes is that of the classes `among`.
    """
    x = _units(features[among])
    covariance = _covariance(x, x.mean(1))
    means, own = [], []
    for part in torch.split(features, 1024):
        x = _units(part)
        means.append(x.mean(1))
        own.append(_own(x, means[-1], apart))
    return PairMoments(torch.cat(means), torch.cat(own), covariance, shot)


def _units(features: Tensor) -> Tensor:
    """Unit vectors: float64, or float32 of features that are kept in float16, since there are many."""
    wider = features.float() if features.dtype == torch.float16 else features.double()
    return F.normalize(wider, dim=-1)


def _own(x: Tensor, means: Tensor, apart: int | None) -> Tensor:
    """(C,) mean of x·x' over different images of a class, from unit vectors (C, L, D)."""
    images = x.shape[1]
    if apart is None:
        return (images * means.square().sum(1) - 1) / (images - 1)
    return (x[:, :apart].mean(1) * x[:, apart:].mean(1)).sum(1)


def _covariance(x: Tensor, means: Tensor) -> Tensor:
    """(D, D) within classes, from unit vectors (C, L, D)."""
    within = (x - means[:, None]).flatten(0, 1)
    return within.T @ within / (len(means) * (x.shape[1] - 1))


class PairMoments:
    """What `estimated_errors` knows of C classes: their means (C, D), x·x' (C,), and S (D, D)."""

    def __init__(self, means: Tensor, own: Tensor, covariance: Tensor, shot: int) -> None:
        self.means, self.own, self.shot = means, own, shot
        self.spread = means @ covariance  # (C, D)
        self.variance = (self.spread * means).sum(1)  # (C,) of x·m_i
        self.support = 2 * covariance.square().sum()

    def errors(self, rows: Tensor, columns: slice = slice(None)) -> Tensor:
        """(R, n): the mean of both directions, between classes `rows` and `columns`."""
        of_both = self.variance[rows, None] + self.variance[columns]
        products = self.spread[rows] @ self.means[columns].T
        total = of_both - 2 * products + (of_both + self.support) / self.shot
        deviation = total.clamp_min_(torch.finfo(total.dtype).tiny).sqrt_()
        other, own = self.means[rows] @ self.means[columns].T, self.own
        there, back = (torch.special.ndtr((other - to) / deviation) for to in (own[rows, None], own[columns]))
        both: Tensor = there.add_(back).div_(2)
        return both


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


def image_errors(features: Tensor, partners: Tensor, shot: int, rows: Tensor | None = None) -> Tensor:
    """How often an image is taken for another class (R, L) float64, on average over two-way tasks.

    A query x of class i goes to class j where its cosine with the centre of K images of j is larger. By the
    moments of `estimated_errors`, with m_i the mean of the other images of its class, this has the
    probability Φ(-x·(m_i - m_j) / √(2 xᵀ S x / K)).

    Args:
        features: (C, L, D), L at least 2.
        partners: (R, M) the classes j that an image of each class is held against.
        shot: K.
        rows: (R,) the classes of these images; all of them if None.
    """
    x = _units(features)
    images = x.shape[1]
    rows = torch.arange(len(x)) if rows is None else rows
    means = x.mean(1)
    covariance = _covariance(x[rows], means[rows])
    errors = []
    for part, against in zip(torch.split(rows, _ROWS), torch.split(partners, _ROWS), strict=True):
        query = x[part]  # (R, L, D)
        others = (images * means[part, None] - query) / (images - 1)
        margin = (query * others).sum(-1, keepdim=True) - query @ means[against].mT  # (R, L, M)
        variance = 2 * (query @ covariance * query).sum(-1, keepdim=True) / shot
        deviation = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
        errors.append(torch.special.ndtr(-margin / deviation).mean(-1))
    return torch.cat(errors).double()
