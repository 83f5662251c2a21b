"""Passes over one set: what each rank gets, how likely each item is, and that only numbers decide it."""

from collections import Counter
from fractions import Fraction
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.utils.data import DataLoader, WeightedRandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from mtl.data.class_imbalance import effective_number, inverse_frequency
from mtl.data.dataset_labels import labels_of
from mtl.data.index_orders import BalancedOrder, ImbalancedSampler, Passes, Resumable, ShuffledOrder
from mtl.runtime.seeds import generator

P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always

seeds = st.integers(0, 2**40)


def _labels(*counts, seed=0):
    """So many of each class, shuffled."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=generator(seed))]


def _drawn(order, passes):
    return torch.cat([order.items(number) for number in range(passes)])


@given(count=st.integers(1, 50), seed=seeds, number=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_pass_is_the_permutation_of_its_stream(count, seed, number):
    expected = torch.randperm(count, generator=generator(seed, "order", number))
    items = ShuffledOrder(count, seed).items(number)
    assert items.dtype == torch.int64
    assert items.tolist() == expected.tolist()


@given(count=st.integers(1, 40), world=st.integers(1, 5), seed=seeds, number=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_ranks_share_a_pass_out_evenly_and_no_item_twice(count, world, seed, number):
    count = max(count, world)
    orders = [ShuffledOrder(count, seed, rank, world) for rank in range(world)]
    dealt = torch.cat([order.items(number) for order in orders]).tolist()
    assert {len(order) for order in orders} == {len(order.items(number)) for order in orders}
    assert len(set(dealt)) == len(dealt) == count // world * world
    assert set(dealt) <= set(range(count))


def test_what_is_left_over_differs_from_pass_to_pass():
    orders = [ShuffledOrder(8, 0, rank, 3) for rank in range(3)]
    left = [set(range(8)) - {int(i) for order in orders for i in order.items(e)} for e in range(40)]
    assert {len(items) for items in left} == {2}
    assert set.union(*left) == set(range(8))


@pytest.mark.parametrize("weighting", ["inverse", "effective"])
@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_a_class_comes_as_often_as_its_images_and_their_weight_say(weighting, beta):
    counts, exact = [40, 7, 0, 200, 1], Fraction(beta)
    labels = _labels(*counts)
    inverse = [Fraction(n > 0) for n in counts]  # n · 1/n
    effective = [n * (1 - exact) / (1 - exact**n) if n else Fraction(0) for n in counts]
    chances = inverse if weighting == "inverse" else effective
    order = BalancedOrder(labels, weighting, beta, seed=3, count=20_000)
    found = torch.bincount(labels[order.items(0)], minlength=5).tolist()
    assert found[2] == 0
    expected = [20_000 * float(c / sum(chances)) for c in chances]
    assert chisquare([found[c] for c in (0, 1, 3, 4)], [expected[c] for c in (0, 1, 3, 4)]).pvalue > P_VALUE


def test_every_item_of_a_class_is_equally_likely_in_every_pass():
    labels = _labels(6, 30)
    drawn = _drawn(BalancedOrder(labels, seed=2, count=500), 20)
    for c in (0, 1):
        of_class = (labels == c).nonzero().flatten()
        assert chisquare(torch.bincount(drawn, minlength=36)[of_class]).pvalue > P_VALUE


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    world=st.integers(2, 4),
    seed=seeds,
    number=seeds,
)
@settings(max_examples=60, deadline=None)
def test_no_image_is_drawn_by_two_ranks_but_of_classes_that_have_too_few(counts, world, seed, number):
    labels = _labels(*counts)
    orders = [BalancedOrder(labels, seed=seed, count=40 * world, rank=r, world=world) for r in range(world)]
    drawn = [set(order.items(number).tolist()) for order in orders]
    assert {len(order.items(number)) for order in orders} == {len(orders[0])} == {40}
    scarce = {c for c, count in enumerate(counts) if count < world}
    for item, ranks in Counter(item for items in drawn for item in items).items():
        assert ranks == 1 or int(labels[item]) in scarce


def test_ranks_have_the_same_classes_and_each_has_every_image_in_time():
    labels = _labels(30, 7, 2)  # the last class has fewer images than there are ranks
    for rank in range(3):
        drawn = _drawn(BalancedOrder(labels, seed=5, count=60, rank=rank, world=3), 400)
        assert chisquare(torch.bincount(labels[drawn])).pvalue > P_VALUE
        for c in range(3):
            assert len(drawn[labels[drawn] == c].unique()) == int((labels == c).sum())


def test_ranks_that_keep_their_images_would_never_see_the_others():
    labels = _labels(30, 6)
    order = BalancedOrder(labels, seed=5, count=600, rank=0, world=3)
    one, other = (set(order.items(number).tolist()) for number in (0, 1))
    assert len(one) == len(other) == 12  # its third of both classes
    assert one != other


def test_within_a_pass_ranks_draw_on_their_own_and_leave_no_image_out():
    labels = _labels(7, 5)
    drawn = [BalancedOrder(labels, seed=1, count=600, rank=r, world=3).items(0) for r in range(3)]
    assert set(torch.cat(drawn).tolist()) == set(range(12))
    same = (labels[drawn[0]] == labels[drawn[1]]).sum()
    assert chisquare([int(same), 200 - int(same)]).pvalue > P_VALUE  # two classes: they meet half the time


def test_over_the_passes_ranks_draw_every_image_of_a_class_alike():
    labels = _labels(7, 5)  # neither is a multiple of the ranks: some have an image more
    drawn = torch.cat(
        [_drawn(BalancedOrder(labels, seed=1, count=6, rank=r, world=3), 1000) for r in range(3)]
    )
    for c in (0, 1):
        of_class = (labels == c).nonzero().flatten()
        assert chisquare(torch.bincount(drawn, minlength=12)[of_class]).pvalue > P_VALUE


def test_more_items_than_multinomial_takes():
    count = 2**24 + 10
    labels = torch.zeros(count, dtype=torch.int8)
    labels[-10:] = 1
    drawn = BalancedOrder(labels, seed=0, count=1000).items(0)
    rare = drawn >= count - 10
    assert 400 < int(rare.sum()) < 600
    assert set(drawn[rare].tolist()) == set(range(count - 10, count))
    assert len(drawn[~rare].unique()) > 450
    with pytest.raises(RuntimeError, match="2\\^24"):
        torch.multinomial(torch.ones(1).expand(count), 1000, replacement=True)


@pytest.mark.parametrize(
    "order", [ShuffledOrder(30, 4), BalancedOrder(_labels(20, 10), seed=4), BalancedOrder([3, 3, -9], seed=4)]
)
def test_a_pass_follows_from_its_number_alone(order):
    before = torch.random.get_rng_state()
    first, again = order.items(5), (order.items(2), order.items(5))[1]
    assert first.tolist() == again.tolist()
    assert len({str(order.items(number).tolist()) for number in range(4)}) > 1
    assert len(order) == len(first) == order.size
    assert torch.equal(torch.random.get_rng_state(), before)


@given(count=st.integers(1, 9), reads=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=5))
@settings(max_examples=60, deadline=None)
def test_passes_follow_each_other_without_end(count, reads):
    order = ShuffledOrder(count, 7)
    stream = _drawn(order, 100 // count + 1).tolist()
    passes = Passes(order)
    for start, taken in reads:
        assert passes.take(start, taken).tolist() == stream[start : start + taken]


def test_a_sampler_goes_on_in_mid_pass_and_then_with_whole_ones():
    mark = Resumable(3)
    walk = mark.walk()
    assert [next(walk), next(walk)] == [(0, 0), (0, 1)]
    other = Resumable(3)
    other.load_state_dict(mark.state_dict())
    assert list(other.walk()) == [(0, 2)]
    assert list(other.walk()) == [(1, 0), (1, 1), (1, 2)]


def test_a_pass_that_was_taken_to_its_end_is_over():
    mark = Resumable(3)
    walk = mark.walk()
    assert mark.state_dict() == {"epoch": 0, "taken": 0}
    for taken in (1, 2):
        next(walk)
        assert mark.state_dict() == {"epoch": 0, "taken": taken}
    next(walk)
    assert mark.state_dict() == {"epoch": 1, "taken": 0}
    assert mark.state_dict(taken=2) == {"epoch": 0, "taken": 2}
    assert list(walk) == []
    assert mark.state_dict() == {"epoch": 1, "taken": 0}
    assert mark.state_dict(taken=2) == {"epoch": 0, "taken": 2}


def test_set_epoch_starts_over_unless_a_state_was_just_loaded():
    mark = Resumable(3)
    mark.load_state_dict({"epoch": 4, "taken": 2})
    mark.set_epoch(4)
    assert list(mark.walk()) == [(4, 2)]
    mark.set_epoch(4)
    assert list(mark.walk()) == [(4, 0), (4, 1), (4, 2)]
    mark.load_state_dict({"epoch": 4, "taken": 2})
    mark.set_epoch(5)
    assert mark.state_dict() == {"epoch": 5, "taken": 0}


@pytest.mark.parametrize(
    "state", [{"epoch": 0, "taken": 4}, {"epoch": 0, "taken": -1}, {"epoch": -1, "taken": 0}]
)
def test_places_that_no_pass_has_are_refused(state):
    with pytest.raises(ValueError, match="taken 0 to 3"):
        Resumable(3).load_state_dict(state)
    with pytest.raises(ValueError, match="taken 0 to 3"):
        Resumable(3).state_dict(taken=4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rank": 2, "world": 2}, "rank = 2 must be at least 0 and below world = 2"),
        ({"rank": -1}, "rank = -1"),
        ({"world": 0}, "below world = 0"),
        ({"rank": 0, "world": 5}, "4 items a pass are too few for world = 5 ranks"),
    ],
)
def test_ranks_that_are_none_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        ShuffledOrder(4, 0, **arguments)
    with pytest.raises(ValueError, match=words):
        BalancedOrder([0, 1, 1, 1], **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"weighting": "square"}, "weighting = 'square'"),
        ({"weighting": "effective", "beta": 1.0}, "beta = 1.0"),
        ({"count": 0}, "0 items a pass"),
    ],
)
def test_weights_that_are_none_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        BalancedOrder([0, 1], **arguments)


def test_an_empty_set_has_no_order():
    with pytest.raises(ValueError, match="0 items a pass"):
        ShuffledOrder(0, 0)


# seeds are fixed: a test that passes once passes always
COUNTS = torch.tensor([60, 25, 11, 4])


def _shuffled(count, seed=0):
    return torch.randperm(count, generator=generator(seed)).tolist()


LABELS = torch.arange(4).repeat_interleave(COUNTS)[_shuffled(100)]


@pytest.fixture
def folder(tmp_path, write_images):
    """Real pictures in folders: 9 cats, 4 dogs, 2 owls."""
    for name, count in (("cat", 9), ("dog", 4), ("owl", 2)):
        write_images(tmp_path / name, count)
    return ImageFolder(str(tmp_path), transform=pil_to_tensor)


@pytest.mark.parametrize(
    ("arguments", "weights"),
    [
        ({"weighting": "inverse"}, inverse_frequency(COUNTS)),
        ({"weighting": "effective"}, effective_number(COUNTS, 0.9999)),
        ({"weighting": "effective", "beta": 0.9}, effective_number(COUNTS, 0.9)),
    ],
)
def test_items_come_as_often_as_a_weighted_random_sampler_would_have_them(arguments, weights):
    weighted = WeightedRandomSampler(weights[LABELS].tolist(), 40_000).weights.double()
    found = torch.bincount(
        torch.tensor(list(ImbalancedSampler(LABELS, **arguments, count=40_000))), minlength=100
    )
    assert chisquare(found, 40_000 * weighted / weighted.sum()).pvalue > P_VALUE
    forgot = (weights / COUNTS)[LABELS]  # a class by its weight alone, without the images it has
    assert chisquare(found, 40_000 * forgot / forgot.sum()).pvalue < 1e-9


def test_a_pass_has_as_many_items_as_the_set_or_as_asked_for():
    assert len(ImbalancedSampler(LABELS)) == len(list(ImbalancedSampler(LABELS))) == 100
    assert len(ImbalancedSampler(LABELS, count=7)) == len(list(ImbalancedSampler(LABELS, count=7))) == 7
    assert len(ImbalancedSampler(LABELS, count=7, world=2)) == 3


@given(taken=st.integers(0, 30), epoch=st.integers(0, 5), seed=st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_resumed_in_mid_pass_the_rest_is_the_same(taken, epoch, seed):
    one, other = (ImbalancedSampler(LABELS, count=30, seed=seed) for _ in range(2))
    one.set_epoch(epoch)
    walk = iter(one)
    before = list(islice(walk, taken))
    other.load_state_dict(one.state_dict())
    after = list(walk)
    if taken == 30:  # nothing is left of that pass: it is the next one's turn
        assert other.state_dict() == {"epoch": epoch + 1, "taken": 0}
    else:
        assert list(other) == after
    assert list(other) == list(one)
    assert before + after == BalancedOrder(LABELS, seed=seed, count=30).items(epoch).tolist()


def test_each_pass_is_another_and_any_can_be_had_again():
    sampler = ImbalancedSampler(LABELS, seed=1)
    passes = [list(sampler) for _ in range(3)]
    assert len({str(p) for p in passes}) == 3
    sampler.set_epoch(1)
    assert [list(sampler), list(sampler)] == passes[1:]


def test_a_loader_that_draws_ahead_resumes_at_what_was_used():
    sampler = ImbalancedSampler(LABELS, seed=1)
    list(islice(sampler, 48))  # what workers would have asked for
    state = sampler.state_dict(taken=16)
    assert state == {"epoch": 0, "taken": 16}
    other = ImbalancedSampler(LABELS, seed=1)
    other.load_state_dict(state)
    assert list(other) == list(ImbalancedSampler(LABELS, seed=1))[16:]


def test_a_generator_counts_by_its_initial_seed():
    random = torch.Generator().manual_seed(7)
    torch.rand(3, generator=random)
    assert list(ImbalancedSampler(LABELS, seed=random)) == list(ImbalancedSampler(LABELS, seed=7))
    assert list(ImbalancedSampler(LABELS, seed=7)) != list(ImbalancedSampler(LABELS, seed=8))


def test_real_pictures_in_a_loader_come_balanced(folder):
    sampler = ImbalancedSampler(labels_of(folder), count=900, seed=2)
    loader = DataLoader(folder, batch_size=64, sampler=sampler)
    labels = torch.cat([labels for _, labels in loader])
    assert chisquare(torch.bincount(labels, minlength=3)).pvalue > P_VALUE
    assert len(loader) == 15
    assert sampler.state_dict() == {"epoch": 1, "taken": 0}


def test_a_count_that_is_no_number_of_items_is_refused():
    with pytest.raises(ValueError, match=r"count = 10\.0 must be a whole number"):
        ImbalancedSampler(LABELS, count=10.0)
