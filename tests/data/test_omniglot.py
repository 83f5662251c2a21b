import pytest
import torch

from mtl.config import Data
from mtl.data import load_splits
from mtl.data.decode import decode
from mtl.data.folders import image_files
from mtl.data.sources import omniglot
from mtl.errors import UserError

BACKGROUND = [f"{alphabet}/character0{i}" for alphabet in "ABCDEFG" for i in (1, 2)]
EVALUATION = [f"{alphabet}/character0{i}" for alphabet in "XY" for i in (1, 2)]
LISTS = {"train": [*BACKGROUND[:10], "X/character01"], "val": BACKGROUND[10:], "test": EVALUATION[1:]}


def data(root, **more):
    return Data(name="omniglot", root=str(root), download=False, **more)


@pytest.fixture
def tree(tmp_path, write_images, monkeypatch):
    """A small set in Omniglot's layout, and a list for it in the place of Vinyals'."""
    monkeypatch.setattr(omniglot, "class_lists", lambda name: LISTS)
    for part, characters in (("background", BACKGROUND), ("evaluation", EVALUATION)):
        for character in characters:
            write_images(tmp_path / "omniglot" / f"images_{part}" / character, 2, size=28, channels=1)
    return tmp_path


@pytest.mark.parametrize(
    ("more", "sizes"),
    [
        ({}, (1028, 172, 423)),
        ({"split": "lake"}, (806, 158, 659)),
        ({"rotations": True}, (4112, 688, 1692)),
        ({"split": "lake", "rotations": True}, (4 * 806, 158, 659)),
    ],
)
def test_the_real_set_has_its_characters_with_20_drawings_each(more, sizes, real_set, count_only):
    root = real_set("omniglot")
    splits = load_splits(data(root, cache=False, **more), 0)
    parts = (splits.train, splits.val, splits.test)
    assert tuple(part.num_classes for part in parts) == sizes
    assert all(part.class_counts().unique().tolist() == [20] for part in parts)
    groups = [set(part.groups or ()) for part in parts]
    assert len(set().union(*groups)) == 50
    if "split" in more:
        assert [len(g) for g in groups] == [25, 5, 20]


def test_a_real_drawing_is_thin_ink_on_an_empty_ground(real_set):
    folder = real_set("omniglot") / "omniglot" / "images_background" / "Greek" / "character01"
    files = image_files(folder)
    assert len(files) == 20
    ink = 255 - torch.stack([decode(f, 28, True) for f in files])
    assert ink.amax((1, 2, 3)).min() > 100
    assert ink.float().mean() < 60


def test_vinyals_split_is_by_list_and_ink_is_bright(tree):
    splits = load_splits(data(tree), 0)
    assert splits.train.class_names == tuple(LISTS["train"])
    assert splits.val.groups == ("F", "F", "G", "G")
    assert splits.test.class_names == tuple(LISTS["test"])
    file = tree / "omniglot" / splits.test.files[0]
    assert torch.equal(splits.test.images[0], 255 - decode(file, 28, True))


def test_lakes_split_validates_with_every_sixth_alphabet(tree):
    splits = load_splits(data(tree, split="lake"), 0)
    assert set(splits.train.groups or ()) == set("ABCDEG")
    assert set(splits.val.groups or ()) == {"F"}
    assert set(splits.test.groups or ()) == set("XY")


def test_rotations_are_further_classes_of_the_same_images(tree):
    plain, turned = load_splits(data(tree), 0).val, load_splits(data(tree, rotations=True), 0).val
    assert turned.num_classes == 4 * plain.num_classes
    assert len(turned) == 4 * len(plain)
    for c, name in enumerate(plain.class_names):
        originals = plain.images[plain.labels == c]
        for quarter in range(4):
            label = turned.class_names.index(f"{name}@{90 * quarter}" if quarter else name)
            rows = (turned.labels == label).nonzero().flatten()
            assert torch.equal(turned.images[rows], torch.rot90(originals, quarter, (2, 3)))
            assert [turned.files[i] for i in rows] == [
                plain.files[i] for i in (plain.labels == c).nonzero().flatten()
            ]
            assert turned.groups is not None
            assert turned.groups[label] == name.split("/")[0]


@pytest.mark.parametrize("split", ["vinyals", "lake"])
def test_a_missing_character_is_named(tree, split):
    (tree / "omniglot" / "images_evaluation" / "Y").rename(tree / "away")
    with pytest.raises(
        UserError, match="class Y/character01 of the published split is missing; the copy is not complete"
    ):
        load_splits(data(tree, split=split), 0)


def test_the_parts_may_lie_in_the_root_itself(tree):
    assert load_splits(data(tree / "omniglot"), 0).val.num_classes == 4


def test_a_set_that_cannot_be_had_is_told_in_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"has no images_background and .*, and data\.download is off"):
        load_splits(data(tmp_path), 0)

    def unreachable(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr("torchvision.datasets.Omniglot", unreachable)
    with pytest.raises(UserError, match=r"could not be downloaded \(no route\); put images_background and"):
        load_splits(Data(name="omniglot", root=str(tmp_path)), 0)


def load_turned(root, split, rotations):
    config = Data(name="omniglot", root=str(root), download=False, split=split, rotations=rotations)
    return load_splits(config, 0)


def test_only_training_characters_of_lakes_split_are_turned(tree):
    plain, turned = load_turned(tree, "lake", False), load_turned(tree, "lake", True)
    assert turned.train.num_classes == 4 * plain.train.num_classes == 4 * 12
    assert set(turned.train.class_names) >= set(plain.train.class_names)
    for part in ("val", "test"):
        one, other = getattr(turned, part), getattr(plain, part)
        assert one.class_names == other.class_names
        assert not any("@" in name for name in one.class_names)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("order", [(False, True), (True, False)], ids=str)
def test_the_cache_tells_turned_sets_from_plain_ones(tree, order):
    for _ in range(2):
        for rotations in order:
            assert load_turned(tree, "lake", rotations).train.num_classes == (48 if rotations else 12)
            assert load_turned(tree, "vinyals", rotations).test.num_classes == (12 if rotations else 3)
