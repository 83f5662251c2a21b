"""Sparklines, character by character."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.ledger.sparkline import sparkline, thinned

BLOCKS = "▁▂▃▄▅▆▇█"


def test_eight_equal_steps():
    assert sparkline([i / 8 for i in range(8)], 0, 1) == BLOCKS
    assert sparkline([(i + 0.99) / 8 for i in range(8)], 0, 1) == BLOCKS
    assert sparkline([20, 30, 40, 50, 60], 20, 60) == "▁▃▅▇█"
    assert sparkline([0.5], 0.2, 0.8) == "▅"  # though 0.3 / 0.6 is below a half in floats
    assert sparkline([0.5, -0.5, -1.0, 1.0], -1, 1) == "▇▃▁█"


def test_a_gap_for_what_is_not_known():
    assert sparkline([None, 0.0, None, None, 1.0, math.nan], 0, 1) == " ▁  █ "
    assert sparkline([None], 0, 1) == " "
    assert sparkline([], 0, 1) == ""


def test_what_lies_outside_is_drawn_as_the_nearer_end():
    assert sparkline([-5, 0.5, 7, -math.inf, math.inf], 0, 1) == "▁▅█▁█"


def test_one_point_as_a_scale_is_drawn_in_the_middle():
    assert sparkline([0.7, 0.7, None], 0.7, 0.7) == "▄▄ "


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (math.nan, 1.0), (0.0, math.inf)])
def test_what_is_no_scale_is_refused(low, high):
    with pytest.raises(ValueError, match="from a low number to a high one"):
        sparkline([0.5], low, high)


@given(st.lists(st.none() | st.floats(-10, 10), max_size=30), st.floats(-10, 9), st.floats(0.001, 10))
def test_one_character_a_value_and_higher_is_never_lower(values, low, span):
    line = sparkline(values, low, low + span)
    assert len(line) == len(values)
    known = sorted((v, BLOCKS.index(c)) for v, c in zip(values, line, strict=True) if v is not None)
    assert [c for _, c in known] == sorted(c for _, c in known)
    assert [c == " " for c in line] == [v is None for v in values]


def test_thinned_to_means_of_equal_stretches():
    assert thinned([1, 3, 5, 7], 2) == [2, 6]
    assert thinned([1, 3, None, 7, None, math.nan], 3) == [2, 7, None]
    assert thinned([1, None, 3], 5) == [1, None, 3]
    assert thinned([1, 2, 4, 8, 16], 2) == [1.5, pytest.approx(28 / 3)]
    assert thinned([], 3) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 20))
def test_thinning_keeps_the_number_asked_for_the_order_and_nothing_outside(values, most):
    kept = thinned(values, most)
    assert len(kept) == min(most, len(values))
    assert min(values) - 1e-9 <= min(kept) <= max(kept) <= max(values) + 1e-9
    if len(values) % len(kept) == 0:
        assert kept == pytest.approx(np.reshape(values, (len(kept), -1)).mean(1))


def test_thinning_to_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        thinned([1.0], 0)
