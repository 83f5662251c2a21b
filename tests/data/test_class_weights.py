"""Weights of classes by their counts, against exact arithmetic."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.data.class_imbalance import effective_number, inverse_frequency

COUNTS = torch.tensor([410, 506, 146, 103])

counts_of_classes = st.lists(st.integers(1, 60), min_size=1, max_size=6)


def _exact(n, beta):
    """(1 − β)/(1 − βⁿ) without rounding, of the very float that β is."""
    beta = Fraction(beta)
    return float((1 - beta) / (1 - beta**n))


def test_effective_numbers_of_reference():
    expected = torch.tensor([0.00248924, 0.00202661, 0.00689909, 0.00975834], dtype=torch.float64)
    torch.testing.assert_close(effective_number(COUNTS, 0.9999), expected, rtol=0, atol=5e-9)


def test_inverse_frequency_is_one_over_the_count():
    assert inverse_frequency(COUNTS).tolist() == [1 / 410, 1 / 506, 1 / 146, 1 / 103]


@settings(max_examples=80, deadline=None)
@given(counts=counts_of_classes, beta=st.floats(0, 1, exclude_max=True))
def test_effective_numbers_are_exact_for_any_beta(counts, beta):
    found = effective_number(torch.tensor(counts), beta)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([_exact(n, beta) for n in counts], rel=1e-13)


@pytest.mark.parametrize("gap", [1e-7, 1e-8, 1e-9])
def test_beta_close_to_one_needs_expm1(gap):
    beta = 1 - gap
    exact = pytest.approx([_exact(n, beta) for n in (3, 7)], rel=1e-13)
    assert effective_number(torch.tensor([3, 7]), beta).tolist() == exact
    assert [(1 - beta) / (1 - beta**n) for n in (3, 7)] != exact  # the formula as it is written


def test_beta_close_to_one_comes_to_inverse_frequency():
    torch.testing.assert_close(effective_number(COUNTS, 1 - 2.0**-53), inverse_frequency(COUNTS))


def test_beta_of_zero_counts_classes_alike():
    assert effective_number(torch.tensor([1, 2, 10**12]), 0.0).tolist() == [1, 1, 1]
    assert effective_number(torch.tensor([1, 2, 10**12]), 5e-324).tolist() == [1, 1, 1]


def test_counts_without_end_come_to_one_less_beta():
    assert effective_number(torch.tensor([10**15]), 0.75).tolist() == [0.25]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9999])
def test_classes_without_images_count_nothing(beta):
    assert effective_number(torch.tensor([0, 4, 0]), beta)[[0, 2]].tolist() == [0, 0]
    assert inverse_frequency(torch.tensor([0, 4, 0])).tolist() == [0, 0.25, 0]
    assert inverse_frequency(torch.tensor([], dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("weigh", [inverse_frequency, lambda counts: effective_number(counts, 0.9)])
@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (torch.tensor([[1, 2]]), "whole numbers"),
        (torch.tensor([1.0, 2.0]), "whole numbers"),
        (torch.tensor([1, -2]), "one is -2"),
    ],
)
def test_counts_that_are_none_are_refused(weigh, counts, words):
    with pytest.raises(ValueError, match=words):
        weigh(counts)


@pytest.mark.parametrize("beta", [-0.1, 1.0, 1.5, float("nan")])
def test_beta_outside_its_range_is_refused(beta):
    with pytest.raises(ValueError, match="beta"):
        effective_number(COUNTS, beta)
