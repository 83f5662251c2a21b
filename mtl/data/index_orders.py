"""The order in which the items of one set come, pass after pass, and where in it a sampler stands.

A pass is a pure function of the seed and its number, so that resuming takes two numbers and no past draws.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from mtl.data.class_imbalance import effective_number, inverse_frequency
from mtl.data.dataset_labels import Labels, as_labels
from mtl.runtime.seeds import generator

Weighting = Literal["inverse", "effective"]


class Order(Protocol):
    """Items 0..size-1 of a set, so many a pass; any pass may be asked for at any time."""

    size: int

    def __len__(self) -> int:
        """Items of a pass, the same for every rank."""
        ...

    def items(self, number: int) -> Tensor:
        """(n,) int64: the items of pass `number`."""
        ...


class ShuffledOrder:
    """Every item once a pass, shuffled anew each time.

    Ranks share a pass out: none has an item of another's, and all have as many. What cannot be shared out
    evenly is left over, other items in each pass.

    Args:
        count: items of the set.
        seed: the same on all ranks.
        rank, world: which of how many ranks this is.

    Raises:
        ValueError: no such rank, or fewer items than ranks.
    """

    def __init__(self, count: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.size, self.seed, self.rank, self.world = count, seed, rank, world
        self._length = _share(count, rank, world)

    def __len__(self) -> int:
        return self._length

    def items(self, number: int) -> Tensor:
        """(n,) int64: the items of pass `number`."""
        order = torch.randperm(self.size, generator=generator(self.seed, "order", number))
        return order[self.rank :: self.world][: self._length]


class BalancedOrder:
    """Items with replacement: a class by its images and their weight, then an image of it uniformly.

    An image weighs 1/n where its class has n ("inverse"), which makes all classes equally likely, or
    (1 − β)/(1 − βⁿ) ("effective"), which lies between that (β → 1) and no weights at all (β = 0).

    Ranks share out the images of each class in every pass anew, so that no two draw the same image in a pass.
    A class with fewer images than there are ranks is shared by all: some rank would never see it otherwise.

    Args:
        labels: (M,) class of each item, any integers; or the data set, where it keeps them (`labels_of`).
        weighting, beta: the weight of an image; β goes with "effective" alone.
        seed: the same on all ranks.
        count: items of a pass, all ranks together; M unless given.
        rank, world: which of how many ranks this is.

    Raises:
        TypeError: labels that are neither a row nor a data set.
        ValueError: labels that are not integers, no such weighting, β outside [0, 1), no such rank, or fewer
            items than ranks.
    """

    def __init__(
        self,
        labels: Labels,
        weighting: Weighting = "inverse",
        beta: float = 0.9999,
        seed: int = 0,
        count: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        row = as_labels(labels)
        if weighting not in ("inverse", "effective"):
            raise ValueError(f"weighting = {weighting!r} must be 'inverse' or 'effective'")
        self.size, self.seed, self.rank, self.world = len(row), seed, rank, world
        self._length = _share(len(row) if count is None else count, rank, world)
        self._members = _sorted_rows(row)  # class by class
        _, counts = torch.unique_consecutive(row[self._members], return_counts=True)
        weights = inverse_frequency(counts) if weighting == "inverse" else effective_number(counts, beta)
        self._up_to = (counts * weights).cumsum(0)  # float64
        self._first = counts.cumsum(0) - counts
        self._stride = torch.where(counts < world, 1, world)
        self._offset = torch.where(counts < world, 0, rank)
        self._mine = (counts - self._offset + self._stride - 1) // self._stride  # images of this rank
        self._class_of = torch.arange(len(counts)).repeat_interleave(counts) if world > 1 else None

    def __len__(self) -> int:
        return self._length

    def items(self, number: int) -> Tensor:
        """(n,) int64: the items of pass `number`."""
        random = generator(self.seed, "balanced", number, self.rank)
        # float64 and a search: torch.multinomial refuses more than 2^24 items, and float32 would miss some
        by_class, by_image = torch.rand(2, self._length, dtype=torch.float64, generator=random)
        drawn = torch.searchsorted(self._up_to, by_class * self._up_to[-1], right=True)
        place = self._offset[drawn] + (by_image * self._mine[drawn]).long() * self._stride[drawn]
        return self._dealt(number)[self._first[drawn] + place]

    def _dealt(self, number: int) -> Tensor:
        """(M,) the items class by class, in each class shuffled; the same on all ranks."""
        if self._class_of is None:
            return self._members
        shuffled = torch.randperm(self.size, generator=generator(self.seed, "deal", number))
        return self._members[shuffled[_sorted_rows(self._class_of[shuffled])]]


class Passes:
    """The passes of an order one after the other, without end. The pass read last is kept."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._pass, self._number = torch.empty(0, dtype=torch.int64), -1

    def take(self, start: int, count: int) -> Tensor:
        """(count,) int64: the items from place `start` on, over the ends of passes where need be."""
        parts = [self._pass[:0]]
        while count > 0:
            number, at = divmod(start, len(self.order))
            if number != self._number:
                self._pass, self._number = self.order.items(number), number
            parts.append(self._pass[at : at + count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return torch.cat(parts)


class Bookmark:
    """Where a sampler stands: in which pass, and how much of it has been taken.

    Args:
        length: of every pass.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._at = self._next = (0, 0)

    def walk(self) -> Iterator[tuple[int, int]]:
        """(pass, place) of what is left of the next pass; one that is broken off counts as well."""
        number, first = self._next
        self._at, self._next = self._next, (number + 1, 0)
        for place in range(first, self.length):
            self._at = (number, place + 1)
            yield number, place

    def set_epoch(self, epoch: int) -> None:
        """The next pass is number `epoch`, from its start; or from where a state just loaded stands in it."""
        self._at = self._next = self._next if epoch == self._next[0] else self._checked(epoch, 0)

    def state_dict(self, taken: int | None = None) -> dict[str, int]:
        """`taken`: how much of this pass, from its start, was used; all that was given out unless given."""
        number, place = self._checked(self._at[0], self._at[1] if taken is None else taken)
        return {"epoch": number, "taken": place}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._at = self._next = self._checked(int(state["epoch"]), int(state["taken"]))

    def _checked(self, number: int, taken: int) -> tuple[int, int]:
        if number < 0 or not 0 <= taken <= self.length:
            raise ValueError(f"epoch = {number}, taken = {taken}: an epoch has 0 to {self.length} to take")
        return (number + 1, 0) if taken == self.length else (number, taken)


def _sorted_rows(classes: Tensor) -> Tensor:
    """`classes.argsort(stable=True)`, for integers several times faster."""
    return torch.from_numpy(classes.numpy().argsort(kind="stable"))


def _share(count: int, rank: int, world: int) -> int:
    """How many of `count` items each rank has of a pass."""
    if not 0 <= rank < world:
        raise ValueError(f"rank = {rank} must be at least 0 and below world = {world}")
    if count < world:
        raise ValueError(f"{count} items a pass are too few for world = {world} ranks")
    return count // world
