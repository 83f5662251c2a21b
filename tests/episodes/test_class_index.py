"""The table of images by class, against looking for them one by one."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mtl.data.image_groups import most_queries
from mtl.episodes.class_index import ClassIndex, draw_apart, draw_distinct
from mtl.runtime.seeds import generator

P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=40), data=st.data())
def test_it_holds_the_images_of_each_class_in_order(labels, data):
    rows = range(len(labels))
    among = data.draw(st.none() | st.lists(st.sampled_from(rows), min_size=1, unique=True))
    index = ClassIndex.of(torch.tensor(labels), None if among is None else torch.tensor(among))
    assert len(index) == max(labels) + 1
    for c in range(len(index)):
        expected = [i for i in rows if labels[i] == c and (among is None or i in among)]
        assert index.counts[c] == len(expected)
        assert index.members[c, : len(expected)].tolist() == expected
        assert (index.members[c, len(expected) :] == -1).all()


def test_every_set_of_classes_is_equally_likely(index):
    small = ClassIndex(index.members[:5], index.counts[:5])
    g = generator(0, "classes")
    drawn = [tuple(sorted(small.draw_classes(2, g).tolist())) for _ in range(3000)]
    counts = [drawn.count(pair) for pair in itertools.combinations(range(5), 2)]
    assert sum(counts) == 3000
    assert chisquare(counts).pvalue > P_VALUE


def test_every_order_of_images_is_equally_likely_also_in_a_class_that_is_small():
    index = ClassIndex.of(torch.tensor([0, 1, 0, 1, 0, 0, 1, 0, 0, 0]))  # class 1 has 3 of 10
    g = generator(0, "images")
    drawn = [tuple(index.draw_images(torch.tensor([1]), 2, g)[0].tolist()) for _ in range(3000)]
    counts = [drawn.count(order) for order in itertools.permutations([1, 3, 6], 2)]
    assert sum(counts) == 3000
    assert chisquare(counts).pvalue > P_VALUE


@pytest.mark.parametrize("per_class", [1, 12])
def test_images_are_distinct_and_of_their_class(index, per_class):
    classes = torch.tensor([7, 0, 19])
    images = index.draw_images(classes, per_class, generator(0))
    assert images.shape == (3, per_class)
    assert (images % 20 == classes[:, None]).all()
    assert all(len(set(row)) == per_class for row in images.tolist())


def owners(sizes: list[int]) -> list[int]:
    """The group of each place."""
    return [group for group, size in enumerate(sizes) for _ in range(size)]


def divisible(sizes: list[int], shot: int, queries: int) -> bool:
    """By looking at every division."""
    return any(
        sum(part) >= shot and sum(sizes) - sum(part) >= queries
        for count in range(len(sizes) + 1)
        for part in itertools.combinations(sizes, count)
    )


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), min_size=1, max_size=4),
    shot=st.integers(1, 8),
    queries=st.integers(1, 12),
    seed=st.integers(0, 2**40),
)
def test_no_group_is_on_both_sides_and_what_can_be_divided_is(rows, shot, queries, seed):
    table = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    for row, sizes in enumerate(rows):
        table[row, : len(sizes)] = torch.tensor(sizes)
        assert (most_queries(sizes, shot) >= queries) == divisible(sizes, shot, queries)
    if not all(divisible(sizes, shot, queries) for sizes in rows):
        with pytest.raises(ValueError, match="cannot be divided"):
            draw_apart(table, shot, queries, generator(seed))
        return
    drawn = draw_apart(table, shot, queries, generator(seed))
    assert torch.equal(drawn, draw_apart(table, shot, queries, generator(seed)))
    for sizes, places in zip(rows, drawn.tolist(), strict=True):
        assert len(set(places)) == shot + queries
        groups = [owners(sizes)[place] for place in places]
        assert not set(groups[:shot]) & set(groups[shot:])


def test_the_one_division_that_there_is_is_found():
    """Five single pictures and a clip: five shots need all the singles."""
    drawn = draw_apart(torch.tensor([[100, 1, 1, 1, 1, 1]] * 50), 5, 15, generator(0))
    assert (drawn[:, :5].sort().values == torch.arange(100, 105)).all()
    assert (drawn[:, 5:] < 100).all()


def test_without_real_groups_all_draws_are_equally_likely():
    drawn = draw_apart(torch.ones(6000, 4, dtype=torch.int64), 2, 1, generator(0)).tolist()
    counts = [drawn.count(list(order)) for order in itertools.permutations(range(4), 3)]
    assert chisquare(counts).pvalue > P_VALUE


@pytest.mark.parametrize(("shot", "queries"), [(1, 15), (5, 15), (20, 20)])
def test_images_of_groups_of_one_size_are_equally_likely_on_both_sides(shot, queries):
    drawn = draw_apart(torch.full((4000, 3), 50), shot, queries, generator(1))
    for side in (drawn[:, :shot], drawn[:, shot:]):
        shares = torch.bincount(side.flatten(), minlength=150) / side.numel()
        assert float((shares * 150 - 1).abs().max()) < 6 * (150 / side.numel()) ** 0.5
        assert torch.bincount(side.flatten() // 50).min() > 0.3 * side.numel()  # groups about a third each


def test_several_groups_are_on_either_side():
    drawn = draw_apart(torch.full((500, 10), 20), 5, 15, generator(2)) // 20
    support, query = drawn[:, :5], drawn[:, 5:]
    assert sum(len(set(row)) for row in support.tolist()) / 500 > 2
    assert sum(len(set(row)) for row in query.tolist()) / 500 > 3


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 6), more=st.lists(st.integers(0, 5), max_size=8), seed=st.integers(0, 2**40))
def test_a_row_holds_different_integers_below_its_bound(count, more, seed):
    below = torch.tensor([count + m for m in more], dtype=torch.int64)
    drawn = draw_distinct(below, count, generator(seed))
    assert drawn.shape == (len(more), count)
    assert drawn.dtype == torch.int64
    for row, bound in zip(drawn.tolist(), below.tolist(), strict=True):
        assert len(set(row)) == count
        assert 0 <= min(row) <= max(row) < bound


@pytest.mark.parametrize(("below", "count"), [(4, 2), (4, 4), (5, 3)])
def test_every_order_of_every_set_is_equally_likely(below, count):
    drawn = draw_distinct(torch.full((12_000,), below), count, generator(1, below, count))
    found = [tuple(row) for row in drawn.tolist()]
    counts = [found.count(order) for order in itertools.permutations(range(below), count)]
    assert sum(counts) == 12_000
    assert chisquare(counts).pvalue > P_VALUE


def test_rows_are_independent():
    pairs = draw_distinct(torch.full((12_000,), 3), 1, generator(2)).view(-1, 2).tolist()
    counts = [pairs.count([i, j]) for i in range(3) for j in range(3)]
    assert chisquare(counts).pvalue > P_VALUE


def test_too_few_to_choose_from_are_refused():
    with pytest.raises(ValueError, match="3 different integers needed, out of 2"):
        draw_distinct(torch.tensor([5, 2]), 3, generator(0))
