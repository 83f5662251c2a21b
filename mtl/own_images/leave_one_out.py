"""What left-out support images show: predictions, their temperature, and how to recognise other classes.

The temperature makes answers with probability p right in a share p: Guo et al., ICML 2017, who fit it on a
validation set. Here there are only the support set, each of whose images is classified while it is left out,
and what evaluation found on tasks of a run's validation classes.

The measure of the open set is the largest cosine of an image's feature with a prototype, the mean of a
class's unit features. On validation tasks of CIFAR-FS and glyphs, of 1 to 20 shots, it separated known from
unknown as well as or better than margins, softmax probabilities, energies and the nearest support images did.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mtl.models.heads import BaseLearner
from mtl.own_images.support import Support, even_shot, one_less
from mtl.stats import root

_MOST_PARTS, _FEWEST_PARTS = 100, 10  # in which support images are left out: one of each class, up to 100
_WORK = 30_000  # parts times images beyond which parts become fewer: the cost of each grows with images²
_FLOATS = 4_000_000  # of support features gathered together

# Deviation of ln T from what is known of it. Between a run's validation classes and images of another kind
# ln T differed by 0.4 or so, between tasks of one kind by 0.2. Where nothing is known, T = 1 is the guess.
_SPREAD, _SPREAD_OF_GUESS = 0.3, 0.5
_REACH = 4.0  # how far around that ln T is searched
_FLATTEST = 0.1  # slope over a deviation of likeness, where unlike images are as similar as known ones

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Answers to support images that were left out; H of the S, since a class with one image keeps it."""

    rows: Tensor  # (H,) int64, ascending: which of the support images
    logits: Tensor  # (H, N)

    def __len__(self) -> int:
        return len(self.rows)


