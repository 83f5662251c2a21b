"""Draws without replacement, many rows at once, against counting every order."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mtl.episodes.class_index import draw_distinct
from mtl.runtime.seeds import generator

P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always


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
    with pytest.raises(ValueError, match="3 different ones asked for, out of 2"):
        draw_distinct(torch.tensor([5, 2]), 3, generator(0))
