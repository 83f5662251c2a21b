"""The memory of losses, against a dictionary."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.losses.hard_examples import LossMemory, count_of, put, ranked

batches = st.lists(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 50)), min_size=1, max_size=8), max_size=8
)


@settings(deadline=None, max_examples=60)
@given(batches)
def test_it_keeps_the_last_loss_of_each_image(batches):
    memory, table = LossMemory(7), {}
    for pairs in batches:
        images, losses = (torch.tensor(x) for x in zip(*pairs, strict=True))
        found = memory.enter(images, losses / 4)
        table |= {i: max(loss / 4 for j, loss in pairs if j == i) for i, _ in pairs}
        assert found.tolist() == [table[i] for i, _ in pairs]
    assert memory.known().tolist() == [table[image] for image in sorted(table)]
    for image in range(7):
        kept = float(memory.losses[image])
        assert kept == table[image] if image in table else math.isnan(kept)


def test_it_is_part_of_the_state_and_no_part_of_the_graph():
    memory = LossMemory(3)
    losses = torch.tensor([1.0, 2.0], requires_grad=True)
    assert not memory.enter(torch.tensor([2, 0]), losses).requires_grad
    again = LossMemory(3)
    again.load_state_dict(memory.state_dict())
    assert again.known().tolist() == [2.0, 1.0]


def test_nothing_but_the_images_of_the_batch_is_written():
    table = put(torch.full((4,), 9.0), torch.tensor([1, 3, 1]), torch.tensor([1.0, 2.0, 3.0]))
    assert table.tolist() == [9, 3, 9, 2]


def test_a_loss_that_is_no_number_ranks_as_the_worst():
    assert ranked(torch.tensor([1.0, torch.nan, -2.0])).tolist() == [1, math.inf, -2]


def test_a_share_is_rounded_up_whatever_its_binary_digits():
    assert [count_of(s, n) for s, n in [(0.07, 100), (0.55, 100), (0.29, 100), (1, 7)]] == [7, 55, 29, 7]
    assert [count_of(s, n) for s, n in [(0.31, 10), (1e-12, 5), (0.5, 3)]] == [4, 1, 2]


def test_no_image_no_memory():
    with pytest.raises(ValueError, match="size"):
        LossMemory(0)
    with pytest.raises(ValueError, match="images"):
        LossMemory(3).enter(torch.tensor([3]), torch.zeros(1))
