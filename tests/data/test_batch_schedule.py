"""Batches of several sets: how many of each, in which order, what an epoch covers, and resuming."""

import math
from itertools import chain, islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from mtl.data.batch_schedule import BatchScheduleSampler
from mtl.data.imbalanced import labels_of
from mtl.data.orders import BalancedOrder, ShuffledOrder
from mtl.runtime.seeds import derive_seed, generator

P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always

sizes_of_sets = st.lists(st.integers(1, 40), min_size=1, max_size=4)
batch_sizes = st.integers(1, 9)
seeds = st.integers(0, 2**40)
schedules = st.sampled_from(
    [
        {"schedule": "round_robin"},
        {"schedule": "proportional"},
        {"schedule": "temperature", "temperature": 3.0},
        {"schedule": "temperature", "temperature": math.inf},
        {"schedule": "temperature", "temperature": 0.001},
        {"samples": True},
    ]
)


def _sampler(sizes, batch_size, how, **others):
    """`how` of `schedules`; with samples, set i gives i + 1 of a batch."""
    if "samples" in how:
        samples = [i + 1 for i in range(len(sizes))]
        return BatchScheduleSampler(sizes, sum(samples), samples_per_set=samples, **others)
    return BatchScheduleSampler(sizes, batch_size, **how, **others)


def _flat(lists):
    return list(chain.from_iterable(lists))


def _epochs_of_set(sampler, i, epochs):
    """For each epoch what each of its batches has of set i."""
    return [
        [sampler.batch(e, p)[sampler.set_of(e, p) == i].tolist() for p in range(len(sampler))]
        for e in range(epochs)
    ]


def _counts(sampler, sets, epoch=0):
    """Batches of each set in an epoch of batches of one set."""
    found = [int(sampler.set_of(epoch, place)[0]) for place in range(len(sampler))]
    return [found.count(i) for i in range(sets)]


def test_ten_and_fifty_five_in_turn():
    sampler = BatchScheduleSampler([10, 55], 8)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 14
    assert [len(batch) for batch in batches] == [8] * 13 + [7]
    for place, batch in enumerate(batches):
        assert all(index < 10 for index in batch) if place % 2 == 0 else all(index >= 10 for index in batch)
    assert sorted(_flat(batches[1::2])) == list(range(10, 65))


def test_ten_and_fifty_five_in_turn_without_the_short_batch():
    batches = list(BatchScheduleSampler([10, 55], 8, drop_last=True))
    assert [len(batch) for batch in batches] == [8] * 12
    assert len(set(_flat(batches[1::2]))) == 48


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
    sampler = _sampler(sizes, batch_size, how, seed=seed)
    samples = [i + 1 if "samples" in how else sampler.batch_size for i in range(len(sizes))]
    most = max(n / s for n, s in zip(sizes, samples, strict=True))
    for i, size in enumerate(sizes):
        own = seed if len(sizes) == 1 else derive_seed(seed, "set", i)
        passes = (ShuffledOrder(size, own).items(number) + sum(sizes[:i]) for number in range(10**9))
        found = _epochs_of_set(sampler, i, 3)
        if size / samples[i] == most:
            for epoch in found:
                assert _flat(epoch) == next(passes).tolist()
        else:
            together = _flat(_flat(found))
            endless = []
            while len(endless) < len(together):
                endless += next(passes).tolist()
            assert together == endless[: len(together)]
            assert {len(part) for epoch in found for part in epoch} <= {0, samples[i]}
            assert all(epoch.count([]) < len(epoch) for epoch in found)


@given(sizes=sizes_of_sets, batch_size=batch_sizes, how=schedules, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_without_short_batches_all_are_full_and_the_rest_as_before(sizes, batch_size, how, seed):
    shorter = _sampler(sizes, batch_size, how, seed=seed)
    if not any(n > i if "samples" in how else n >= batch_size for i, n in enumerate(sizes)):
        with pytest.raises(ValueError, match="drop_last leaves no batch"):
            _sampler(sizes, batch_size, how, seed=seed, drop_last=True)
        return
    sampler = _sampler(sizes, batch_size, how, seed=seed, drop_last=True)
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
    sampler = _sampler(sizes, batch_size, how, seed=seed)
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
        assert _counts(sampler, len(sizes), epoch) == [math.ceil(n / batch_size) for n in sizes]
    if max(sizes) >= batch_size:
        down = BatchScheduleSampler(sizes, batch_size, "proportional", seed=seed, drop_last=True)
        assert _counts(down, len(sizes)) == [max(n // batch_size, 1) for n in sizes]


def _unevenness(found, sets):
    """How far a set's batches are from their share of the first so many of an epoch, at worst."""
    hits = torch.nn.functional.one_hot(torch.as_tensor(found), sets).double()
    so_far, parts = hits.cumsum(0), torch.arange(1, len(hits) + 1)[:, None] / len(hits)
    return float((so_far - parts * hits.sum(0)).abs().max())


@given(
    sizes=st.lists(st.integers(1, 300), min_size=2, max_size=4),
    seed=seeds,
    temperature=st.floats(0.3, 10),
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
    assert _counts(sampler, 3) == counts


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


@given(
    sizes=sizes_of_sets,
    batch_size=batch_sizes,
    how=schedules,
    seed=seeds,
    where=st.tuples(st.integers(0, 3), st.floats(0, 1)),
)
@settings(max_examples=60, deadline=None)
def test_resumed_in_mid_epoch_the_rest_is_the_same(sizes, batch_size, how, seed, where):
    one, other = (_sampler(sizes, batch_size, how, seed=seed) for _ in range(2))
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
    one, other = (_sampler(sizes, batch_size, how, seed=seed) for _ in range(2))
    in_turn = [batch for _ in range(2) for batch in one]
    assert in_turn == [batch.tolist() for epoch in (0, 1) for batch in one.batches(epoch)]
    steps = list(range(len(in_turn)))
    shuffle.shuffle(steps)
    assert all(other.batch_at(step).tolist() == in_turn[step] for step in steps[:20])


def test_what_was_used_may_be_less_than_what_was_drawn():
    one, other = (BatchScheduleSampler([10, 55], 8, seed=2) for _ in range(2))
    list(islice(one, 9))
    other.load_state_dict(one.state_dict(taken=5))
    assert list(other) == [batch.tolist() for batch in one.batches(0)][5:]


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
    make = [
        _sampler(sizes, batch_size, how, seed=seed, rank=r, world=world, drop_last=drop_last)
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
        dealt = [_epochs_of_set(sampler, i, 3) for sampler in make]
        if length / samples == most:  # a pass an epoch
            passes = [[_flat(epoch) for epoch in of_rank] for of_rank in dealt]
        else:
            joined = [_flat(_flat(of_rank)) for of_rank in dealt]
            passes = [[own[at : at + length] for at in range(0, len(own), length)] for own in joined]
        for parts in zip(*passes, strict=True):
            drawn = _flat(parts)
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
    assert _counts(sampler, 3) == [10, 5, 2]
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
        ([5, 3], {"samples_per_set": (4,)}, "must be 2 numbers"),
        ([5, 3], {"samples_per_set": (2, 2), "schedule": "proportional"}, "has no schedule"),
        ([5, 3], {"world": 4}, "3 items a pass are too few"),
        ([ShuffledOrder(9, 0, 0, 2), 9], {"rank": 1, "world": 2}, "go into the orders"),
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
