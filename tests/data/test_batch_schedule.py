"""Batches of several sets: how many of each, in which order, and what an epoch covers."""

import math
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from schedules_of_sets import (
    batch_sizes,
    batches_of_sets,
    epochs_of_set,
    flattened,
    scheduled,
    schedules,
    seeds,
    sizes_of_sets,
)

from mtl.data.batch_schedule import BatchScheduleSampler
from mtl.data.index_orders import ShuffledOrder
from mtl.runtime.seeds import derive_seed, generator


def test_ten_and_fifty_five_in_turn():
    sampler = BatchScheduleSampler([10, 55], 8)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 14
    assert [len(batch) for batch in batches] == [8] * 13 + [7]
    for place, batch in enumerate(batches):
        assert all(index < 10 for index in batch) if place % 2 == 0 else all(index >= 10 for index in batch)
    assert sorted(flattened(batches[1::2])) == list(range(10, 65))


@given(count=st.integers(1, 60), batch_size=st.integers(1, 20), seed=seeds, how=schedules)
@settings(max_examples=60, deadline=None)
def test_a_single_set_is_its_shuffled_order_cut_into_batches(count, batch_size, seed, how):
    count = max(count, batch_size)
    if "samples" in how:
        how = {"samples_per_set": [batch_size]}
    sampler = BatchScheduleSampler([count], batch_size, **how, drop_last=True, seed=seed)
    assert len(sampler) == count // batch_size
    for epoch in (0, 3):
        order = torch.randperm(count, generator=generator(seed, "order", epoch))
        for place in range(len(sampler)):
            expected = order[place * batch_size : (place + 1) * batch_size]
            assert sampler.batch(epoch, place).tolist() == expected.tolist()


@given(sizes=sizes_of_sets, batch_size=batch_sizes, how=schedules, seed=seeds)
@settings(max_examples=80, deadline=None)
def test_largest_sets_are_gone_through_once_and_the_others_without_end(sizes, batch_size, how, seed):
    sampler = scheduled(sizes, batch_size, how, seed=seed)
    samples = [i + 1 if "samples" in how else sampler.batch_size for i in range(len(sizes))]
    most = max(n / s for n, s in zip(sizes, samples, strict=True))
    for i, size in enumerate(sizes):
        own = seed if len(sizes) == 1 else derive_seed(seed, "set", i)
        passes = (ShuffledOrder(size, own).items(number) + sum(sizes[:i]) for number in range(10**9))
        found = epochs_of_set(sampler, i, 3)
        if size / samples[i] == most:
            for epoch in found:
                assert flattened(epoch) == next(passes).tolist()
        else:
            together = flattened(flattened(found))
            endless = []
            while len(endless) < len(together):
                endless += next(passes).tolist()
            assert together == endless[: len(together)]
            assert {len(part) for epoch in found for part in epoch} <= {0, samples[i]}
            assert all(epoch.count([]) < len(epoch) for epoch in found)


