"""The stream of uniform episodes: any of them at any time, the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.episodes.categories import EpisodeStream
from mtl.episodes.class_index import ClassIndex

INDEX = ClassIndex.of(torch.arange(200) % 20)


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.integers(0, 500), min_size=1, max_size=6), seed=st.integers(0, 2**40))
def test_an_episode_does_not_depend_on_what_was_drawn_before(numbers, seed):
    stream = EpisodeStream(INDEX, 5, 4, seed)
    for number in numbers:
        classes, images = stream[number]
        alone = EpisodeStream(INDEX, 5, 4, seed)[number]
        assert torch.equal(classes, alone[0])
        assert torch.equal(images, alone[1])
        assert (images % 20 == classes[:, None]).all()


@pytest.mark.parametrize("first", [0, 60])
def test_neighbours_differ_within_a_block_and_across_blocks(first):
    stream = EpisodeStream(INDEX, 5, 4, seed=0)
    assert len({str(stream[i]) for i in range(first, first + 10)}) == 10
