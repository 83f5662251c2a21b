"""The stream of uniform episodes: any of them at any time, the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape

INDEX = ClassIndex.of(torch.arange(200) % 20)


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.integers(0, 500), min_size=1, max_size=6), seed=st.integers(0, 2**40))
def test_an_episode_does_not_depend_on_what_was_drawn_before(numbers, seed):
    stream = CategoriesSampler.of(INDEX, EpisodeShape(5, 1, 3), seed)
    for number in numbers:
        _, classes, images = stream.episode(number)
        alone = CategoriesSampler.of(INDEX, EpisodeShape(5, 1, 3), seed).episode(number)
        assert torch.equal(classes, alone[1])
        assert torch.equal(images, alone[2])
        assert (images % 20 == classes[:, None]).all()


@pytest.mark.parametrize("first", [0, 60])
def test_neighbours_differ_within_a_block_and_across_blocks(first):
    stream = CategoriesSampler.of(INDEX, EpisodeShape(5, 1, 3), seed=0)
    assert len({str(stream.episode(i)) for i in range(first, first + 10)}) == 10
