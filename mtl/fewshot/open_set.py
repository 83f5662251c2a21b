"""Whether an image is of none of the classes, judged by what the support set says of its own images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.fewshot.support import Support


@dataclass(frozen=True)
class OpenSet:
    """P(none) = sigmoid(slope · (threshold − likeness)) of the likeness to the nearest prototype."""

    prototypes: Tensor  # (N, D) of length 1
    threshold: float
    slope: float

    def none(self, features: Tensor) -> Tensor:
        """(B,) float64: the probability that embedded features (B, D) are of none of the classes."""
        likeness = (F.normalize(features, dim=-1) @ self.prototypes.T).amax(-1).double()
        return torch.sigmoid(self.slope * (self.threshold - likeness))


def fit_open_set(support: Support) -> OpenSet | None:
    """Own images without themselves stand for known ones, and without their class for unlike ones.

    None where no class has two images.
    """
    unit = F.normalize(support.features, dim=-1)
    sums = torch.zeros(support.way, unit.shape[1]).index_add_(0, support.labels, unit)
    likeness = unit @ F.normalize(sums, dim=-1).T  # (S, N)
    own = F.one_hot(support.labels, support.way).bool()
    several = support.counts()[support.labels] > 1
    if not several.any():
        return None
    without = F.normalize(sums[support.labels] - unit, dim=-1)
    others = likeness.masked_fill(own, -1).amax(-1)
    itself = (unit * without).sum(-1)
    known, unlike = torch.maximum(itself, others)[several], others
    middle = float(known.median() + unlike.median()) / 2
    spread = float(torch.cat([known - known.median(), unlike - unlike.median()]).abs().median())
    return OpenSet(F.normalize(sums, dim=-1), middle, 1 / max(spread, 1e-6))
