import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.config import Data
from mtl.data import load_splits
from mtl.errors import UserError


def pictures(count, mode):
    random = np.random.default_rng(len(mode))
    return random.integers(0, 256, (count, 84, 84, 3), dtype=np.uint8)


class MiniImagenet:
    """As learn2learn's: float pictures, float labels in the order of `class_idx`."""

    def __init__(self, root, mode, download):
        assert Path(root).is_dir()
        self.x = torch.from_numpy(pictures(4, mode)).permute(0, 3, 1, 2).float()
        self.y = np.array([0.0, 0.0, 1.0, 1.0])
        self.class_idx = {f"n9 {mode}": 0, f"n1 {mode}": 1}


class TieredImagenet:
    """As learn2learn's: PNG files in memory, integer labels without names."""

    def __init__(self, root, mode, download):
        self.images, self.labels = [], np.array([7, 7, 2])
        for pixels in pictures(3, mode):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG")
            self.images.append(np.frombuffer(stream.getvalue(), dtype=np.uint8))


class Unreachable:
    def __init__(self, root, mode, download):
        raise ConnectionError("no route to host")


def load(monkeypatch, root, name, source, **more):
    datasets = SimpleNamespace(MiniImagenet=source, TieredImagenet=source)
    stub = SimpleNamespace(vision=SimpleNamespace(datasets=datasets))
    monkeypatch.setattr("mtl.data.sources.mini_imagenet.import_learn2learn", lambda who: stub)
    return load_splits(Data(name=name, root=str(root), **more), 0)


def test_mini_imagenet_keeps_the_names_of_its_classes(monkeypatch, tmp_path):
    splits = load(monkeypatch, tmp_path / "new" / "root", "mini_imagenet", MiniImagenet)
    assert splits.val.class_names == ("n1 validation", "n9 validation")
    assert splits.val.labels.tolist() == [1, 1, 0, 0]
    expected = torch.from_numpy(pictures(4, "validation")).permute(0, 3, 1, 2)
    assert torch.equal(splits.val.images, expected)


def test_tiered_imagenet_is_unpacked_and_its_splits_share_no_name(monkeypatch, tmp_path):
    splits = load(monkeypatch, tmp_path, "tiered_imagenet", TieredImagenet)
    assert splits.train.class_names == ("a0002", "a0007")
    assert splits.test.class_names == ("c0002", "c0007")
    assert splits.train.labels.tolist() == [1, 1, 0]
    assert torch.equal(splits.test.images, torch.from_numpy(pictures(3, "test")).permute(0, 3, 1, 2))


def test_size_and_grey_are_those_of_the_config(monkeypatch, tmp_path):
    splits = load(monkeypatch, tmp_path, "mini_imagenet", MiniImagenet, image_size=32, grayscale=True)
    assert splits.train.images.shape == (4, 1, 32, 32)


def test_once_there_the_set_needs_no_learn2learn(monkeypatch, tmp_path):
    first = load(monkeypatch, tmp_path, "mini_imagenet", MiniImagenet)
    again = load(monkeypatch, tmp_path, "mini_imagenet", Unreachable)
    assert torch.equal(again.train.images, first.train.images)


def test_a_failed_download_says_what_to_do_instead(monkeypatch, tmp_path):
    words = r"mini_imagenet could not be downloaded \(no route to host\); put its images into"
    with pytest.raises(UserError, match=words):
        load(monkeypatch, tmp_path, "mini_imagenet", Unreachable)
    assert list((tmp_path / ".cache").glob("*")) == []


def test_without_learn2learn_one_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "learn2learn", None)
    with pytest.raises(UserError, match=r"mini_imagenet is not below .* needs learn2learn, which is not"):
        load_splits(Data(name="mini_imagenet", root=str(tmp_path)), 0)


LISTS = {"train": ["n03", "n01"], "val": ["n04"], "test": ["n02"]}


def offline(root, name="mini_imagenet"):
    return Data(name=name, root=str(root), download=False)


@pytest.fixture(autouse=True)
def short_list(monkeypatch):
    monkeypatch.setattr("mtl.data.sources.mini_imagenet.class_lists", lambda name: LISTS)


def test_a_flat_folder_is_split_by_the_published_list(tmp_path, write_images):
    for name in ("n01", "n02", "n03", "n04", "n05 of no split"):
        write_images(tmp_path / "mini_imagenet" / name)
    splits = load_splits(offline(tmp_path), 0)
    assert splits.train.class_names == ("n01", "n03")
    assert (splits.val.class_names, splits.test.class_names) == (("n04",), ("n02",))
    assert splits.train.images.shape == (4, 3, 84, 84)


def test_a_class_of_the_list_that_is_missing_is_named(tmp_path, write_images):
    for name in ("n01", "n03", "n04"):
        write_images(tmp_path / "mini_imagenet" / name)
    with pytest.raises(UserError, match=r"class n02 of the published split is missing; put its images into"):
        load_splits(offline(tmp_path), 0)


@pytest.mark.parametrize("name", ["mini_imagenet", "tiered_imagenet"])
def test_given_folders_go_before_the_list(tmp_path, name, write_images):
    for part, one in (("train", "x"), ("val", "y"), ("test", "z")):
        write_images(tmp_path / name / part / one)
    assert load_splits(offline(tmp_path, name), 0).test.class_names == ("z",)


def test_tiered_imagenet_is_never_split_by_chance(tmp_path, write_images):
    for name in "abcdef":
        write_images(tmp_path / "tiered_imagenet" / name)
    with pytest.raises(UserError, match="tiered_imagenet: has no train, val and test; put its images"):
        load_splits(offline(tmp_path, "tiered_imagenet"), 0)


def test_a_missing_folder_says_where_to_put_the_images(tmp_path):
    words = r"mini_imagenet is missing, and data\.download is off; put its images into .*/\{train,val,test\}/"
    with pytest.raises(UserError, match=words):
        load_splits(offline(tmp_path), 0)
