from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mtl.config import Data
from mtl.data import load_splits
from mtl.data.decode import decode
from mtl.data.sources import superclass_of
from mtl.errors import UserError


def data(root, name="cifar_fs", **more):
    return Data(name=name, root=str(root), **more)


@pytest.mark.parametrize(("name", "sizes"), [("cifar_fs", (64, 16, 20)), ("fc100", (60, 20, 20))])
def test_the_real_set_has_all_600_images_of_every_class(name, sizes, real_set, count_only):
    root = real_set("cifar100")
    splits = load_splits(data(root, name, download=False, cache=False), 0)
    parts = (splits.train, splits.val, splits.test)
    assert tuple(part.num_classes for part in parts) == sizes
    assert all(part.class_counts().unique().tolist() == [600] for part in parts)
    groups = [set(part.groups or ()) for part in parts]
    assert len(set().union(*groups)) == 20
    assert (sum(map(len, groups)) == 20) == (name == "fc100")


def test_train_and_test_files_of_a_class_come_together(tmp_path, write_images):
    for name in superclass_of():
        write_images(tmp_path / "cifar100" / "train" / name, 2, 32)
        write_images(tmp_path / "cifar100" / "test" / name, 1, 32)
    train = load_splits(data(tmp_path), 0).train
    assert train.class_counts().tolist() == [3] * 64
    assert train.groups is not None
    assert train.groups[train.class_names.index("apple")] == "fruit_and_vegetables"
    file = train.files.index("test/apple/00.png")
    assert torch.equal(train.images[file], decode(tmp_path / "cifar100" / "test/apple/00.png", 32, False))


def test_a_class_that_is_missing_is_named(tmp_path, write_images):
    for name in set(superclass_of()) - {"apple"}:
        write_images(tmp_path / "cifar100" / "train" / name, 1)
    (tmp_path / "cifar100" / "test").mkdir()
    with pytest.raises(UserError, match="class apple of the published split is missing; put its images into"):
        load_splits(data(tmp_path), 0)


def stand_in(root, train, download):
    """Shaped as torchvision's: pixels (M, 32, 32, 3), a label for each, and the names of all classes."""
    names = sorted(superclass_of())
    labels = list(range(100)) * (2 if train else 1)
    pixels = np.random.default_rng(train).integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
    return SimpleNamespace(data=pixels, targets=labels, classes=names)


def test_the_copy_of_torchvision_serves_where_there_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR100", stand_in)
    splits = load_splits(data(tmp_path, "fc100"), 0)
    assert splits.train.class_counts().tolist() == [3] * 60
    pixels, names = stand_in("", False, False).data, sorted(superclass_of())
    for image, label, file in zip(splits.test.images, splits.test.labels, splits.test.files, strict=True):
        part, number = file.split("/")
        assert names[int(number) % 100] == splits.test.class_names[int(label)]
        if part == "test":
            assert torch.equal(image, torch.from_numpy(pixels[int(number)]).permute(2, 0, 1))
    small = load_splits(data(tmp_path, "fc100", image_size=16, grayscale=True), 0)
    assert small.val.images.shape == (60, 1, 16, 16)


@pytest.mark.parametrize(
    ("download", "words"),
    [(True, r"could not be downloaded \(no route\); put"), (False, r"and data\.download is off; put")],
)
def test_a_set_that_cannot_be_had_is_told_in_a_sentence(tmp_path, monkeypatch, download, words):
    def unreachable(*_, **__):
        raise RuntimeError("no route")

    monkeypatch.setattr("torchvision.datasets.CIFAR100", unreachable)
    with pytest.raises(UserError, match=words):
        load_splits(data(tmp_path, download=download), 0)
