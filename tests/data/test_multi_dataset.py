"""Several image sets as one: names, sizes, colours, and what may not go together."""

from dataclasses import replace

import pytest
import torch

from mtl.config import Data
from mtl.data import ImageSet, Splits, load_splits
from mtl.data.sources import glyphs, superclass_of
from mtl.data.sources.multi_dataset import in_colour, join, load_matching
from mtl.errors import UserError

SMALL = {"train": ("LAO",), "val": ("LISU",), "test": ("OGHAM",)}


@pytest.fixture
def root(tmp_path, write_images, monkeypatch):
    """An image folder in colour, 24×24, beside glyphs of few scripts."""
    monkeypatch.setattr(glyphs, "SCRIPTS", SMALL)
    for part, classes in (("train", "abc"), ("val", "de"), ("test", "f")):
        for c in classes:
            write_images(tmp_path / part / c, count=3, size=24)
    return tmp_path


def both(root, **more):
    two = {"sets": ("image_folder", "glyphs"), "samples_per_class": 2}
    return Data(name="several", root=str(root), **(two | more))


def alone(name, config, **more):
    return load_splits(replace(config, name=name, sets=(), **more), 0)


def part(channels, names, groups=False, files=True):
    """Two images a class, pixels by the number of the image."""
    count = 2 * len(names)
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].repeat(1, channels, 4, 4)
    labels = torch.arange(count) % len(names)
    return ImageSet(
        images,
        labels,
        names,
        tuple(f"group of {n}" for n in names) if groups else None,
        tuple(f"{i}.png" for i in range(count)) if files else (),
    )


def test_every_image_is_that_of_its_own_set_under_the_name_of_both(root):
    config = both(root)
    whole = load_splits(config, 0)
    folder = alone("image_folder", config, image_size=32, grayscale=False)
    letters = alone("glyphs", config, image_size=32)
    for split in ("train", "val", "test"):
        images, own = getattr(whole, split), {"image_folder": getattr(folder, split)}
        own["glyphs"] = getattr(letters, split)
        assert images.images.shape[1:] == (3, 32, 32)
        assert images.num_classes == sum(o.num_classes for o in own.values())
        assert len(images) == sum(map(len, own.values()))
        assert sorted(set(images.domains)) == ["glyphs", "image_folder"]
        for row in range(0, len(images), 7):
            name, c = images.class_names[int(images.labels[row])].split("/")
            _, file = images.files[row].split("/", 1)
            there = own[name].files.index(file)
            assert own[name].class_names[int(own[name].labels[there])] == c
            assert torch.equal(images.images[row], own[name].images[there].expand(3, -1, -1))
    assert whole.train.groups == ("glyphs/Lao",) * letters.train.num_classes + ("image_folder",) * 3


def test_one_size_and_grey_where_the_config_says_so(root):
    config = both(root, image_size=20, grayscale=True)
    whole = load_splits(config, 0)
    assert whole.test.images.shape[1:] == (1, 20, 20)
    letters = alone("glyphs", config)
    assert torch.equal(whole.test.images[: len(letters.test)], letters.test.images)


def test_the_order_in_which_sets_are_named_does_not_matter(root):
    one, other = (load_splits(both(root, sets=s), 0) for s in (("glyphs", "image_folder"), both(root).sets))
    assert one.train.class_names == other.train.class_names
    assert torch.equal(one.train.images, other.train.images)


def test_grey_in_colour_is_three_equal_channels_in_the_memory_of_one():
    grey = part(1, ("a", "b")).images
    found = in_colour(grey)
    assert found.shape == (4, 3, 4, 4)
    assert found.data_ptr() == grey.data_ptr()
    assert torch.equal(found[torch.tensor([2, 0])], grey[[2, 0]].repeat(1, 3, 1, 1))
    colour = part(3, ("a",)).images
    assert torch.equal(in_colour(colour), colour)


def test_moments_of_grey_in_colour_are_those_of_grey():
    grey = part(1, ("a", "b"))
    mean, std = replace(grey, images=in_colour(grey.images)).mean_std()
    assert (mean, std) == tuple(3 * values for values in grey.mean_std())


def test_joined_sets_keep_labels_groups_and_files_apart():
    found = join({"two": part(3, ("a", "b"), groups=True), "one": part(3, ("b", "c"))})
    assert found.class_names == ("one/b", "one/c", "two/a", "two/b")
    assert found.domains == ("one", "one", "two", "two")
    assert found.groups == ("one", "one", "two/group of a", "two/group of b")
    assert found.labels.tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
    assert found.files[4:] == ("two/0.png", "two/1.png", "two/2.png", "two/3.png")
    assert found.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_images_of_a_set_that_names_no_files_go_by_their_number():
    found = join({"one": part(3, ("a",), files=False), "two": part(3, ("b",))})
    assert found.files == ("one/0", "one/1", "two/0.png", "two/1.png")


@pytest.mark.parametrize(("asked", "channels"), [(None, 3), (False, 3), (True, 1)])
def test_each_set_is_asked_for_its_images_alike(asked, channels, monkeypatch):
    """Sets that have no colours are asked for none: that is three times as much to decode."""
    seen = []

    def loaded(config, seed, log=None):
        seen.append((config.name, config.sets, config.image_size, config.grayscale, seed))
        grey = config.grayscale is not False
        return Splits(*(part(1 if grey else 3, (n,)) for n in "abc"), config.name)

    monkeypatch.setattr("mtl.data.load_splits", loaded)
    config = Data(name="several", sets=("glyphs", "omniglot"), grayscale=asked)
    assert load_matching(config, "omniglot", 5).val.channels == channels
    assert load_matching(replace(config, image_size=28), "glyphs", 5).val.channels == channels
    assert load_matching(config, "fc100", 5).val.channels == channels
    assert seen == [
        ("omniglot", (), 32, None, 5),
        ("glyphs", (), 28, None, 5),
        ("fc100", (), 32, bool(asked), 5),
    ]


def test_a_class_in_different_splits_of_two_sets_is_refused_by_name(tmp_path, write_images):
    for name in superclass_of():
        for half in ("train", "test"):
            write_images(tmp_path / "cifar100" / half / name, 1, 16)
    config = Data(name="several", root=str(tmp_path), image_size=16, sets=("cifar_fs", "fc100"))
    with pytest.raises(UserError) as caught:
        load_splits(config, 0)
    told = str(caught.value)
    assert "\n" not in told
    assert told.startswith("data.sets: class ")
    assert "split of cifar_fs and in the" in told
    name = told.removeprefix("data.sets: class ").split(" is in")[0]
    halves = {of: _split_of(alone(of, config), name) for of in config.sets}
    assert halves["cifar_fs"] != halves["fc100"]


def _split_of(splits, name):
    return next(s for s in ("train", "val", "test") if name in getattr(splits, s).class_names)


def test_a_class_in_the_same_split_of_two_sets_is_two_classes(monkeypatch):
    def loaded(config, seed, log=None):
        return Splits(*(part(3, (n,)) for n in "abc"), config.name)

    monkeypatch.setattr(
        "mtl.data.sources.multi_dataset.load_matching", lambda config, name, seed, log: loaded(config, seed)
    )
    whole = load_splits(Data(name="several", sets=("omniglot", "fc100")), 0)
    assert whole.val.class_names == ("fc100/b", "omniglot/b")


def test_a_set_that_is_not_there_is_told_in_its_own_words(tmp_path):
    config = Data(name="several", root=str(tmp_path), sets=("omniglot", "mini_imagenet"), download=False)
    with pytest.raises(UserError, match=r"mini_imagenet is missing, and data\.download is off"):
        load_splits(config, 0)