@torch.no_grad()
def leave_out(base_learner: BaseLearner, features: Tensor, labels: Tensor, way: int) -> HeldOut:
    """Answers to images that are left out, one of each class at a time.

    In large support sets more are left out together: every class is spread over 10 to 100 parts, so that it
    never lacks more than an image or its share.

    Args:
        base_learner: adapts to the remaining images.
        features: (S, D) embedded.
        labels: (S,) in 0..N-1, each present.
        way: N.
    """
    rows, logits = [torch.empty(0, dtype=torch.int64)], [torch.empty(0, way)]
    parts = _parts(labels, way)
    for size in sorted({len(part) for part in parts}):
        out = torch.stack([part for part in parts if len(part) == size])  # (T, n): left out by T tasks
        remaining = _others(out, len(labels))
        at_once = max(1, _FLOATS // (remaining.shape[1] * features.shape[1]))
        for query, support in zip(torch.split(out, at_once), torch.split(remaining, at_once), strict=True):
            answers = base_learner.adapt(features[support], labels[support], features[query], way)
            rows.append(query.flatten())
            logits.append(answers.flatten(0, 1))
    every = torch.cat(rows)
    order = every.argsort()
    return HeldOut(every[order], torch.cat(logits)[order])


def _parts(labels: Tensor, way: int) -> list[Tensor]:
    """Disjoint parts of the images that can be left out: one of each class, or its share; never all of it.

    An image left out on its own leaves its class smaller than the others, 1 image against 2 at the worst,
    and is misclassified for that: in 5-way 2-shot tasks of CIFAR-FS validation classes 39 % are right that
    way, 57 % with one of each class left out, and 64 % of new images.
    """
    counts = torch.bincount(labels, minlength=way)
    order = labels.argsort(stable=True)
    place = torch.empty_like(labels)  # of each image among those of its class
    place[order] = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]
    count = max(_FEWEST_PARTS, min(_MOST_PARTS, _WORK // len(labels), int(counts.max())))
    parts = [((place % count == part) & (counts[labels] > 1)).nonzero().flatten() for part in range(count)]
    return [part for part in parts if len(part)]


def _others(out: Tensor, count: int) -> Tensor:
    """(T, S - n): the numbers of 0..S-1 that each row of (T, n) lacks."""
    remaining = torch.ones(len(out), count, dtype=torch.bool)
    remaining.scatter_(1, out, False)
    return remaining.nonzero()[:, 1].view(len(out), -1)


def fit_temperature(held_out: HeldOut, support: Support, known: Sequence[tuple[int, float]]) -> float:
    """The temperature of a support set: the one that makes its held-out answers most probable.

    A few answers say little, so they only move what is known: ln T has a normal prior around `known`. As each
    class lacked an image, they give the temperature for fewer images; `known` says how much it differs from
    that for all of them. Classes count the same, however many images they have.

    Args:
        held_out: answers to the support images.
        support: the support images.
        known: (shot, T) of validation tasks; empty where there are none, which leaves T near 1. T does not
            depend on the number of classes: at 5, 10 and 20 ways it was measured the same within 15 %.
    """
    counts = support.counts()
    full = temperature_at(even_shot(counts), known)
    if not len(held_out):
        return full
    labels = support.labels[held_out.rows]
    shares = 1 / counts[labels].double()
    # their sum is the number of equal answers that would say as much (Kish)
    weights = shares * shares.sum() / shares.square().sum()
    lacking = held_out_temperature(full, support, known)
    middle, spread = math.log(lacking), _SPREAD if known else _SPREAD_OF_GUESS

    logits = held_out.logits.double()
    own = logits.gather(1, labels[:, None])[:, 0]

    def slope(log: float) -> float:
        """Of what is to be least, - ln of likelihood and prior, by ln T."""
        expected = (torch.softmax(logits / math.exp(log), -1) * logits).sum(-1)
        return float(weights @ (own - expected)) / math.exp(log) + (log - middle) / spread**2

    best = root(slope, middle - _REACH, middle + _REACH)
    return math.exp(best) * full / lacking


def held_out_temperature(temperature: float, support: Support, known: Sequence[tuple[int, float]]) -> float:
    """The temperature of held-out answers, each class lacking an image, given that of all images."""
    counts = support.counts()
    fewer, full = (temperature_at(even_shot(c), known) for c in (one_less(counts), counts))
    return temperature * fewer / full


def temperature_at(shot: float, known: Sequence[tuple[int, float]]) -> float:
    """T at any shot, from `known` (shot, T): ln T is linear in ln shot between them; 1 if none is known."""
    if not known:
        return 1.0
    shots, logs = np.log(np.array(sorted(known), dtype=np.float64)).T
    return math.exp(float(np.interp(math.log(shot), shots, logs)))


@dataclass(frozen=True)
class OpenSet:
    """P(none) = sigmoid(slope · (threshold − likeness)) of the likeness to the nearest prototype.

    The probability assumes that every other image is of none of the classes.
    """

    prototypes: Tensor  # (N, D) of length 1
    threshold: float
    slope: float

    def none(self, features: Tensor) -> Tensor:
        """(B,) float64: the probability that embedded features (B, D) are of none of the classes."""
        likeness = (F.normalize(features, dim=-1) @ self.prototypes.T).amax(-1).double()
        return torch.sigmoid(self.slope * (self.threshold - likeness))


def fit_open_set(support: Support) -> OpenSet | None:
    """Support images left out serve as known ones, and left out with their class as unlike ones.

    Logistic regression of the two kinds, of equal weight, gives threshold and slope; half the square of the
    slope over a deviation is added to its loss, or a few images far apart by chance would make it certain.

    Returns:
        None where no class has two images: then it is not known how similar images of one class are.
    """
    if not (support.counts() > 1).any():
        return None
    return open_set_of(support, *likenesses(support))


def open_set_of(support: Support, known: Tensor, unlike: Tensor) -> OpenSet:
    """From the `likenesses` of support images, some of whose classes have several."""
    counts = support.counts()
    several = counts[support.labels] > 1
    share = 1 / counts[support.labels].double()  # classes count the same, however many images they have
    threshold, slope = _logistic(
        known[several].numpy(), unlike.numpy(), share[several].numpy(), share.numpy()
    )
    unit = F.normalize(support.features, dim=-1)
    sums = torch.zeros(support.way, unit.shape[1]).index_add_(0, support.labels, unit)
    return OpenSet(F.normalize(sums, dim=-1), threshold, slope)


def likenesses(support: Support) -> tuple[Tensor, Tensor]:
    """(S,) each, float64: the likeness that new images of the classes, and of others, are expected to have.

    Left out, a class has an image less and there is a class less to be like. Both are corrected for:

    - Of images whose cosine with each other is c on average, a new one has the cosine c √(n / (1 + (n−1)c))
      with the mean of n. What is measured with n − 1 is multiplied by the quotient of the two.
    - Of N − 1 cosines the largest is that of N, less a share: as with exponential tails, the mean gap that
      dropping one more would leave, times (N−1)/N. That is the gap between the two largest, divided by N.

    The first is nan for the only image of a class.
    """
    unit, labels, way = F.normalize(support.features.double(), dim=-1), support.labels, support.way
    sums = torch.zeros(way, unit.shape[1], dtype=unit.dtype).index_add_(0, labels, unit)
    n = support.counts().double()
    cosines = unit @ F.normalize(sums, dim=-1).T  # (S, N)
    others = cosines.masked_fill(F.one_hot(labels, way).bool(), -torch.inf).sort(descending=True).values
    other = others[:, 0]
    gap = other - others[:, 1] if way > 2 else torch.zeros_like(other)  # of two none can be dropped
    similarity = ((sums.square().sum(-1) - n) / (n * (n - 1))).clamp(
        min=1e-3
    )  # c of each class; nan for n = 1
    more = (n / (n - 1) * (1 + (n - 2) * similarity) / (1 + (n - 1) * similarity)).sqrt()
    itself = (unit * F.normalize(sums[labels] - unit, dim=-1)).sum(-1) * more[labels]
    return torch.maximum(itself, other).clamp(max=1), (other + gap / way).clamp(max=1)


def _logistic(known: Floats, unlike: Floats, of_known: Floats, of_unlike: Floats) -> tuple[float, float]:
    """(threshold, slope) from likenesses and their shares; each kind has half the weight."""
    from scipy.optimize import minimize
    from scipy.special import expit

    likeness, sign = np.r_[known, unlike], np.r_[np.ones(len(known)), -np.ones(len(unlike))]
    weight = np.r_[of_known / of_known.sum(), of_unlike / of_unlike.sum()] / 2
    middle = float(weight @ likeness)
    deviation = max(float(weight @ (likeness - middle) ** 2) ** 0.5, 1e-6)
    scaled = (likeness - middle) / deviation
    total = (of_known.sum() + of_unlike.sum()) ** 2 / ((of_known**2).sum() + (of_unlike**2).sum())

    def loss(line: Floats) -> tuple[float, Floats]:
        margin = sign * (line[0] * scaled + line[1])
        pull = -sign * weight * total * expit(-margin)
        value = total * float(weight @ np.logaddexp(0, -margin)) + float(line[0]) ** 2 / 2
        return value, np.array([pull @ scaled + line[0], pull.sum()])

    line = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(_FLATTEST, None), (None, None)]
    )
    slope, offset = (float(x) for x in line.x)
    return middle - offset / slope * deviation, slope / deviation
