"""The order of a set's items, pass after pass: shuffled, or balanced by class; and samplers that resume.

A pass is a pure function of the seed and its number, so that resuming takes two numbers and no past draws.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.utils.data import Sampler

from mtl.data.class_imbalance import effective_number, inverse_frequency
from mtl.data.dataset_labels import Labels, as_labels, whole_number
from mtl.runtime.seeds import generator

Weighting = Literal["inverse", "effective"]


class Order(Protocol):
    """Items 0..size-1 of a set in passes of equal length; any pass can be computed at any time."""

    size: int

    def __len__(self) -> int:
        """Items of a pass, the same for every rank."""
        ...

    def items(self, number: int) -> Tensor:
        """(n,) int64: the items of pass `number`."""
        ...


class ShuffledOrder:
    """Every one of `count` items once a pass, shuffled anew each time.

    This is rank `rank` of `world`, all with the same seed. They divide a pass: no two have an item in common,
    and all have equally many. The remainder is left out, other items in each pass. ValueError if there are
    fewer items than ranks.
    """

    def __init__(self, count: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.size, self.seed, self.rank, self.world = count, seed, rank, world
        self._length = _share(count, rank, world)

    def __len__(self) -> int:
        return self._length

    def items(self, number: int) -> Tensor:
        order = torch.randperm(self.size, generator=generator(self.seed, "order", number))
        return order[self.rank :: self.world][: self._length]


class BalancedOrder:
    """Items with replacement: a class by its images and their weight, then an image of it uniformly.

    An image weighs 1/n where its class has n ("inverse"), which makes all classes equally likely, or
    (1 − β)/(1 − βⁿ) ("effective"), between that (β → 1) and equal weights (β = 0).

    Ranks divide the images of each class anew in every pass, so that no two draw the same image in a pass.
    A class with fewer images than ranks is shared by all: some rank would never see it otherwise.

    Args:
        labels: (M,) class of each item, any integers; or a data set that stores them (`labels_of`).
        weighting, beta: the weight of an image; β in [0, 1) belongs to "effective".
        seed: the same on all ranks.
        count: items of a pass, all ranks together; M unless given.
        rank, world: this rank, and the number of ranks.

    Raises:
        TypeError, ValueError: labels that are not integers, or arguments outside these ranges.
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


def _sorted_rows(classes: Tensor) -> Tensor:
    """`classes.argsort(stable=True)`, for integers several times faster."""
    return torch.from_numpy(classes.numpy().argsort(kind="stable"))


def _share(count: int, rank: int, world: int) -> int:
    """How many of `count` items a pass each rank has."""
    if not 0 <= rank < world:
        raise ValueError(f"rank = {rank} must be at least 0 and below world = {world}")
    if count < world:
        raise ValueError(f"{count} items a pass are too few for world = {world} ranks")
    return count // world


class Passes:
    """The passes of an order one after the other, without end. The pass read last is cached."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._pass, self._number = torch.empty(0, dtype=torch.int64), -1

    def take(self, start: int, count: int) -> Tensor:
        """(count,) int64: the items from position `start` on, across passes if necessary."""
        parts = [self._pass[:0]]
        while count > 0:
            number, at = divmod(start, len(self.order))
            if number != self._number:
                self._pass, self._number = self.order.items(number), number
            parts.append(self._pass[at : at + count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return torch.cat(parts)


class Resumable:
    """The position of a sampler: its epoch, and how many items (or batches) of it were given out.

    Each iteration over the sampler is the next epoch, also after one that was broken off.

    Args:
        length: of every epoch.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._at = self._next = (0, 0)

    def __len__(self) -> int:
        return self._length

    def walk(self) -> Iterator[tuple[int, int]]:
        """(epoch, place) of what is left of the next epoch."""
        epoch, first = self._next
        self._at, self._next = self._next, (epoch + 1, 0)
        for place in range(first, self._length):
            self._at = (epoch, place + 1)
            yield epoch, place

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is epoch number `epoch`.

        Right after `load_state_dict`, the epoch of that state continues from the saved position.
        """
        self._at = self._next = self._next if epoch == self._next[0] else self._checked(epoch, 0)

    def state_dict(self, taken: int | None = None) -> dict[str, int]:
        """{"epoch", "taken"}: the epoch, and how much of it was given out.

        The workers of a DataLoader draw ahead of the training loop. `taken` says how much of the epoch the
        loop has used, counted from the epoch's start.
        """
        epoch, place = self._checked(self._at[0], self._at[1] if taken is None else taken)
        return {"epoch": epoch, "taken": place}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next iteration is the rest of the epoch of this state."""
        self._at = self._next = self._checked(int(state["epoch"]), int(state["taken"]))

    def _checked(self, epoch: int, taken: int) -> tuple[int, int]:
        if epoch < 0 or not 0 <= taken <= self._length:
            raise ValueError(
                f"epoch = {epoch}, taken = {taken}: epoch must be at least 0, taken 0 to {self._length}"
            )
        return (epoch + 1, 0) if taken == self._length else (epoch, taken)


class ImbalancedSampler(Resumable, Sampler[int]):
    """Items drawn with replacement, each by the weight of its class, for the `sampler` of any DataLoader.

        loader = DataLoader(images, batch_size=64, sampler=ImbalancedSampler(images))

    "inverse" makes all classes that have items equally likely, "effective" weighs by the effective number of
    images (Cui et al., CVPR 2019), which balances less the smaller β is; see BalancedOrder, also for ranks.
    An epoch depends only on (labels, arguments, its number).

    Arguments are those of BalancedOrder; `seed` may be a generator, whose initial seed counts.
    """

    def __init__(
        self,
        labels: Labels,
        weighting: Weighting = "inverse",
        beta: float = 0.9999,
        count: int | None = None,
        seed: int | torch.Generator = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if count is not None:
            count = whole_number("count", count, 0)
        number = seed.initial_seed() if isinstance(seed, torch.Generator) else seed
        self.order = BalancedOrder(labels, weighting, beta, number, count, rank, world)
        super().__init__(len(self.order))

    def __iter__(self) -> Iterator[int]:
        items: list[int] = []
        for number, place in self.walk():
            items = items or self.order.items(number).tolist()
            yield items[place]


_MISTAKEN = (
    "a whole batch of indices was used as one index: this sampler yields batches, so give it to the "
    "DataLoader as batch_sampler=, not as sampler=, and without batch_size"
)


class IndexBatch(list[int]):
    """A batch of indices, as a batch sampler yields it; complains if it is used as a single index.

    A DataLoader that gets a batch sampler as `sampler=` takes each batch for the index of one item. Data sets
    then fail with whatever a list provokes; ConcatDataset, and any list, with the sentence above.
    """

    def __lt__(self, other: object) -> bool:
        if isinstance(other, int):  # ConcatDataset checks for negative indices
            raise TypeError(_MISTAKEN)
        return super().__lt__(other)  # type: ignore[operator]

    def __index__(self) -> int:
        raise TypeError(_MISTAKEN)