@given(sizes=sizes_of_sets, batch_size=batch_sizes, how=schedules, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_without_short_batches_all_are_full_and_the_rest_as_before(sizes, batch_size, how, seed):
    shorter = scheduled(sizes, batch_size, how, seed=seed)
    if not any(n > i if "samples" in how else n >= batch_size for i, n in enumerate(sizes)):
        with pytest.raises(ValueError, match="drop_last leaves no batch"):
            scheduled(sizes, batch_size, how, seed=seed, drop_last=True)
        return
    sampler = scheduled(sizes, batch_size, how, seed=seed, drop_last=True)
    assert {len(batch) for e in (0, 1) for batch in sampler.batches(e)} == {sampler.batch_size}
    assert 1 <= len(sampler) <= len(shorter)
    if "samples" in how:
        assert len(shorter) - len(sampler) == any(
            len(batch) < shorter.batch_size for batch in shorter.batches(0)
        )
        assert [b.tolist() for b in sampler.batches(0)] == list(islice(shorter, len(sampler)))


@given(sizes=sizes_of_sets, batch_size=batch_sizes, how=schedules, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_a_batch_holds_indices_of_the_sets_it_is_said_to_hold(sizes, batch_size, how, seed):
    sampler = scheduled(sizes, batch_size, how, seed=seed)
    of = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    for epoch in (0, 4):
        for place in range(len(sampler)):
            batch = sampler.batch(epoch, place)
            assert batch.dtype == torch.int64
            assert of[batch].tolist() == sampler.set_of(epoch, place).tolist()
            assert "samples" in how or len(of[batch].unique()) == 1


@given(sizes=sizes_of_sets, batch_size=batch_sizes)
@settings(max_examples=40, deadline=None)
def test_in_turn_all_sets_give_as_many_batches_as_the_largest_fills(sizes, batch_size):
    sampler = BatchScheduleSampler(sizes, batch_size)
    assert len(sampler) == len(sizes) * math.ceil(max(sizes) / batch_size)
    assert [int(sampler.set_of(1, p)[0]) for p in range(len(sampler))] == [
        p % len(sizes) for p in range(len(sampler))
    ]


@given(sizes=sizes_of_sets, batch_size=batch_sizes, seed=seeds)
@settings(max_examples=40, deadline=None)
def test_proportional_batches_cover_each_set_once_in_whole_batches(sizes, batch_size, seed):
    sampler = BatchScheduleSampler(sizes, batch_size, "proportional", seed=seed)
    for epoch in (0, 1):
        assert batches_of_sets(sampler, len(sizes), epoch) == [math.ceil(n / batch_size) for n in sizes]
    if max(sizes) >= batch_size:
        down = BatchScheduleSampler(sizes, batch_size, "proportional", seed=seed, drop_last=True)
        assert batches_of_sets(down, len(sizes)) == [max(n // batch_size, 1) for n in sizes]


def _unevenness(found, sets):
    """How far a set's batches are from their share of the first so many of an epoch, at worst."""
    hits = torch.nn.functional.one_hot(torch.as_tensor(found), sets).double()
    so_far, parts = hits.cumsum(0), torch.arange(1, len(hits) + 1)[:, None] / len(hits)
    return float((so_far - parts * hits.sum(0)).abs().max())


@given(
    sizes=st.lists(st.integers(1, 300), min_size=2, max_size=4), seed=seeds, temperature=st.floats(0.3, 10)
)
@settings(max_examples=40, deadline=None)
def test_the_batches_of_a_set_are_spread_over_the_epoch(sizes, seed, temperature):
    sampler = BatchScheduleSampler(sizes, 4, "temperature", temperature, seed=seed)
    found = [int(sampler.set_of(2, place)[0]) for place in range(len(sampler))]
    assert _unevenness(found, len(sizes)) <= len(sizes) + 1


def test_sorted_batches_are_not_spread_and_those_of_epochs_and_seeds_differ():
    sampler, other = (BatchScheduleSampler([80, 120], 4, "proportional", seed=seed) for seed in (0, 1))
    found = [[int(s.set_of(e, p)[0]) for p in range(50)] for s, e in ((sampler, 0), (sampler, 1), (other, 0))]
    assert len({str(sets) for sets in found}) == 3
    assert _unevenness(sorted(found[0]), 2) > 3


def test_a_temperature_of_one_is_proportional():
    plain = BatchScheduleSampler([13, 90, 41], 4, "proportional", seed=3)
    warm = BatchScheduleSampler([13, 90, 41], 4, "temperature", 1.0, seed=3)
    assert list(plain) == list(warm)


@pytest.mark.parametrize(
    ("temperature", "counts"),
    [(1.0, [1, 100, 400]), (2.0, [20, 200, 400]), (math.inf, [400, 400, 400]), (0.5, [1, 25, 400])],
)
def test_temperature_takes_roots_of_the_sizes(temperature, counts):
    sampler = BatchScheduleSampler([10, 1000, 4000], 10, "temperature", temperature)
    assert batches_of_sets(sampler, 3) == counts


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("power", [3, 5])
def test_roots_that_come_out_whole_are_not_rounded(power, drop_last):
    for size in range(3, 30):
        sizes = [size**power, 30**power]
        sampler = BatchScheduleSampler(sizes, 1, "temperature", float(power), drop_last=drop_last)
        assert len(sampler) == 30 ** (power - 1) * (size + 30)


@pytest.mark.parametrize(
    ("sizes", "samples", "drop_last", "lengths"),
    [
        ((40, 30), (4, 4), False, [(4, 4)] * 10),
        ((10, 55), (2, 6), False, [(2, 6)] * 9 + [(2, 1)]),
        ((10, 55), (2, 6), True, [(2, 6)] * 9),
        ((13, 30), (2, 6), False, [(2, 6)] * 6 + [(1, 6)]),  # the smaller set gives more batches
        ((13, 30), (2, 6), True, [(2, 6)] * 6),
        ((5, 9), (2, 3), False, [(2, 3)] * 3),  # 2.5 and 3 batches: set 0 goes on in its next pass
        ((5, 5), (2, 2), False, [(2, 2)] * 2 + [(1, 1)]),
    ],
)
def test_so_many_of_each_set_in_every_batch(sizes, samples, drop_last, lengths):
    sampler = BatchScheduleSampler(sizes, sum(samples), samples_per_set=samples, drop_last=drop_last)
    for epoch in (0, 1):
        found = [sampler.set_of(epoch, place).tolist() for place in range(len(sampler))]
        assert [(sets.count(0), sets.count(1)) for sets in found] == lengths
        assert all(sets == sorted(sets) for sets in found)
