"""What carries a boosting weight, and how a task is drawn from the weights."""

from typing import Protocol

import torch
from torch import Tensor

from mtl.episodes.types import EpisodeBatch, Outcome
from mtl.hard_tasks.draws import PairDraw, UnitDraw
from mtl.hard_tasks.pairs import pair_count, pair_members
from mtl.hard_tasks.unit_errors import class_errors, pair_errors, task_errors


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
