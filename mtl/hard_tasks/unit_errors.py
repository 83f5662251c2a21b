"""From a round's outcome to the error of each unit, as `boost` takes it.

Every function returns (errors, visited): (U,) float64 in [0, 1], 0 where not visited, and (U,) bool. A unit
that was met several times in the round has the mean of its errors.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mtl.hard_tasks.pairs import pair_count, pair_index

if TYPE_CHECKING:  # the samplers of mtl.episodes call this module
    from mtl.episodes.types import Outcome


def task_errors(units: Tensor, outcome: "Outcome", count: int) -> tuple[Tensor, Tensor]:
    """1 - accuracy. `units` (T,) int64: which of `count` tasks each row of the outcome is."""
    return _means(units, 1 - outcome.accuracy.double(), count)


def class_errors(classes: Tensor, outcome: "Outcome", count: int) -> tuple[Tensor, Tensor]:
    """1 - recall. `classes` (T, N) int64: unit numbers 0..C-1 (not ids of the image set); `count`: C."""
    return _means(classes.flatten(), 1 - outcome.recall.double().flatten(), count)


def pair_errors(classes: Tensor, outcome: "Outcome", count: int) -> tuple[Tensor, Tensor]:
    """Mean of P(j|i) and P(i|j): the probability that queries of either class get for the other.

    `classes` (T, N) int64: class numbers 0..C-1 (not ids of the image set); `count`: C. Units are the
    C(C-1)/2 pairs of `mtl.hard_tasks.pairs`. Chance is 1/N here, not 1 - 1/N as for tasks and classes.
    """
    i, j = torch.triu_indices(classes.shape[1], classes.shape[1], offset=1)
    confusion = outcome.confusion.double()
    either = (confusion[:, i, j] + confusion[:, j, i]) / 2
    units = pair_index(classes[:, i], classes[:, j], count)
    return _means(units.flatten(), either.flatten(), pair_count(count))


def _means(units: Tensor, errors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The mean error of each unit met. Rounding is trimmed, nan is not: `boost` refuses it."""
    visits = torch.bincount(units, minlength=count)
    if visits.numel() != count:
        raise ValueError(f"unit {visits.numel() - 1} met, but there are only {count}")
    errors = torch.bincount(units, errors, minlength=count).div_(visits.clamp_min(1)).clamp_(0, 1)
    return errors, visits > 0
