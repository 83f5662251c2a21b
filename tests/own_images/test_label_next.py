"""Which images to label next: unsure ones that stand for many, each for others."""

import torch

from mtl.own_images.label_next import label_next

#: Three images in one direction, two in a second, one on its own in a third.
FEATURES = torch.tensor([[1.0, 0, 0], [1, 0.1, 0], [1, 0, 0.1], [0, 1, 0], [0, 1, 0.1], [0, 0, 1]])
EVEN = torch.full((6, 2), 0.5)
NONE = torch.empty(0, 3)


def test_each_direction_is_asked_for_once_the_fullest_first():
    chosen = label_next(EVEN, FEATURES, NONE, 3)
    assert [{0, 1, 2}, {3, 4}, {5}] == [next(s for s in ({0, 1, 2}, {3, 4}, {5}) if i in s) for i in chosen]


def test_what_is_labelled_already_is_not_asked_for_again():
    assert label_next(EVEN, FEATURES, FEATURES[:1], 1)[0] in {3, 4}


def test_certain_images_come_last():
    p = EVEN.clone()
    p[:5] = torch.tensor([1.0, 0.0])
    assert label_next(p, FEATURES, NONE, 1) == [5]


def test_every_image_comes_at_most_once_and_lengths_make_no_difference():
    chosen = label_next(EVEN, 7 * FEATURES, NONE, 99)
    assert sorted(chosen) == list(range(6))
    assert chosen[:3] == label_next(EVEN, FEATURES, NONE, 3)


def test_of_many_images_some_are_compared():
    many = torch.randn(7_000, 4, generator=torch.Generator().manual_seed(0))
    chosen = label_next(torch.full((7_000, 3), 1 / 3), many, many[:0], 5)
    assert len(set(chosen)) == 5
    assert max(chosen) < 7_000
