"""Choosing one of several tasks by its rank: which ranks can be drawn, and how often."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mtl.runtime.seeds import generator
from mtl.samplers.weighted_draw import draw_candidates, draw_ranked


def _ranks(count, low, high, draws=60):
    """Which ranks of difficulty come, of `count` candidates in a mixed order."""
    random = generator(count, "ranks")
    difficulty = torch.randperm(count, generator=random)
    candidates = torch.stack([difficulty, difficulty + 100], 1)  # the first class is the rank
    drawn = [draw_ranked(candidates, difficulty.double(), low, high, random).tolist() for _ in range(draws)]
    assert all(other == rank + 100 for rank, other in drawn)
    return {rank for rank, _ in drawn}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_between_two_whole_ranks_just_those_are_drawn(count):
    for first in range(count):
        for last in range(first + 1, count + 1):
            expected = set(range(first, last))
            assert _ranks(count, first / count, last / count) == expected
            assert _ranks(count, 1 - (count - first) / count, last / count) == expected
            assert _ranks(count, first / count, first / count + (last - first) / count) == expected


@pytest.mark.parametrize("count", [7, 10, 16, 49])
def test_rounding_moves_no_whole_rank(count):
    for part in range(1, count + 1):
        least = _ranks(count, 1 - part / count, 1.0, draws=12 * part)
        assert count - part <= min(least)
        assert max(_ranks(count, 0.0, part / count, draws=12 * part)) <= part - 1


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("at", [0.0, 0.3, 0.5, 0.999, 1.0])
def test_an_empty_window_gives_the_one_rank_that_it_lies_at(count, at):
    (rank,) = _ranks(count, at, at, draws=20)
    assert rank == min(round(at * count), count - 1)


@given(st.integers(1, 30), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000))
@settings(deadline=None, max_examples=100)
def test_what_is_drawn_lies_within_a_rank_of_the_window(count, one, other, seed):
    low, high = sorted((one, other))
    difficulty = torch.arange(count).flip(0)
    rank = int(draw_ranked(difficulty[:, None], difficulty.double(), low, high, generator(seed))[0])
    assert 0 <= rank < count
    assert rank + 0.5 >= low * count or rank == count - 1
    assert rank <= high * count - 0.5 or rank <= low * count + 0.5  # an empty window gives one rank


def test_each_rank_of_the_window_is_equally_likely():
    random = generator(0)
    difficulty = torch.rand(12, generator=random)
    order = difficulty.argsort().tolist()
    drawn = [int(draw_ranked(torch.arange(12)[:, None], difficulty, 0.25, 0.75, random)) for _ in range(1200)]
    assert set(drawn) == set(order[3:9])
    assert chisquare([drawn.count(c) for c in order[3:9]]).pvalue > 1e-4


def test_where_all_are_as_difficult_the_candidates_come_as_they_are():
    random = generator(1)
    drawn = {int(draw_ranked(torch.arange(8)[:, None], torch.ones(8), 0.0, 0.5, random)) for _ in range(80)}
    assert drawn == {0, 1, 2, 3}


def test_candidates_are_uniform_sets_of_distinct_classes(index):
    tasks = draw_candidates(index, 3000, 2, generator(2))
    assert tasks.shape == (3000, 2)
    low, high = tasks.min(1).values, tasks.max(1).values
    assert (low < high).all()
    counts = torch.bincount(low * 20 + high)
    assert int((counts > 0).sum()) == 190
    assert chisquare(counts[counts > 0].tolist()).pvalue > 1e-4
