import dataclasses
from dataclasses import replace

import pytest
import torch

from mtl.data import ImageSet, Splits, hold_out, require_episodes
from mtl.data.image_set import fingerprint
from mtl.errors import UserError


def make(names, per_class=4, groups=None):
    count = len(names) * per_class
    images = torch.randint(0, 256, (count, 3, 5, 5), generator=torch.Generator().manual_seed(len(names)))
    labels = torch.arange(len(names)).repeat(per_class)  # classes interleaved: rows are not sorted by class
    files = tuple(f"{names[i % len(names)]}/{i}.png" for i in range(count))
    return ImageSet(images.to(torch.uint8), labels, names, groups, files)


def test_mean_and_deviation_are_those_of_the_pixels():
    images = make(("a", "b", "c"))
    mean, std = images.mean_std()
    pixels = (images.images.double() / 255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.tensor(mean, dtype=torch.float64), pixels.mean(1))
    torch.testing.assert_close(torch.tensor(std, dtype=torch.float64), pixels.std(1, correction=0))


def test_mean_and_deviation_of_some_images_are_those_of_their_pixels_alone():
    images, some = make(("a", "b", "c")), torch.tensor([0, 4, 5, 11])
    mean, std = images.mean_std(some)
    pixels = (images.images[some].double() / 255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.tensor(mean, dtype=torch.float64), pixels.mean(1))
    torch.testing.assert_close(torch.tensor(std, dtype=torch.float64), pixels.std(1, correction=0))
    assert images.mean_std(torch.arange(12)) == images.mean_std() != (mean, std)


