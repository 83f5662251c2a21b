"""Batches of several sets in use: resumed, by ranks, by orders of their own, in a loader; and mistakes."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from schedules_of_sets import (
    P_VALUE,
    batch_sizes,
    batches_of_sets,
    epochs_of_set,
    flattened,
    scheduled,
    schedules,
    seeds,
    sizes_of_sets,
)
from scipy.stats import chisquare
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from mtl.data.batch_schedule import BatchScheduleSampler
from mtl.data.dataset_labels import labels_of
from mtl.data.index_orders import BalancedOrder, ShuffledOrder
from mtl.runtime.seeds import derive_seed


@given(
    sizes=sizes_of_sets,
    batch_size=batch_sizes,
    how=schedules,
    seed=seeds,
    where=st.tuples(st.integers(0, 3), st.floats(0, 1)),
)
@settings(max_examples=60, deadline=None)
def test_resumed_in_mid_epoch_the_rest_is_the_same(sizes, batch_size, how, seed, where):
    one, other = (scheduled(sizes, batch_size, how, seed=seed) for _ in range(2))
    epoch, taken = where[0], math.floor(where[1] * (len(one) - 1))
    one.set_epoch(epoch)
    walk = iter(one)
    list(islice(walk, taken))
    state = one.state_dict()
    assert state == {"epoch": epoch, "taken": taken}
    other.load_state_dict(state)
    other.set_epoch(epoch)
    rest = list(walk)
    assert list(other) == rest
    assert len(rest) == len(one) - taken
    assert list(other) == list(one)


@given(sizes=sizes_of_sets, batch_size=batch_sizes, how=schedules, seed=seeds, shuffle=st.randoms())
@settings(max_examples=40, deadline=None)
def test_any_batch_can_be_had_at_any_time(sizes, batch_size, how, seed, shuffle):
    one, other = (scheduled(sizes, batch_size, how, seed=seed) for _ in range(2))
    in_turn = [batch for _ in range(2) for batch in one]
    assert in_turn == [batch.tolist() for epoch in (0, 1) for batch in one.batches(epoch)]
    steps = list(range(len(in_turn)))
    shuffle.shuffle(steps)
    assert all(other.batch_at(step).tolist() == in_turn[step] for step in steps[:20])


@given(
    sizes=st.lists(st.integers(4, 40), min_size=1, max_size=3),
    batch_size=batch_sizes,
    how=schedules,
    seed=seeds,
    world=st.integers(2, 4),
    drop_last=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_ranks_share_every_pass_and_have_the_same_sets_at_the_same_places(
    sizes, batch_size, how, seed, world, drop_last
):
    if drop_last and ("samples" in how or max(sizes) // world < batch_size):
        drop_last = False
    seeds = [derive_seed(seed, "set", i) for i in range(len(sizes))]
    make = [
        scheduled(
            [ShuffledOrder(n, own, r, world) for n, own in zip(sizes, seeds, strict=True)],
            batch_size,
            how,
            seed=seed,
            drop_last=drop_last,
        )
        for r in range(world)
    ]
    for epoch in range(3):
        for place in range(len(make[0])):
            assert len({str(sampler.set_of(epoch, place).tolist()) for sampler in make}) == 1
    assert len({len(sampler) for sampler in make}) == 1
    for i, size in enumerate(sizes):
        length = size // world
        samples = i + 1 if "samples" in how else batch_size
        most = max(n // world / (j + 1 if "samples" in how else batch_size) for j, n in enumerate(sizes))
        dealt = [epochs_of_set(sampler, i, 3) for sampler in make]
        if length / samples == most:  # a pass an epoch
            passes = [[flattened(epoch) for epoch in of_rank] for of_rank in dealt]
        else:
            joined = [flattened(flattened(of_rank)) for of_rank in dealt]
            passes = [[own[at : at + length] for at in range(0, len(own), length)] for own in joined]
        for parts in zip(*passes, strict=True):
            drawn = flattened(parts)
            assert len(set(drawn)) == len(drawn)


def test_orders_may_be_balanced_within_their_set():
    labels = [torch.tensor([0] * 45 + [1] * 5), torch.tensor([0] * 10 + [1] * 80)]
    orders = [BalancedOrder(row, seed=i) for i, row in enumerate(labels)]
    sampler = BatchScheduleSampler(orders, 10)
    together = torch.cat(labels)
    drawn = torch.cat([batch for epoch in range(20) for batch in sampler.batches(epoch)])
    for own in (drawn[drawn < 50], drawn[drawn >= 50]):
        assert len(own) == 20 * 90
        assert chisquare(torch.bincount(together[own])).pvalue > P_VALUE


def test_orders_count_by_the_items_of_their_pass():
    long, short = BalancedOrder([0, 1, 1], count=40), ShuffledOrder(20, 0)
    sampler = BatchScheduleSampler([long, short, 8], 4, "proportional")
    assert batches_of_sets(sampler, 3) == [10, 5, 2]
    assert max(int(batch.max()) for batch in sampler.batches(0)) == 3 + 20 + 8 - 1


class Noting(ShuffledOrder):
    """Notes which of its passes were asked for."""

    def items(self, number):
        self.__dict__.setdefault("asked", []).append(number)
        return super().items(number)


@pytest.mark.parametrize("schedule", ["round_robin", "proportional"])
def test_each_pass_of_a_set_is_drawn_once_by_those_who_read_on(schedule):
    small, large = Noting(30, 0), Noting(100, 1)
    sampler = BatchScheduleSampler([small, large], 8, schedule)
    for step in range(3 * len(sampler)):
        sampler.batch_at(step)
    assert large.asked == [0, 1, 2]
    assert small.asked == list(range(len(small.asked)))


def test_a_loader_gets_the_items_of_a_concatenation(folders):
    together = ConcatDataset(folders)
    assert labels_of(together).tolist() == [label for _, label in together]
    sampler = BatchScheduleSampler(together, 4, samples_per_set=(1, 3), seed=5)
    loader = DataLoader(together, batch_sampler=sampler)
    seen = [images.flatten() for images, _ in loader]
    assert len(loader) == len(seen) == 4
    assert [(images < 100).sum().item() for images in seen] == [1] * 4  # those of the first set
    assert sorted(int(i) for images in seen for i in images if i >= 100) == list(range(100, 110))
    assert sampler.state_dict() == {"epoch": 1, "taken": 0}


@pytest.fixture
def folders():
    """Two sets whose images are numbers: 0, 1, 2 and 100 to 109."""
    return [
        TensorDataset(torch.arange(3), torch.tensor([0, 0, 1])),
        TensorDataset(torch.arange(100, 110), torch.arange(10) % 3),
    ]


def test_nothing_is_drawn_from_the_global_generator():
    before = torch.random.get_rng_state()
    list(BatchScheduleSampler([10, 55], 8, "proportional"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_sets_of_one_size_come_in_orders_of_their_own():
    sampler = BatchScheduleSampler([20, 20], 20, seed=1)
    one, other = (batch.tolist() for batch in sampler.batches(0))
    assert one != [index - 20 for index in other]


@pytest.mark.parametrize(
    ("sets", "arguments", "words"),
    [
        ([], {}, "at least one set"),
        ([5, 0], {}, "0 items a pass"),
        ([5], {"batch_size": 0}, "batch_size = 0"),
        ([5, 3], {"batch_size": 6, "drop_last": True}, "drop_last leaves no batch"),
        ([5, 3], {"schedule": "random"}, "schedule = 'random'"),
        ([5, 3], {"schedule": "temperature", "temperature": 0.0}, "temperature = 0.0"),
        ([5, 3], {"schedule": "temperature", "temperature": math.nan}, "temperature = nan"),
        ([5, 3], {"temperature": 2.0}, "temperature goes with"),
        ([5, 3], {"samples_per_set": (2, 1)}, "batch_size = 4 together"),
        ([5, 3], {"samples_per_set": (4, 0)}, "at least 1"),
        ([5, 3], {"samples_per_set": (2.0, 2.0)}, "at least 1"),
        ([5, 3], {"samples_per_set": (4,)}, "must be 2 numbers"),
        ([5, 3], {"samples_per_set": (2, 2), "schedule": "proportional"}, "has no schedule"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(sets, arguments, words):
    with pytest.raises(ValueError, match=words):
        BatchScheduleSampler(sets, **{"batch_size": 4, **arguments})


@pytest.mark.parametrize(("epoch", "place"), [(0, 14), (0, -1), (-1, 0)])
def test_batches_that_no_epoch_has_are_refused(epoch, place):
    sampler = BatchScheduleSampler([10, 55], 8)
    for ask in (sampler.batch, sampler.set_of):
        with pytest.raises(ValueError, match="epochs have 14 batches"):
            ask(epoch, place)
    with pytest.raises(ValueError, match="epochs have 14 batches"):
        sampler.batch_at(-1)


def test_given_as_the_sampler_of_single_items_it_says_what_it_is():
    both = ConcatDataset([TensorDataset(torch.zeros(n, 2)) for n in (10, 7)])
    for dataset in (both, list(range(17))):
        loader = DataLoader(dataset, batch_size=4, sampler=BatchScheduleSampler(both, 4))
        with pytest.raises(TypeError, match="batch_sampler="):
            next(iter(loader))
    batches = list(BatchScheduleSampler(both, 4))
    assert sorted(batches) == sorted(map(list, batches))  # else they are lists as any


def test_sets_may_be_given_themselves():
    sets = [TensorDataset(torch.zeros(n, 2)) for n in (10, 7)]
    expected = list(BatchScheduleSampler([10, 7], 4))
    assert (
        list(BatchScheduleSampler(sets, 4)) == list(BatchScheduleSampler(ConcatDataset(sets), 4)) == expected
    )
    assert list(BatchScheduleSampler([sets[0], np.int64(7)], 4)) == expected


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (TensorDataset(torch.zeros(10)), "not TensorDataset; for a single set give"),
        (10, "not int"),
        (None, "not NoneType"),
        ([10, "7"], "a set must be a data set that has a length.*not str"),
        ([10, 7.0], "not float"),
    ],
)
def test_what_is_not_several_sets_is_a_type_error(sets, words):
    with pytest.raises(TypeError, match=words):
        BatchScheduleSampler(sets, 4)


@pytest.mark.parametrize("batch_size", [0, -1, 4.0, "4"])
def test_a_batch_size_that_is_none_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"batch_size = {batch_size!r} must be a whole number of at least 1"):
        BatchScheduleSampler([10, 7], batch_size)
