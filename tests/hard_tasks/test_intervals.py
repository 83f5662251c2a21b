import math

import numpy as np
import pytest
from scipy import stats

from mtl.hard_tasks.intervals import mean_interval, wilson


@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 7), (50, 75), (999, 1000)])
def test_wilson_against_scipy(correct, n):
    expected = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert wilson(correct, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_knows_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("correct", "n"), [(2, 1), (-1, 3), (0, -1)])
def test_wilson_refuses_what_is_no_share(correct, n):
    with pytest.raises(ValueError, match="no share"):
        wilson(correct, n)


@pytest.mark.parametrize("n", [2, 3, 10, 500])
def test_mean_interval_against_scipy(n):
    values = np.random.default_rng(n).normal(0.6, 0.1, n).tolist()
    mean, half = mean_interval(values)
    low, high = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high), abs=1e-12)


def test_mean_interval_of_one_value_has_no_width_to_tell():
    mean, half = mean_interval([0.5])
    assert mean == 0.5
    assert math.isnan(half)


def test_mean_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