def test_select_relabels_in_sorted_order_and_keeps_each_picture_with_its_class():
    images = make(("a", "b", "c", "d"), groups=("x", "y", "x", "z"))
    part = images.select([3, 1])
    assert part.class_names == ("b", "d")
    assert part.groups == ("y", "z")
    assert part.class_counts().tolist() == [4, 4]
    for row, (file, label) in enumerate(zip(part.files, part.labels.tolist(), strict=True)):
        assert file.split("/")[0] == part.class_names[label]
        assert torch.equal(part.images[row], images.images[images.files.index(file)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": torch.zeros(2, 1, 5, 5)}, "uint8"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "2 images need"),
        ({"labels": torch.tensor([0, 2])}, "indices into class_names"),
        ({"class_names": ("b", "a")}, "sorted"),
        ({"groups": ("x",)}, "one group"),
        ({"domains": ("x",)}, "one domain"),
        ({"files": ("one",)}, "as many files"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, words):
    parts: dict[str, object] = {
        "images": torch.zeros(2, 1, 5, 5, dtype=torch.uint8),
        "labels": torch.tensor([0, 1]),
        "class_names": ("a", "b"),
    }
    with pytest.raises(ValueError, match=words):
        ImageSet(**(parts | change))


def test_a_class_in_two_splits_is_refused_by_name():
    with pytest.raises(ValueError, match="class b is in two splits"):
        Splits(make(("a", "b")), make(("c",)), make(("b", "d")), "set")


def test_hold_out_takes_its_share_of_every_class():
    images = make(("a", "b", "c"), per_class=10)
    kept, probe = hold_out(images, 0.3, seed=0)
    assert torch.bincount(images.labels[probe]).tolist() == [3, 3, 3]
    assert torch.equal(torch.cat([kept, probe]).sort().values, torch.arange(30))
    again = hold_out(images, 0.3, seed=0)
    assert torch.equal(again[0], kept)
    assert not torch.equal(hold_out(images, 0.3, seed=1)[1], probe)


def test_hold_out_of_small_classes_leaves_something_on_both_sides():
    kept, probe = hold_out(make(("a", "b"), per_class=2), 0.01, seed=0)
    assert (len(kept), len(probe)) == (2, 2)
    kept, probe = hold_out(make(("a", "b"), per_class=1), 0.8, seed=0)
    assert (len(kept), len(probe)) == (2, 0)
    assert len(hold_out(make(("a",)), 0.0, seed=0)[1]) == 0


def test_image_sets_that_are_one_are_counted_by_name():
    images = replace(make(("a", "b", "c", "d")), domains=("two", "one", "two", "three"))
    assert images.domain_ids().tolist() == [2, 0, 2, 1]
    assert make(("a", "b")).domain_ids().tolist() == [0, 0]
    nothing = ImageSet(torch.zeros(0, 1, 5, 5, dtype=torch.uint8), torch.empty(0).long(), (), domains=())
    assert nothing.domain_ids().dtype == torch.int64


def test_classes_that_are_selected_stay_in_their_image_set():
    images = replace(make(("a", "b", "c", "d")), domains=("two", "one", "two", "three"))
    assert images.select([3, 1]).domains == ("one", "three")
    assert make(("a", "b")).select([1]).domains is None


def test_each_image_set_can_be_had_by_itself():
    images = replace(make(("a", "b", "c"), groups=("x", "y", "z")), domains=("two", "one", "two"))
    parts = images.by_domain()
    assert list(parts) == ["one", "two"]
    assert (parts["one"].class_names, parts["two"].class_names) == (("b",), ("a", "c"))
    assert parts["two"].groups == ("x", "z")
    assert parts["two"].domains is None
    for part in parts.values():
        for row, file in enumerate(part.files):
            assert torch.equal(part.images[row], images.images[images.files.index(file)])
            assert file.split("/")[0] == part.class_names[int(part.labels[row])]
    assert make(("a", "b")).by_domain() == {}


def test_groups_of_images_go_with_them_and_are_held_out_whole():
    images = make(("a", "b"), per_class=12)
    names = tuple(f"clip {i // 2 % 4}" for i in range(24))
    grouped = replace(images, image_groups=names)
    ids = grouped.group_ids()
    assert ids is not None
    assert len(ids.unique()) == 8
    kept, probe = hold_out(grouped, 0.3, seed=0)
    assert not set(ids[kept].tolist()) & set(ids[probe].tolist())
    assert torch.bincount(images.labels[probe]).tolist() == [3, 3]  # a clip each: 3.6 images are asked for
    assert len(hold_out(replace(images, image_groups=("one",) * 24), 0.3, seed=0)[1]) == 0
    part = grouped.select([1])
    assert part.image_groups == tuple(n for n, c in zip(names, images.labels.tolist(), strict=True) if c == 1)
    with pytest.raises(ValueError, match="24 images need as many groups"):
        replace(images, image_groups=("one",))


def with_counts(*counts):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    names = tuple(f"class {i}" for i in range(len(counts)))
    return ImageSet(torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8), labels, names)


def test_a_split_that_is_just_large_enough_passes():
    require_episodes(with_counts(6, 6), "val", way=2, shot=1, queries=5)


def test_fewer_classes_than_ways_names_split_and_both_numbers():
    with pytest.raises(UserError, match=r"the val split has 2 classes, fewer than the 5 ways"):
        require_episodes(with_counts(9, 9), "val", way=5, shot=1, queries=5)


def test_a_class_with_too_few_images_is_named_with_its_numbers():
    words = r"class class 1 of the test split has 5 images, fewer than shot \+ queries = 1 \+ 5$"
    with pytest.raises(UserError, match=words):
        require_episodes(with_counts(6, 5), "test", way=2, shot=1, queries=5)
    with pytest.raises(UserError, match=r"\(and 1 more class is too small\)$"):
        require_episodes(with_counts(3, 5), "test", way=2, shot=1, queries=5)


def test_images_that_may_not_be_used_do_not_count():
    images = with_counts(6, 6)
    require_episodes(images, "train", 2, 1, 5, among=torch.arange(12))
    with pytest.raises(UserError, match="class class 0 of the train split has 4 images that episodes may"):
        require_episodes(images, "train", 2, 1, 5, among=torch.arange(2, 12))


def in_clips(*sizes):
    """Two classes, each with clips of these sizes."""
    names = tuple(f"clip{i}" for i, size in enumerate(sizes) for _ in range(size))
    return replace(with_counts(len(names), len(names)), image_groups=2 * names)


def test_groups_that_cannot_be_divided_are_named_with_what_is_possible():
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


def _images(count=30, size=4):
    pixels = torch.arange(count * size * size, dtype=torch.int64).remainder(251).to(torch.uint8)
    labels = torch.arange(count) * 3 // count
    return ImageSet(pixels.reshape(count, 1, size, size), labels, ("ant", "bee", "cow"))


def test_the_same_images_have_one_fingerprint_wherever_their_files_lie():
    one = _images()
    elsewhere = dataclasses.replace(one, files=tuple(f"/other/{i}.png" for i in range(30)))
    apart = dataclasses.replace(one, images=one.images.repeat(1, 1, 1, 2)[..., :4])  # strided otherwise
    assert fingerprint(one) == fingerprint(_images()) == fingerprint(elsewhere) == fingerprint(apart)
    assert fingerprint(one) == "9298221199744a28"  # older ledgers are still understood


def _pixel(images):
    images = images.clone()
    images[17, 0, 2, 2] += 1
    return images


@pytest.mark.parametrize(
    "change",
    [
        lambda s: dataclasses.replace(s, images=_pixel(s.images)),
        lambda s: dataclasses.replace(s, images=s.images.reshape(30, 1, 2, 8).repeat(1, 1, 2, 1)[..., :4]),
        lambda s: dataclasses.replace(s, labels=s.labels.flip(0)),
        lambda s: dataclasses.replace(s, class_names=("ant", "bee", "cat")),
        lambda s: ImageSet(s.images[:-1], s.labels[:-1], s.class_names),
        lambda s: ImageSet(s.images.flip(0), s.labels, s.class_names),
    ],
)
def test_other_images_have_another(change):
    assert fingerprint(change(_images())) != fingerprint(_images())


@pytest.mark.parametrize("count", [1, 1023, 1024, 1025, 5000])
def test_of_many_images_about_a_thousand_are_looked_at(count, monkeypatch):
    looked = []
    plain = torch.Tensor.numpy
    monkeypatch.setattr(torch.Tensor, "numpy", lambda t: looked.append(t.shape) or plain(t))
    fingerprint(_images(count))
    seen = sum(shape == (1, 4, 4) for shape in looked)
    assert seen == (count if count <= 1024 else -(-count // -(-count // 1024)))
    assert 512 < seen <= 1024 or count < 512


def test_no_images_have_one_too():
    assert fingerprint(_images(0)) != fingerprint(_images(1))
