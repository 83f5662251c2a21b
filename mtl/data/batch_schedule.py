"""Batches from several image sets: each of one set, or each with a fixed number of items of every set."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Sampler

from mtl.data.dataset_labels import whole_number
from mtl.data.index_orders import IndexBatch, Order, Passes, Resumable, ShuffledOrder
from mtl.runtime.seeds import derive_seed, generator

Schedule = Literal["round_robin", "proportional", "temperature"]

_SLACK = 1e-12  # relative: what rounding may have added to a whole number of batches


class BatchScheduleSampler(Resumable, Sampler[list[int]]):
    """Batches of indices into a ConcatDataset, for the `batch_sampler` of any DataLoader.

    Without `samples_per_set` a batch is of one set:

    - "round_robin": the sets in turn, all with equally many batches;
    - "proportional": of each set as many as its items fill, in whole batches, rounded up (down with
      `drop_last`, but at least one);
    - "temperature": the same with n^(1/T) in place of n items, scaled so that the largest set keeps its own:
      T = 1 is proportional, T → ∞ gives all sets as many batches as the largest (Arivazhagan et al.,
      "Massively Multilingual Neural Machine Translation in the Wild", 2019).

    The last two spread the batches of a set over the epoch, in an order that is drawn anew each time.

    With `samples_per_set`, (s_1, s_2, ...), every batch holds s_i items of set i, set after set.

    An epoch goes through the largest set (all of them, if several are; with `samples_per_set` the one that
    gives the most batches) exactly once, and its last batch may be short; `drop_last` leaves that out. The
    other sets give full batches: their passes follow each other, also within a batch, and continue in the
    next epoch. All epochs have equally many batches.

    Everything follows from (seed, epoch, place): `batch` and `batch_at` give any batch at any time, quickly
    if they are called in order. Each iteration over the sampler is the next epoch. For several ranks give
    orders that divide their passes (`ShuffledOrder(count, seed, rank, world)`): ranks then have batches of
    the same sets at the same places.

    Args:
        sets: the ConcatDataset, or its parts: each set itself, its size, or an Order, e.g. a BalancedOrder
            for batches that are balanced within the set; an order has its own seed.
        batch_size: B, on each rank.
        schedule: cannot be combined with `samples_per_set`.
        temperature: T > 0, of the schedule "temperature".
        samples_per_set: items of each set in a batch, at least one each, B together.
        drop_last: no short batches.
        seed: the same on all ranks. Set i of several is shuffled by derive_seed(seed, "set", i), a single
            one by the seed itself.

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
    ) -> None:
        _check(schedule, temperature, samples_per_set)
        batch_size = whole_number("batch_size", batch_size, 1)
        orders = _orders(sets, seed)
        sizes = [order.size for order in orders]
        self.batch_size, self.schedule, self.seed = batch_size, schedule, seed
        self._first = [sum(sizes[:i]) for i in range(len(sizes))]  # of each set, in the concatenation
        self._passes = [Passes(order) for order in orders]
        self._mixed = samples_per_set is not None
        self._samples = _samples(samples_per_set, len(orders), batch_size)
        fills = [len(order) / s for order, s in zip(orders, self._samples, strict=True)]  # batches of a pass
        self._leads = [fill == max(fills) for fill in fills]
        equal = self._mixed or schedule == "round_robin"
        self._batches = _batches(fills, math.inf if equal else temperature, drop_last)
        self._plan, self._planned = (torch.empty(0), torch.empty(0)), -1
        super().__init__(max(self._batches) if self._mixed else sum(self._batches))

    def __iter__(self) -> Iterator[list[int]]:
        for epoch, place in self.walk():
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
        """(B,) int64: the set from which each index of batch `place` of an epoch comes."""
        parts = self._parts(epoch, place)
        return torch.cat([torch.full((n,), i) for i, _, n in parts])

    def _parts(self, epoch: int, place: int) -> list[tuple[int, int, int]]:
        """The parts of a batch: (set, position in the set's endless passes, items)."""
        if epoch < 0 or not 0 <= place < len(self):
            raise ValueError(f"no batch {place} in epoch {epoch}: epochs have {len(self)} batches")
        if self._mixed:
            return [self._part(i, epoch, place) for i in range(len(self._passes))]
        if epoch != self._planned:
            self._plan, self._planned = self._planned_for(epoch), epoch
        sets, numbers = self._plan
        return [self._part(int(sets[place]), epoch, int(numbers[place]))]

    def _part(self, i: int, epoch: int, number: int) -> tuple[int, int, int]:
        """Batch `number` of set i in an epoch."""
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
            random = generator(self.seed, "schedule", epoch)
            keys = (numbers + torch.rand(len(sets), dtype=torch.float64, generator=random)) / counts[sets]
        order = keys.argsort(stable=True)
        return sets[order], numbers[order]


def _batches(fills: Sequence[float], temperature: float, drop_last: bool) -> list[int]:
    """Batches of each set in an epoch, from how many a pass of each would fill."""
    most = max(fills)
    if drop_last and most < 1:
        raise ValueError("drop_last leaves no batch: no set has enough items for a full one")
    wanted = [most * (fill / most) ** (1 / temperature) for fill in fills]
    whole = [math.floor(w * (1 + _SLACK)) if drop_last else math.ceil(w * (1 - _SLACK)) for w in wanted]
    return [max(batches, 1) for batches in whole]


def _orders(sets: ConcatDataset[Any] | Sequence[Dataset[Any] | int | Order], seed: int) -> list[Order]:
    if isinstance(sets, ConcatDataset):
        sets = [end - start for start, end in pairwise([0, *sets.cumulative_sizes])]
    if not isinstance(sets, list | tuple):
        raise TypeError(
            "sets must be a ConcatDataset, or a list of data sets or of their sizes, not "
            f"{type(sets).__name__}; for a single set give [the set]"
        )
    if not sets:
        raise ValueError("there must be at least one set")
    seeds = [derive_seed(seed, "set", i) for i in range(len(sets))] if len(sets) > 1 else [seed]
    return [_order(part, own) for part, own in zip(sets, seeds, strict=True)]


def _order(part: Any, seed: int) -> Order:
    """An order as it is; the shuffled order of a data set or of a number of items."""
    if isinstance(part, int | np.integer):
        return ShuffledOrder(int(part), seed)
    if hasattr(part, "items") and hasattr(part, "size"):
        order: Order = part
        return order
    if hasattr(part, "__getitem__") and hasattr(part, "__len__") and not isinstance(part, str):
        return ShuffledOrder(len(part), seed)
    raise TypeError(
        "a set must be a data set that has a length, a number of items, or an order, not "
        f"{type(part).__name__}"
    )


def _samples(samples_per_set: Sequence[int] | None, sets: int, batch_size: int) -> list[int]:
    """Items of each set in a batch that has any of it."""
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
        raise ValueError("samples_per_set fixes what every batch holds, and has no schedule")
    if not temperature > 0:
        raise ValueError(f"temperature = {temperature} must be above 0")
    if temperature != 1 and schedule != "temperature":
        raise ValueError("temperature goes with schedule = 'temperature'")
