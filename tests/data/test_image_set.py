from dataclasses import replace

import pytest
import torch

from mtl.data import ImageSet, Splits, hold_out


def make(names: tuple[str, ...], per_class: int = 4, groups: tuple[str, ...] | None = None) -> ImageSet:
    count = len(names) * per_class
    images = torch.randint(0, 256, (count, 3, 5, 5), generator=torch.Generator().manual_seed(len(names)))
    labels = torch.arange(len(names)).repeat(per_class)  # classes interleaved: rows are not sorted by class
    files = tuple(f"{names[i % len(names)]}/{i}.png" for i in range(count))
    return ImageSet(images.to(torch.uint8), labels, names, groups, files)


def test_mean_and_deviation_are_those_of_the_pixels() -> None:
    images = make(("a", "b", "c"))
    mean, std = images.mean_std()
    pixels = (images.images.double() / 255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.tensor(mean, dtype=torch.float64), pixels.mean(1))
    torch.testing.assert_close(torch.tensor(std, dtype=torch.float64), pixels.std(1, correction=0))


def test_mean_and_deviation_of_some_images_are_those_of_their_pixels_alone() -> None:
    images, some = make(("a", "b", "c")), torch.tensor([0, 4, 5, 11])
    mean, std = images.mean_std(some)
    pixels = (images.images[some].double() / 255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.tensor(mean, dtype=torch.float64), pixels.mean(1))
    torch.testing.assert_close(torch.tensor(std, dtype=torch.float64), pixels.std(1, correction=0))
    assert images.mean_std(torch.arange(12)) == images.mean_std() != (mean, std)


def test_select_relabels_in_sorted_order_and_keeps_each_picture_with_its_class() -> None:
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
def test_parts_that_do_not_fit_are_refused(change: dict[str, object], words: str) -> None:
    parts: dict[str, object] = {
        "images": torch.zeros(2, 1, 5, 5, dtype=torch.uint8),
        "labels": torch.tensor([0, 1]),
        "class_names": ("a", "b"),
    }
    with pytest.raises(ValueError, match=words):
        ImageSet(**(parts | change))  # type: ignore[arg-type]


def test_a_class_in_two_splits_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="class b is in two splits"):
        Splits(make(("a", "b")), make(("c",)), make(("b", "d")), "set")


def test_hold_out_takes_its_share_of_every_class() -> None:
    images = make(("a", "b", "c"), per_class=10)
    kept, probe = hold_out(images, 0.3, seed=0)
    assert torch.bincount(images.labels[probe]).tolist() == [3, 3, 3]
    assert torch.equal(torch.cat([kept, probe]).sort().values, torch.arange(30))
    again = hold_out(images, 0.3, seed=0)
    assert torch.equal(again[0], kept)
    assert not torch.equal(hold_out(images, 0.3, seed=1)[1], probe)


def test_hold_out_of_small_classes_leaves_something_on_both_sides() -> None:
    kept, probe = hold_out(make(("a", "b"), per_class=2), 0.01, seed=0)
    assert (len(kept), len(probe)) == (2, 2)
    kept, probe = hold_out(make(("a", "b"), per_class=1), 0.8, seed=0)
    assert (len(kept), len(probe)) == (2, 0)
    assert len(hold_out(make(("a",)), 0.0, seed=0)[1]) == 0


def test_image_sets_that_are_one_are_counted_by_name() -> None:
    images = replace(make(("a", "b", "c", "d")), domains=("two", "one", "two", "three"))
    assert images.domain_ids().tolist() == [2, 0, 2, 1]
    assert make(("a", "b")).domain_ids().tolist() == [0, 0]
    nothing = ImageSet(torch.zeros(0, 1, 5, 5, dtype=torch.uint8), torch.empty(0).long(), (), domains=())
    assert nothing.domain_ids().dtype == torch.int64


def test_classes_that_are_selected_stay_in_their_image_set() -> None:
    images = replace(make(("a", "b", "c", "d")), domains=("two", "one", "two", "three"))
    assert images.select([3, 1]).domains == ("one", "three")
    assert make(("a", "b")).select([1]).domains is None


def test_each_image_set_can_be_had_by_itself() -> None:
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
