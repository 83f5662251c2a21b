"""Lake's split of Omniglot with rotations: training characters are turned, those that are tested never."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mtl.config import Data
from mtl.data import Splits, load_splits
from mtl.data.sources import omniglot

WriteImages = Callable[..., list[Path]]
BACKGROUND = [f"{alphabet}/character0{i}" for alphabet in "ABCDEFG" for i in (1, 2)]
EVALUATION = [f"{alphabet}/character0{i}" for alphabet in "XY" for i in (1, 2)]
LISTS = {"train": BACKGROUND[:10], "val": BACKGROUND[10:], "test": EVALUATION}


@pytest.fixture
def tree(tmp_path: Path, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small set in Omniglot's layout; every character has drawings of its own."""
    monkeypatch.setattr(omniglot, "class_lists", lambda name: LISTS)
    for part, characters in (("background", BACKGROUND), ("evaluation", EVALUATION)):
        for character in characters:
            write_images(tmp_path / "omniglot" / f"images_{part}" / character, 2, size=28, channels=1)
    return tmp_path


def load(root: Path, split: str, rotations: bool) -> Splits:
    config = Data(name="omniglot", root=str(root), download=False, split=split, rotations=rotations)  # type: ignore[arg-type]
    return load_splits(config, 0)


def test_only_training_characters_of_lakes_split_are_turned(tree: Path) -> None:
    plain, turned = load(tree, "lake", False), load(tree, "lake", True)
    assert turned.train.num_classes == 4 * plain.train.num_classes == 4 * 12
    assert set(turned.train.class_names) >= set(plain.train.class_names)
    for part in ("val", "test"):
        one, other = getattr(turned, part), getattr(plain, part)
        assert one.class_names == other.class_names
        assert not any("@" in name for name in one.class_names)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_turned_training_characters_are_classes_of_their_alphabet(tree: Path) -> None:
    plain, turned = load(tree, "lake", False).train, load(tree, "lake", True).train
    assert turned.groups is not None
    for c, name in enumerate(plain.class_names):
        for quarter in (1, 2, 3):
            label = turned.class_names.index(f"{name}@{90 * quarter}")
            expected = torch.rot90(plain.images[plain.labels == c], quarter, (2, 3))
            assert torch.equal(turned.images[turned.labels == label], expected)
            assert turned.groups[label] == name.split("/")[0]
    assert set(turned.groups) == set("ABCDEG")


def test_all_parts_of_vinyals_split_are_turned(tree: Path) -> None:
    plain, turned = load(tree, "vinyals", False), load(tree, "vinyals", True)
    for part in ("train", "val", "test"):
        assert getattr(turned, part).num_classes == 4 * getattr(plain, part).num_classes


@pytest.mark.parametrize("order", [(False, True), (True, False)], ids=str)
def test_the_cache_tells_turned_sets_from_plain_ones(tree: Path, order: tuple[bool, bool]) -> None:
    for _ in range(2):
        for rotations in order:
            assert load(tree, "lake", rotations).train.num_classes == (48 if rotations else 12)
            assert load(tree, "vinyals", rotations).test.num_classes == (16 if rotations else 4)


def test_the_real_set_is_turned_in_training_alone(
    real_set: Callable[[str], Path], count_only: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = real_set("omniglot")
    count_only(monkeypatch, omniglot)
    splits = load(root, "lake", True)
    assert [part.num_classes for part in (splits.train, splits.val, splits.test)] == [4 * 806, 158, 659]
    assert splits.test.groups is not None
    sizes = [splits.test.groups.count(alphabet) for alphabet in set(splits.test.groups)]
    assert len(sizes) == 20
    assert min(sizes) >= 20  # every alphabet has the 20 characters of a task within it
