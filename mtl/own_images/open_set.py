"""The probability that an image is of none of the classes, judged by the support images.

The measure is the largest cosine of an image's feature with a prototype, the mean of a class's unit features.
On validation tasks of CIFAR-FS and glyphs, of 1 to 20 shots, it separated known from unknown as well as or
better than margins, softmax probabilities, energies and the nearest support images did.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mtl.own_images.support import Support

Floats = NDArray[np.float64]

_FLATTEST = 0.1  # slope over a deviation of likeness, where unlike images are as similar as known ones


@dataclass(frozen=True)
class OpenSet:
    """P(none) = sigmoid(slope · (threshold − likeness)) of the likeness to the nearest prototype.

    It is the probability where every other image is of none of the classes.
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
    slope over a deviation is added to its loss, or few images that happen to lie apart would make it certain.

    Returns:
        None where no class has two images: then it is not known how similar images of one class are.
    """
    counts = support.counts()
    several = counts[support.labels] > 1
    if not several.any():
        return None
    known, unlike = likenesses(support)
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
    alike = ((sums.square().sum(-1) - n) / (n * (n - 1))).clamp(min=1e-3)  # c of each class; nan for n = 1
    more = (n / (n - 1) * (1 + (n - 2) * alike) / (1 + (n - 1) * alike)).sqrt()
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

    found = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(_FLATTEST, None), (None, None)]
    )
    slope, offset = (float(x) for x in found.x)
    return middle - offset / slope * deviation, slope / deviation
