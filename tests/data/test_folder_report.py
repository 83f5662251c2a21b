"""What is wrong with a folder comes back out of the cache, and is said in lines."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image

from mtl.config import Data
from mtl.data import ImageSet, Splits
from mtl.data.cache import cached_notes
from mtl.data.decode import to_tensor
from mtl.data.duplicates import Place, find_copies
from mtl.data.folder_report import (
    Duplicates,
    FolderReport,
    NamedPair,
    findings,
    found_twice,
    group_lines,
    with_names,
)


def part(photograph: Callable[..., Image.Image], prefix: str, numbers: list[int]) -> ImageSet:
    images = torch.stack([to_tensor(photograph(n), 24, False) for n in numbers])
    files = tuple(f"{prefix}/{i}.png" for i in range(len(numbers)))
    return ImageSet(images, torch.zeros(len(numbers), dtype=torch.int64), (prefix,), files=files)


def test_what_is_there_twice_comes_back_out_of_the_cache(
    tmp_path: Path, photograph: Callable[..., Image.Image]
) -> None:
    parts = [part(photograph, name, [n, n + 1, 9]) for n, name in ((0, "a"), (3, "b"), (6, "c"))]
    was, out = with_names(find_copies(parts), parts, 2), torch.arange(9) > 6
    for _ in range(2):  # the second time out of the file
        notes = cached_notes(tmp_path, "some", (), lambda: {**asdict(was), "out": out})
    twice, left_out = found_twice(notes)
    assert (twice.counts, twice.pairs, twice.left_out) == (was.counts, was.pairs, 2)
    assert torch.equal(twice.pictures, was.pictures)
    assert torch.equal(left_out, out)
    with pytest.raises(ZeroDivisionError):
        cached_notes(tmp_path, "some", ("other",), lambda: {"n": 1 // 0})


def test_pairs_are_named_and_shown(photograph: Callable[..., Image.Image]) -> None:
    parts = [part(photograph, "a", [1, 2, 2]), part(photograph, "b", [3, 1])]
    twice = with_names(find_copies(parts), parts, 3)
    assert twice.pairs == (
        NamedPair("a/0.png", "b/1.png", True, "splits"),
        NamedPair("a/1.png", "a/2.png", True, "class"),
    )
    assert torch.equal(twice.pictures[0, 0], parts[0].images[0])
    assert torch.equal(twice.pictures[1, 1], parts[0].images[2])
    assert (twice.total(True), twice.total(False), twice.crossing, twice.left_out) == (2, 0, 1, 3)
    alone = [part(photograph, "a", [1, 2])]
    none = with_names(find_copies(alone), alone, 0)
    assert none.pictures.shape == (0, 2, 3, 24, 24)
    assert none.crossing == none.total(True) == none.total(False) == 0


NONE: dict[Place, tuple[int, int]] = {"splits": (0, 0), "classes": (0, 0), "class": (0, 0)}


def lines_on(report: FolderReport, **keys: object) -> list[str]:
    return findings(report, Data(name="image_folder", **keys))  # type: ignore[arg-type]


def duplicates(counts: dict[Place, tuple[int, int]], left_out: int = 0) -> Duplicates:
    pairs = [
        NamedPair(f"a/{place}{i}.png", f"b/{place}{i}.png", not near, place)
        for place, exact_and_near in counts.items()
        for near, count in enumerate(exact_and_near)
        for i in range(count)
    ]
    return Duplicates({**NONE, **counts}, tuple(pairs), torch.empty(len(pairs), 2, 1, 4, 4), left_out)


def test_what_is_left_out_passed_over_or_unreadable_is_said() -> None:
    assert lines_on(FolderReport(duplicates=duplicates({}))) == ["The same picture twice: none."]
    not_searched = "The same picture twice: not looked for (data.duplicates = keep)."
    assert lines_on(FolderReport(), duplicates="keep") == [not_searched]
    report = FolderReport(
        unnamed=tuple(f"c{i}" for i in range(10)),
        scarce={"bee": 1, "ant": 3},
        capped={"dog": 1300, "cat": 150},
        passed_over={"a/b": "is a folder in a class", "up": "is a link to a folder above it"},
        unreadable={f"a/{i}.png": "the file is empty" for i in range(22)},
        levels=4095,
        deep=2,
        similar_names=("names",),
    )
    lines = lines_on(report, min_images=5, max_images=100)
    assert lines[:7] == [
        "Left out, not named in data.classes: 10 classes (c0, c1, c2, c3, c4, c5, c6, c7 and 2 more).",
        "Left out, with fewer than data.min_images = 5 images: 2 classes (ant 3, bee 1).",
        "More than data.max_images = 100 images: 2 classes (cat 150, dog 1,300); 1,250 of them are left out.",
        "Passed over: 2 of the names in the folder.",
        "  a/b: is a folder in a class",
        "  up: is a link to a folder above it",
        "names",
    ]
    assert "4,095" in lines[7]
    assert lines[8] == "Unreadable: 22 images; training ends with that (data.unreadable = refuse)."
    assert lines[9] == "  a/0.png: the file is empty"
    assert lines[28:-1] == ["  a/19.png: the file is empty", "  and 2 more"]
    skipped = FolderReport(scarce={"bee": 0, "ant": 0}, unreadable={"a/0.png": "the file is empty"})
    assert lines_on(skipped, unreadable="skip")[:2] == [
        "Left out, with no images: 2 classes (ant, bee).",
        "Unreadable: 1 image; left out.",
    ]


def test_pairs_are_counted_and_listed() -> None:
    twice = duplicates({"splits": (1, 2), "class": (0, 19)})
    first, *listed = lines_on(FolderReport(duplicates=twice))
    assert first.startswith(
        "The same picture twice: 1 pair the same, 21 nearly; 3 in two splits, 19 within a class. Training "
        "ends with those that are not within a class (data.duplicates = refuse). Remove those that are wrong"
    )
    assert listed == [
        "  a/splits0.png = b/splits0.png",
        "  a/splits0.png ≈ b/splits0.png",
        "  a/splits1.png ≈ b/splits1.png",
        *(f"  a/class{i}.png ≈ b/class{i}.png" for i in range(17)),
        "  and 2 more",
    ]
    assert "exact" in lines_on(FolderReport(duplicates=twice), duplicates="exact")[0]
    assert lines_on(FolderReport(duplicates=duplicates({"class": (2, 0)})))[0] == (
        "The same picture twice: 2 pairs the same, 0 nearly; 2 within a class."
    )
    dropped = FolderReport(duplicates=duplicates({"classes": (0, 1)}, 2))
    assert lines_on(dropped, duplicates="drop")[0] == (
        "The same picture twice: 0 pairs the same, 1 nearly; 1 in two classes of a split. 2 images left out "
        "(data.duplicates = drop)."
    )


def test_groups_are_counted_and_a_name_in_two_splits_is_said() -> None:
    def split(classes: str, *names: str) -> ImageSet:
        labels = torch.arange(len(names)) % len(classes)
        images = torch.zeros(len(names), 1, 4, 4, dtype=torch.uint8)
        return ImageSet(images, labels, tuple(classes), image_groups=names)

    train, val = split("ab", "1", "2", "1", "3", "5", ""), split("c", "7", "8", "8")
    lines = group_lines(Splits(train, val, split("d", "9", "1"), "image_folder"))
    assert lines[0].startswith("Groups in train: 5, 2 to 3 a class; of these, 1 image")
    assert lines[1] == "Groups in val: 2, 2 to 2 a class."
    assert "1 group name, 1 of them in two splits" in lines[3]
    assert lines[4:] == ["  1: a, d"]
    apart = Splits(train, val, split("d", "9", "9"), "image_folder")
    assert "1 class (d)" in group_lines(apart)[-1]  # of one group
    bare = split("e")
    assert group_lines(Splits(bare, split("f"), split("g"), "image_folder")) == []
