"""The table of images by class, against looking for them one by one."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mtl.episodes.class_index import ClassIndex
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
