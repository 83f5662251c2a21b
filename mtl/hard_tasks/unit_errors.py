"""From a round's outcome to the error of each unit, as `boost` takes it.

Every function returns (errors, visited): (U,) float64 in [0, 1], 0 where not visited, and (U,) bool. A unit
that was met several times in the round has the mean of its errors.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.hard_tasks.pairs import pair_count, pair_index, places

if TYPE_CHECKING:  # the samplers of mtl.episodes call this module
    from mtl.episodes.types import Outcome

Floats = NDArray[np.float64]


def task_errors(units: Tensor, outcome: "Outcome", count: int) -> tuple[Tensor, Tensor]:
    """1 - accuracy. `units` (T,) int64: which of `count` tasks each row of the outcome is."""
    return _means(units, 1 - _double(outcome.accuracy), count)


def class_errors(classes: Tensor, outcome: "Outcome", count: int) -> tuple[Tensor, Tensor]:
    """1 - recall. `classes` (T, N) int64: unit numbers 0..C-1 (not ids of the image set); `count`: C."""
    return _means(classes, 1 - _double(outcome.recall), count)


def pair_errors(classes: Tensor, outcome: "Outcome", count: int) -> tuple[Tensor, Tensor]:
    """Errors of two-way tasks {i, j}: the mean of P(j|i) / (P(i|i) + P(j|i)) and P(i|j) / (P(j|j) + P(i|j)).

    Of the probability that queries of a class gave to the pair, the share that went to the wrong one. What
    went to other classes says nothing about the pair and is left out, so that chance is ½ whatever N is, and
    `BoostRule(way=2, ...)` applies. Queries that gave the pair nothing at all count as chance.

    `classes` (T, N) int64: class numbers 0..C-1 (not ids of the image set); `count`: C. Units are the
    C(C-1)/2 pairs of `mtl.hard_tasks.pairs`.
    """
    i, j = places(classes.shape[1])
    confusion = _double(outcome.confusion)
    either = (_two_way(confusion, i, j) + _two_way(confusion, j, i)) / 2
    one, other = (torch.from_numpy(classes.numpy()[:, k]) for k in (i, j))
    return _means(pair_index(one, other, count), either, pair_count(count))


def _two_way(confusion: Floats, own: NDArray[np.intp], other: NDArray[np.intp]) -> Floats:
    """(T, P): the share of other in what queries of `own` gave to either, from the table (T, N, N)."""
    right, wrong = confusion[:, own, own], confusion[:, own, other]
    total = right + wrong
    return np.divide(wrong, total, out=np.full_like(total, 0.5), where=total != 0)


def _means(units: Tensor, errors: Floats, count: int) -> tuple[Tensor, Tensor]:
    """The mean error of each unit met; `units` and `errors` of one shape.

    Rounding is trimmed, nan is not: `boost` refuses it.
    """
    met = units.flatten().numpy()
    if np.array_equal(met, np.arange(count)):  # a fixed pool of tasks: nothing to count or to add up
        return torch.from_numpy(errors.ravel().clip(0, 1)), torch.from_numpy(np.ones(count, dtype=np.bool_))
    visits = np.bincount(met, minlength=count)
    if visits.size != count:
        raise ValueError(f"unit {visits.size - 1} met, but there are only {count}")
    means = np.bincount(met, errors.ravel(), minlength=count)
    means[met] = (means[met] / visits[met]).clip(0, 1)  # the right is worked out first: once for each unit
    return torch.from_numpy(means), torch.from_numpy(visits > 0)


def _double(values: Tensor) -> Floats:
    return values.numpy().astype(np.float64)
