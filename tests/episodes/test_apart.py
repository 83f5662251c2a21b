"""Support and queries from different groups, for any sizes of the groups."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mtl.data.image_groups import most_queries
from mtl.episodes.class_index import draw_apart
from mtl.runtime.seeds import generator

P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always


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
