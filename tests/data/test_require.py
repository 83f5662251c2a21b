from dataclasses import replace

import pytest
import torch

from mtl.data import ImageSet, require_episodes
from mtl.errors import UserError


def make(*counts: int) -> ImageSet:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    names = tuple(f"class {i}" for i in range(len(counts)))
    return ImageSet(torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8), labels, names)


def test_a_split_that_is_just_large_enough_passes() -> None:
    require_episodes(make(6, 6), "val", way=2, shot=1, queries=5)


def test_fewer_classes_than_ways_names_split_and_both_numbers() -> None:
    with pytest.raises(UserError, match=r"the val split has 2 classes, fewer than the 5 ways"):
        require_episodes(make(9, 9), "val", way=5, shot=1, queries=5)


def test_a_class_with_too_few_images_is_named_with_its_numbers() -> None:
    words = r"class class 1 of the test split has 5 images, fewer than shot \+ queries = 1 \+ 5$"
    with pytest.raises(UserError, match=words):
        require_episodes(make(6, 5), "test", way=2, shot=1, queries=5)
    with pytest.raises(UserError, match=r"\(and 1 more class is too small\)$"):
        require_episodes(make(3, 5), "test", way=2, shot=1, queries=5)


def test_images_that_may_not_be_used_do_not_count() -> None:
    images = make(6, 6)
    require_episodes(images, "train", 2, 1, 5, among=torch.arange(12))
    with pytest.raises(UserError, match="class class 0 of the train split has 4 images that episodes may"):
        require_episodes(images, "train", 2, 1, 5, among=torch.arange(2, 12))


def in_clips(*sizes: int) -> ImageSet:
    """Two classes, each with clips of these sizes."""
    names = tuple(f"clip{i}" for i, size in enumerate(sizes) for _ in range(size))
    return replace(make(len(names), len(names)), image_groups=2 * names)


def test_groups_that_cannot_be_divided_are_named_with_what_is_possible() -> None:
    require_episodes(in_clips(10, 6), "train", 2, 6, 10)
    with pytest.raises(UserError) as refused:
        require_episodes(in_clips(10, 6), "train", 2, 7, 9)
    for word in (
        "class 0 of the train split",
        "16 images",
        "2 groups",
        "clip0 10, clip1 6",
        "leaves 6 queries",
    ):
        assert word in str(refused.value)
    assert "(and 1 more class is too small)" in str(refused.value)
    with pytest.raises(UserError, match=r"20 images in 1 group of .*clip0 20.* leaves 0 queries"):
        require_episodes(in_clips(20), "val", 2, 1, 5)
    with pytest.raises(UserError, match=r"10 images that episodes may use in 1 group of"):
        require_episodes(
            in_clips(10, 6), "train", 2, 1, 5, among=torch.cat([torch.arange(10), torch.arange(16, 32)])
        )
