"""Hard tasks drawn as AdaBoost draws its training examples.

The weak learner of round r is the network as it is then; that of round 0 is the pretrained backbone. A round
is a meta-test of a pool of tasks, after which the units with the larger errors weigh more. Units are tasks,
classes or pairs of classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.config.hard_tasks import BoostedPool
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.episode import EpisodeBatch, Outcome, Round
from mtl.episodes.pairs import pair_count, pair_index, pair_members, places
from mtl.runtime.seeds import derive_seed, generator
from mtl.samplers.boosting import boost
from mtl.samplers.mixed import MixedSampler
from mtl.samplers.weighted_draw import Floats, PairDraw, UnitDraw

META_TEST = "meta-test"


class BoostedPoolSampler(MixedSampler):
    """Hard episodes drawn by AdaBoost's weights of tasks, classes or pairs of classes."""

    options: BoostedPool
    state = (*MixedSampler.state, "weights", "pools")

    def prepare(self) -> None:
        seed = derive_seed(self.seed, META_TEST)
        self.pools = CategoriesSampler.of(self.index, self.shape, seed, origin=META_TEST)
        self.fixed = self.pools.draw(self.options.pool) if self.options.unit == "task" else None
        self.units = units_of(self.options.unit, len(self.index), self.fixed)
        self.weights = torch.full((len(self.units),), 1 / len(self.units), dtype=torch.float64)

    def request(self, step: int) -> EpisodeBatch | None:
        """Every `every` steps: new uniform tasks; where tasks carry the weights, those, with fresh images."""
        if step % self.schedule.every:
            return None
        if self.fixed is None:
            return self.pools.draw(self.options.pool)
        images = [
            self._images(c, u, generator(self.seed, META_TEST, self.rounds, u))
            for u, c in enumerate(self.fixed.classes)
        ]
        return EpisodeBatch.of(self.fixed.classes, torch.stack(images), self.shape.shot, META_TEST)

    def receive(self, request: EpisodeBatch | Tensor, measured: Outcome | Tensor) -> Round:
        """One round of boosting by the meta-test of a pool."""
        assert isinstance(request, EpisodeBatch)
        assert isinstance(measured, Outcome)
        errors, visited = self.units.errors(request, measured)
        way = 2 if self.options.unit == "pair" else self.shape.way  # a pair's error is that of a two-way task
        step = boost(self.weights, errors, visited, self.options, way)
        self.weights = step.weights
        self.units.set_weights(self.weights)
        self.rounds += 1
        return Round(
            self.rounds - 1,
            self.options.unit,
            len(request),
            float(measured.accuracy.mean()),
            self.schedule.share_at(self.drawn),
            step.epsilon,
            step.alpha,
            self.weights,
            self.units.members,
        )

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        """Training episodes move no weight."""

    def ready(self) -> bool:
        return self.rounds > 0

    def chosen(self, number: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        unit, classes = self.units.draw(self.shape.way, random)
        return classes, self._images(classes, unit, random)

    def _images(self, classes: Tensor, unit: int | None, random: torch.Generator) -> Tensor:
        """(N, K+Q): fresh ones, or those that the task of the pool had at first."""
        if self.options.fresh or self.fixed is None or unit is None:
            return self.index.draw_episode(classes, self.shape.shot, self.shape.queries, random)
        return torch.cat([self.fixed.support[unit], self.fixed.query[unit]], -1)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.units.set_weights(self.weights)


class Units:
    """U units that carry weights; here every class, of which a task is N without replacement."""

    drawing: UnitDraw | PairDraw

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def __len__(self) -> int:
        return self.classes

    def set_weights(self, weights: Tensor) -> None:
        """Draws follow these (U,) from now on."""
        self.drawing = UnitDraw(weights)

    def errors(self, pool: EpisodeBatch, outcome: Outcome) -> tuple[Tensor, Tensor]:
        """Errors (U,) in [0, 1] of a meta-tested pool, and which units it visited (U,) bool."""
        return class_errors(pool.classes, outcome, self.classes)

    def draw(self, way: int, generator: torch.Generator) -> tuple[int | None, Tensor]:
        """Classes (N,) of a task, and its unit where units are tasks."""
        return None, self.drawing.draw(way, generator)

    def members(self, units: Tensor) -> Tensor:
        """Classes (k, m) of the units (k,)."""
        return units[:, None]


class TaskUnits(Units):
    """The fixed tasks of the pool, by their classes (U, N)."""

    def __init__(self, tasks: Tensor) -> None:
        self.tasks = tasks
        self.numbers = torch.arange(len(tasks))

    def __len__(self) -> int:
        return len(self.tasks)

    def errors(self, pool: EpisodeBatch, outcome: Outcome) -> tuple[Tensor, Tensor]:
        return task_errors(self.numbers, outcome, len(self))

    def draw(self, way: int, generator: torch.Generator) -> tuple[int | None, Tensor]:
        unit = int(self.drawing.draw(1, generator))
        return unit, self.tasks[unit]

    def members(self, units: Tensor) -> Tensor:
        return self.tasks[units]


class PairUnits(Units):
    """Every pair of classes; a task is drawn greedily, pair by pair."""

    def __len__(self) -> int:
        return pair_count(self.classes)

    def set_weights(self, weights: Tensor) -> None:
        self.drawing = PairDraw(weights)

    def errors(self, pool: EpisodeBatch, outcome: Outcome) -> tuple[Tensor, Tensor]:
        return pair_errors(pool.classes, outcome, self.classes)

    def members(self, units: Tensor) -> Tensor:
        return pair_members(units, self.classes)


def units_of(kind: str, classes: int, tasks: EpisodeBatch | None) -> Units:
    """The units that a config names: `task`, `class` or `pair`."""
    if tasks is not None:
        return TaskUnits(tasks.classes)
    return Units(classes) if kind == "class" else PairUnits(classes)


def task_errors(units: Tensor, outcome: Outcome, count: int) -> tuple[Tensor, Tensor]:
    """1 - accuracy. `units` (T,) int64: which of `count` tasks each row of the outcome is."""
    return _means(units, 1 - _double(outcome.accuracy), count)


def class_errors(classes: Tensor, outcome: Outcome, count: int) -> tuple[Tensor, Tensor]:
    """1 - recall. `classes` (T, N) int64: numbers 0..C-1 (not ids of the image set); `count`: C."""
    return _means(classes, 1 - _double(outcome.recall), count)


def pair_errors(classes: Tensor, outcome: Outcome, count: int) -> tuple[Tensor, Tensor]:
    """Errors of two-way tasks {i, j}: the mean of P(j|i) / (P(i|i) + P(j|i)) and P(i|j) / (P(j|j) + P(i|j)).

    Of the probability that queries of a class gave to the pair, the share that went to the wrong one. What
    went to other classes says nothing about the pair and is left out, so that chance is ½ whatever N is, and
    the rule of two-way tasks applies. Queries that gave the pair nothing at all count as chance.

    `classes` (T, N) int64: numbers 0..C-1 (not ids of the image set); `count`: C. Units are the C(C-1)/2
    pairs of `mtl.episodes.pairs`.
    """
    i, j = places(classes.shape[1])
    confusion = _double(outcome.confusion)
    either = (_two_way(confusion, i, j) + _two_way(confusion, j, i)) / 2
    one, other = (torch.from_numpy(classes.numpy()[:, k]) for k in (i, j))
    return _means(pair_index(one, other, count), either, pair_count(count))


def _two_way(confusion: Floats, own: NDArray[np.intp], other: NDArray[np.intp]) -> Floats:
    """(T, P): the share of `other` in what queries of `own` gave to either, from the table (T, N, N)."""
    right, wrong = confusion[:, own, own], confusion[:, own, other]
    total = right + wrong
    return np.divide(wrong, total, out=np.full_like(total, 0.5), where=total != 0)


def _means(units: Tensor, errors: Floats, count: int) -> tuple[Tensor, Tensor]:
    """The mean error of each unit visited; `units` and `errors` have the same shape.

    Rounding is trimmed, nan is not: `boost` refuses it.
    """
    visited = units.flatten().numpy()
    if np.array_equal(visited, np.arange(count)):  # a fixed pool of tasks: nothing to count or to add up
        return torch.from_numpy(errors.ravel().clip(0, 1)), torch.from_numpy(np.ones(count, dtype=np.bool_))
    visits = np.bincount(visited, minlength=count)
    if visits.size != count:
        raise ValueError(f"unit {visits.size - 1} visited, but there are only {count}")
    means = np.bincount(visited, errors.ravel(), minlength=count)
    means[visited] = (means[visited] / visits[visited]).clip(0, 1)  # the right side first: once for each unit
    return torch.from_numpy(means), torch.from_numpy(visits > 0)


def _double(values: Tensor) -> Floats:
    return values.numpy().astype(np.float64)
