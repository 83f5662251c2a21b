"""Batches out of several image sets: each of one set, or each with so many items of every set."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Sampler

from mtl.data.dataset_labels import whole_number
from mtl.data.index_batch import IndexBatch
from mtl.data.index_orders import Bookmark, Order, Passes, ShuffledOrder
from mtl.runtime.seeds import derive_seed, generator

Schedule = Literal["round_robin", "proportional", "temperature"]

_SLACK = 1e-12  # relative: what rounding may have added to a whole number of batches


class BatchScheduleSampler(Sampler[list[int]]):
    """Batches of indices into a ConcatDataset, for the `batch_sampler` of any DataLoader.

    Without `samples_per_set` a batch is of one set:

    - "round_robin": of the sets in turn, so that all give as many batches;
    - "proportional": of each set as many as its items fill, in whole batches, rounded up (down with
      `drop_last`, yet at least one);
    - "temperature": so for n^(1/T) in place of n items, scaled so that the largest set keeps its own: T = 1
      is proportional, T → ∞ gives all sets as many batches as the largest (Arivazhagan et al., "Massively
      Multilingual Neural Machine Translation in the Wild", 2019).

    The last two spread the batches of a set over the epoch, in an order that is drawn anew each time.

    With `samples_per_set`, (s_1, s_2, ...), every batch holds s_i items of set i, set after set.

    An epoch goes through the largest set (all of them, if several are; with `samples_per_set` the one that
    gives the most batches) exactly once, and its last batch may be short; `drop_last` leaves that out. The
    other sets give full batches: their passes follow each other, within a batch too, and where they stand
    carries over to the next epoch. All epochs have as many batches.

    Everything follows from (seed, epoch, place): `batch` and `batch_at` give any batch at any time, quickly
    where one is asked for after the other. Each pass over the sampler is the next epoch.

    Args:
        sets: the ConcatDataset, or what it is of: each set itself, its size, or an Order, e.g. a
            BalancedOrder for batches that are balanced within the set. An order's seed, rank and world are
            its own.
        batch_size: B, on each rank.
        schedule: not to be given along with `samples_per_set`.
        temperature: T > 0, of the schedule "temperature".
        samples_per_set: items of each set in a batch, at least one each, B together.
        drop_last: no short batches.
        seed: the same on all ranks. Set i of several is shuffled by derive_seed(seed, "set", i), a single
            one by the seed itself.
        rank, world: which of how many ranks this is. Ranks share out each pass of a set; they have batches of
            the same sets at the same places.

    Raises:
        TypeError: `sets` are not several sets, such as a single data set.
        ValueError: arguments that do not fit each other, or leave no batch.
    """

    def __init__(
        self,
        sets: ConcatDataset[Any] | Sequence[Dataset[Any] | int | Order],
        batch_size: int,
        schedule: Schedule = "round_robin",
        temperature: float = 1.0,
        samples_per_set: Sequence[int] | None = None,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        _check(schedule, temperature, samples_per_set)
        batch_size = whole_number("batch_size", batch_size, 1)
        orders = _orders(sets, seed, rank, world)
        sizes = [order.size for order in orders]
        self.batch_size, self.schedule, self.seed = batch_size, schedule, seed
        self._first = [sum(sizes[:i]) for i in range(len(sizes))]  # of each set, in the concatenation
        self._passes = [Passes(order) for order in orders]
        self._mixed = samples_per_set is not None
        self._samples = _samples(samples_per_set, len(orders), batch_size)
        fills = [len(order) / s for order, s in zip(orders, self._samples, strict=True)]  # batches of a pass
        self._leads = [fill == max(fills) for fill in fills]
        self._batches = _batches(fills, schedule, temperature, self._mixed, drop_last)
        self._plan, self._planned = (torch.empty(0), torch.empty(0)), -1
        self._length = max(self._batches) if self._mixed else sum(self._batches)
        self._bookmark = Bookmark(self._length)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        for epoch, place in self._bookmark.walk():
            yield IndexBatch(self.batch(epoch, place).tolist())

    def batch(self, epoch: int, place: int) -> Tensor:
        """(B,) int64: the indices of batch `place` of an epoch; fewer than B in a short batch.

        Raises:
            ValueError: an epoch has no such batch.
        """
        parts = self._parts(epoch, place)
        return torch.cat([self._first[i] + self._passes[i].take(at, n) for i, at, n in parts])

    def batch_at(self, step: int) -> Tensor:
        """Batch number `step`, counted on from epoch to epoch."""
        return self.batch(*divmod(step, len(self)))

    def batches(self, epoch: int) -> Iterator[Tensor]:
        """All batches of an epoch."""
        return (self.batch(epoch, place) for place in range(len(self)))

    def set_of(self, epoch: int, place: int) -> Tensor:
        """(B,) int64: from which set each row of batch `place` of an epoch comes."""
        parts = self._parts(epoch, place)
        return torch.cat([torch.full((n,), i) for i, _, n in parts])

    def set_epoch(self, epoch: int) -> None:
        """The next pass over the sampler is epoch number `epoch`.

        Right after `load_state_dict`, the epoch of that state goes on where the state stands in it.
        """
        self._bookmark.set_epoch(epoch)

    def state_dict(self, taken: int | None = None) -> dict[str, int]:
        """{"epoch", "taken"}: the epoch, and how many of its batches were given out.

        The workers of a DataLoader draw ahead of what the training loop has met. `taken` says how many
        batches of the epoch it did meet, those before an earlier resume included.
        """
        return self._bookmark.state_dict(taken)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next pass over the sampler is what is left of the epoch of this state."""
        self._bookmark.load_state_dict(state)

    def _parts(self, epoch: int, place: int) -> list[tuple[int, int, int]]:
        """What a batch is made of: (set, place in the set's endless passes, items)."""
        if epoch < 0 or not 0 <= place < len(self):
            raise ValueError(f"no batch {place} in epoch {epoch}: epochs have {len(self)} batches")
        if self._mixed:
            return [self._part(i, epoch, place) for i in range(len(self._passes))]
        if epoch != self._planned:
            self._plan, self._planned = self._planned_for(epoch), epoch
        sets, numbers = self._plan
        return [self._part(int(sets[place]), epoch, int(numbers[place]))]

    def _part(self, i: int, epoch: int, number: int) -> tuple[int, int, int]:
        """Batch `number` that set i gives in an epoch."""
        samples = self._samples[i]
        if not self._leads[i]:
            return i, (epoch * self._batches[i] + number) * samples, samples
        items = len(self._passes[i].order)
        return i, epoch * items + number * samples, min(samples, items - number * samples)

    def _planned_for(self, epoch: int) -> tuple[Tensor, Tensor]:
        """(M,) the set of each batch of an epoch, and (M,) which of the set's batches it is."""
        counts = torch.tensor(self._batches)
        sets = torch.arange(len(counts)).repeat_interleave(counts)
        numbers = torch.arange(len(sets)) - (counts.cumsum(0) - counts)[sets]
        if self.schedule == "round_robin":
            keys = numbers.double()
        else:  # batch j of m comes somewhere in the j-th m-th of the epoch
            within = torch.rand(
                len(sets), dtype=torch.float64, generator=generator(self.seed, "schedule", epoch)
            )
            keys = (numbers + within) / counts[sets]
        order = keys.argsort(stable=True)
        return sets[order], numbers[order]


def _batches(
    fills: Sequence[float], schedule: Schedule, temperature: float, mixed: bool, drop_last: bool
) -> list[int]:
    """How many batches each set gives an epoch, of how many each pass of it would fill."""
    most = max(fills)
    if drop_last and most < 1:
        raise ValueError("drop_last leaves no batch: no set has items enough for a full one")
    if mixed or schedule == "round_robin":
        wanted = [most] * len(fills)
    else:
        wanted = [most * (fill / most) ** (1 / temperature) for fill in fills]
    whole = [math.floor(w * (1 + _SLACK)) if drop_last else math.ceil(w * (1 - _SLACK)) for w in wanted]
    return [max(batches, 1) for batches in whole]


def _orders(
    sets: ConcatDataset[Any] | Sequence[Dataset[Any] | int | Order], seed: int, rank: int, world: int
) -> list[Order]:
    if isinstance(sets, ConcatDataset):
        sets = [end - start for start, end in pairwise([0, *sets.cumulative_sizes])]
    if not isinstance(sets, list | tuple):
        kind = type(sets).__name__
        raise TypeError(
            f"sets must be a ConcatDataset, or a list of data sets or of their sizes, not {kind}; for a "
            "single set give [the set]"
        )
    if not sets:
        raise ValueError("there must be at least one set")
    found = [_size_or_order(given) for given in sets]
    if (rank, world) != (0, 1) and not all(isinstance(given, int) for given in found):
        raise ValueError("rank and world go into the orders where these are given")
    seeds = [derive_seed(seed, "set", i) for i in range(len(sets))] if len(sets) > 1 else [seed]
    return [
        ShuffledOrder(given, own, rank, world) if isinstance(given, int) else given
        for given, own in zip(found, seeds, strict=True)
    ]


def _size_or_order(given: Any) -> int | Order:
    """An order as it is, a data set by its length."""
    if isinstance(given, int | np.integer):
        return int(given)
    if hasattr(given, "items") and hasattr(given, "size"):
        order: Order = given
        return order
    if hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, str):
        return len(given)
    kind = type(given).__name__
    raise TypeError(f"a set must be a data set that has a length, a number of items, or an order, not {kind}")


def _samples(samples_per_set: Sequence[int] | None, sets: int, batch_size: int) -> list[int]:
    """How many items of each set a batch has, where it has any of it."""
    if samples_per_set is None:
        return [batch_size] * sets
    whole = all(isinstance(count, int | np.integer) and count >= 1 for count in samples_per_set)
    if len(samples_per_set) != sets or not whole or sum(samples_per_set) != batch_size:
        raise ValueError(
            f"samples_per_set = {tuple(samples_per_set)} must be {sets} numbers of at least 1, "
            f"batch_size = {batch_size} together"
        )
    return [int(count) for count in samples_per_set]


def _check(schedule: Schedule, temperature: float, samples_per_set: Sequence[int] | None) -> None:
    if schedule not in ("round_robin", "proportional", "temperature"):
        raise ValueError(f"schedule = {schedule!r} must be 'round_robin', 'proportional' or 'temperature'")
    if samples_per_set is not None and schedule != "round_robin":
        raise ValueError("samples_per_set makes every batch alike, and has no schedule")
    if not temperature > 0:
        raise ValueError(f"temperature = {temperature} must be above 0")
    if temperature != 1 and schedule != "temperature":
        raise ValueError("temperature goes with schedule = 'temperature'")
