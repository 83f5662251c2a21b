"""What carries a boosting weight, and how a task is drawn from the weights."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.episodes.pairs import pair_count, pair_index, pair_members, places
from mtl.samplers.weighted_draw import PairDraw, UnitDraw

if TYPE_CHECKING:  # the samplers of mtl.episodes call this module
    from mtl.episodes.episode import Outcome


class Units(Protocol):
    """U units with weights."""

    def __len__(self) -> int: ...

    def set_weights(self, weights: Tensor) -> None:
        """Draws follow these (U,) from now on."""
        ...

    def errors(self, pool: EpisodeBatch, outcome: Outcome) -> tuple[Tensor, Tensor]:
        """Errors (U,) in [0, 1] of a meta-tested pool, and which units it visited (U,) bool."""
        ...

    def draw(self, way: int, generator: torch.Generator) -> tuple[int | None, Tensor]:
        """Classes (N,) of a task, and the unit it is where units are tasks."""
        ...

    def members(self, units: Tensor) -> Tensor:
        """Classes (k, m) of the units (k,)."""
        ...


class TaskUnits:
    """The fixed tasks of the pool."""

    def __init__(self, tasks: Tensor) -> None:
        self.tasks = tasks  # (U, N)
        self.numbers = torch.arange(len(tasks))

    def __len__(self) -> int:
        return len(self.tasks)

    def set_weights(self, weights: Tensor) -> None:
        self.drawing = UnitDraw(weights)

    def errors(self, pool: EpisodeBatch, outcome: Outcome) -> tuple[Tensor, Tensor]:
        return task_errors(self.numbers, outcome, len(self))

    def draw(self, way: int, generator: torch.Generator) -> tuple[int | None, Tensor]:
        unit = int(self.drawing.draw(1, generator))
        return unit, self.tasks[unit]

    def members(self, units: Tensor) -> Tensor:
        return self.tasks[units]


class ClassUnits:
    """Every class; a task is N of them without replacement."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def __len__(self) -> int:
        return self.classes

    def set_weights(self, weights: Tensor) -> None:
        self.drawing = UnitDraw(weights)

    def errors(self, pool: EpisodeBatch, outcome: Outcome) -> tuple[Tensor, Tensor]:
        return class_errors(pool.classes, outcome, self.classes)

    def draw(self, way: int, generator: torch.Generator) -> tuple[int | None, Tensor]:
        return None, self.drawing.draw(way, generator)

    def members(self, units: Tensor) -> Tensor:
        return units[:, None]


class PairUnits:
    """Every pair of classes; a task is drawn greedily, pair by pair."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def __len__(self) -> int:
        return pair_count(self.classes)

    def set_weights(self, weights: Tensor) -> None:
        self.drawing = PairDraw(weights)

    def errors(self, pool: EpisodeBatch, outcome: Outcome) -> tuple[Tensor, Tensor]:
        return pair_errors(pool.classes, outcome, self.classes)

    def draw(self, way: int, generator: torch.Generator) -> tuple[int | None, Tensor]:
        return None, self.drawing.draw(way, generator)

    def members(self, units: Tensor) -> Tensor:
        return pair_members(units, self.classes)


def units_of(kind: str, classes: int, tasks: EpisodeBatch | None) -> Units:
    """The units that a config names: `task`, `class` or `pair`."""
    if tasks is not None:
        return TaskUnits(tasks.classes)
    return ClassUnits(classes) if kind == "class" else PairUnits(classes)


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
    C(C-1)/2 pairs of `mtl.episodes.pairs`.
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
