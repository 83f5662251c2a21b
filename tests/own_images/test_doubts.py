"""Images that look mislabelled: where the bound lies, and what is found of planted labels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.own_images.data_advice import doubts, most_doubtful


@pytest.mark.parametrize("way", [2, 5, 40])
def test_at_the_bound_a_label_is_as_likely_wrong_as_right(way):
    p = most_doubtful(way)
    wrong, right = 0.1 * (1 - p) / (way - 1), 0.9 * p
    assert wrong == pytest.approx(right)
    assert most_doubtful(5) == pytest.approx(1 / 37)


def test_the_worst_come_first_with_their_rows_and_classes():
    probabilities = torch.tensor(
        [
            [0.98, 0.01, 0.01],  # labelled 1: wrong
            [0.01, 0.95, 0.04],  # labelled 1: right
            [0.002, 0.1, 0.898],  # labelled 0: worse
            [0.06, 0.90, 0.04],  # labelled 0: unlikely, but not so much: the bound is 0.0526
        ],
        dtype=torch.float64,
    )
    found = doubts(probabilities, torch.tensor([1, 1, 0, 0]), torch.tensor([3, 5, 8, 9]))
    assert [(d.row, d.label, d.like) for d in found] == [(8, 0, 2), (3, 1, 0)]
    assert [(d.own, d.probability) for d in found] == [(0.002, 0.898), (0.01, 0.98)]


def test_of_no_images_none_is_doubted():
    assert (
        doubts(torch.empty(0, 3), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)) == []
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 8), st.integers(0, 40), st.integers(0, 10_000))
def test_they_are_the_images_below_the_bound_in_order(way, count, seed):
    random = torch.Generator().manual_seed(seed)
    probabilities = torch.softmax(4 * torch.randn(count, way, generator=random, dtype=torch.float64), -1)
    labels = torch.randint(way, (count,), generator=random)
    rows = torch.arange(count) * 3
    found = doubts(probabilities, labels, rows)
    own = [probabilities[i, label].item() for i, label in enumerate(labels.tolist())]
    bound = 0.1 / (0.1 + 0.9 * (way - 1))
    assert [d.row for d in found] == [
        3 * i for p, i in sorted((p, i) for i, p in enumerate(own)) if p < bound
    ]
    for d in found:
        assert d.probability == probabilities[d.row // 3].max().item()
        assert d.like == probabilities[d.row // 3].argmax().item() != d.label == labels[d.row // 3]
