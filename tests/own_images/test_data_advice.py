"""Pairs that need more images: their confusion by hand, which are told, and how many images are asked for."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.own_images.data_advice import Advice, advice, confusions, more_images
from mtl.stats import wilson


def answered(rows):
    """Rows (label, probabilities, how many images) as probabilities (H, N) and labels (H,)."""
    probabilities = torch.tensor([p for _, p, n in rows for _ in range(n)], dtype=torch.float64)
    return probabilities, torch.tensor([label for label, _, n in rows for _ in range(n)])


def test_confusions_are_means_of_what_either_gets_for_the_other():
    probabilities, labels = answered(
        [(0, (0.5, 0.3, 0.2), 1), (0, (0.9, 0.1, 0.0), 1), (1, (0.6, 0.4, 0.0), 3), (2, (0.1, 0.1, 0.8), 1)]
    )
    found, asked = confusions(probabilities, labels, 3)
    # 0 and 1: (0.2 + 0.6) / 2, 0 and 2: (0.1 + 0.1) / 2, 1 and 2: (0 + 0.1) / 2
    assert found.tolist() == pytest.approx([0.4, 0.1, 0.05])
    assert asked.tolist() == [5, 3, 4]


def test_classes_that_were_not_asked_have_what_others_tell_of_them():
    probabilities, labels = answered([(1, (0.7, 0.2, 0.1, 0.0), 20)])
    found, asked = confusions(probabilities, labels, 4)
    assert found[[0, 3, 4]].tolist() == pytest.approx([0.7, 0.1, 0.0])
    assert all(math.isnan(c) for c in found[[1, 2, 5]].tolist())
    assert asked.tolist() == [20, 0, 0, 20, 20, 0]
    assert advice(probabilities, labels, torch.tensor([1, 20, 1, 1])) == [
        Advice(0, 1, pytest.approx(0.7), 3, 0)
    ]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 10_000))
def test_confusion_is_the_mean_probability_of_either_class_for_the_other(way, queries, seed):
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(way * queries, way, generator=random, dtype=torch.float64)
    labels = torch.arange(way).repeat_interleave(queries)
    found, _ = confusions(torch.softmax(logits, -1), labels, way)
    table = torch.softmax(logits, -1).view(way, queries, way).mean(1)
    wanted = [(table[i, j] + table[j, i]).item() / 2 for i in range(way) for j in range(i + 1, way)]
    assert found.tolist() == pytest.approx(wanted)


PLAIN, CONFUSED = (0.9, 0.05, 0.05), (0.5, 0.45, 0.05)


def test_the_pair_that_is_surely_more_confused_than_others_is_told():
    probabilities, labels = answered(
        [(0, CONFUSED, 20), (1, (0.4, 0.55, 0.05), 20), (2, (0.05, 0.05, 0.9), 20)]
    )
    (found,) = advice(probabilities, labels, torch.tensor([20, 20, 20]))
    assert found == Advice(0, 1, pytest.approx(0.425), 20, 20)  # equal recalls and numbers: as they come
    assert wilson(0.425 * 40, 40)[0] > (0.425 + 0.05 + 0.05) / 3
    # of few images the same is no proof: the low end of the interval is below the mean of the pairs
    assert wilson(0.425 * 4, 4)[0] < (0.425 + 0.05 + 0.05) / 3
    few = answered([(0, CONFUSED, 2), (1, (0.4, 0.55, 0.05), 2), (2, (0.05, 0.05, 0.9), 2)])
    assert advice(*few, torch.tensor([2, 2, 2])) == []


def test_first_is_the_class_with_fewer_images_and_of_two_alike_the_one_with_lower_recall():
    rows = [(0, (0.6, 0.4), 30), (1, (0.6, 0.4), 30)]  # 1 is always answered wrongly
    assert advice(*answered(rows), torch.tensor([30, 30]))[0].first == 1
    found = advice(*answered(rows), torch.tensor([4, 30]))[0]
    assert (found.first, found.more_of_first, found.more_of_second) == (0, 4, 0)


def test_pairs_that_are_well_told_apart_are_left_alone_however_many_images_say_so():
    rows = [(0, (0.905, 0.095, 0.0), 3000), (1, (0.095, 0.905, 0.0), 3000), (2, (0.0, 0.0, 1.0), 3000)]
    assert advice(*answered(rows), torch.tensor([3000] * 3)) == []
    rows = [(0, (0.89, 0.11, 0.0), 3000), (1, (0.11, 0.89, 0.0), 3000), (2, (0.0, 0.0, 1.0), 3000)]
    assert len(advice(*answered(rows), torch.tensor([3000] * 3))) == 1


def test_where_all_are_confused_alike_no_pair_is_told():
    rows = [(k, (1 / 3, 1 / 3, 1 / 3), 500) for k in range(3)]
    assert advice(*answered(rows), torch.tensor([500] * 3)) == []


def test_the_most_confused_come_first():
    rows = [
        (0, (0.5, 0.5, 0, 0, 0, 0), 100),
        (1, (0.5, 0.5, 0, 0, 0, 0), 100),
        (2, (0, 0, 0.4, 0.6, 0, 0), 100),
        (3, (0, 0, 0.6, 0.4, 0, 0), 100),
        (4, (0, 0, 0, 0, 1.0, 0), 100),
        (5, (0, 0, 0, 0, 0, 1.0), 100),
    ]
    found = advice(*answered(rows), torch.tensor([100] * 6))
    assert [(one.first, one.second) for one in found] == [
        (2, 3),
        (1, 0),
    ]  # all of 1 and of 2 and 3 are answered wrongly
    assert [one.confusion for one in found] == pytest.approx([0.6, 0.5])


def test_of_no_answers_there_is_no_advice():
    assert advice(torch.empty(0, 3), torch.empty(0, dtype=torch.int64), torch.tensor([1, 1, 1])) == []


@pytest.mark.parametrize(
    ("fewer", "other", "wanted"),
    [(1, 1, (3, 3)), (2, 4, (3, 1)), (5, 5, (5, 5)), (5, 12, (5, 0)), (5, 10, (5, 0)), (100, 110, (20, 10))],
)
def test_the_smaller_class_is_doubled_within_bounds_and_the_other_not_passed(fewer, other, wanted):
    assert more_images(fewer, other) == wanted
