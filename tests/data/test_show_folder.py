import torch

from mtl.config import Data
from mtl.data import ImageSet, Splits
from mtl.data.duplicates import Place
from mtl.data.folder_report import Duplicates, FolderReport, NamedPair, findings, group_lines

NONE: dict[Place, tuple[int, int]] = {"splits": (0, 0), "classes": (0, 0), "class": (0, 0)}


def told(report: FolderReport, **keys: object) -> list[str]:
    return findings(report, Data(name="image_folder", **keys))  # type: ignore[arg-type]


def duplicates(counts: dict[Place, tuple[int, int]], left_out: int = 0) -> Duplicates:
    pairs = [
        NamedPair(f"a/{place}{i}.png", f"b/{place}{i}.png", not near, place)
        for place, exact_and_near in counts.items()
        for near, count in enumerate(exact_and_near)
        for i in range(count)
    ]
    return Duplicates({**NONE, **counts}, tuple(pairs), torch.empty(len(pairs), 2, 1, 4, 4), left_out)


def test_a_folder_without_a_flaw_has_one_line() -> None:
    assert told(FolderReport(duplicates=duplicates({}))) == ["The same picture twice: none."]
    assert told(FolderReport(), duplicates="keep") == [
        "The same picture twice: not looked for (data.duplicates = keep)."
    ]


def test_classes_and_images_that_are_left_out_are_named() -> None:
    report = FolderReport(
        unnamed=tuple(f"c{i}" for i in range(10)),
        scarce={"bee": 1, "ant": 3},
        capped={"dog": 1300, "cat": 150},
        duplicates=duplicates({}),
    )
    assert told(report, min_images=5, max_images=100)[:-1] == [
        "Left out, not named in data.classes: 10 classes (c0, c1, c2, c3, c4, c5, c6, c7 and 2 more).",
        "Left out, with fewer than data.min_images = 5 images: 2 classes (ant 3, bee 1).",
        "More than data.max_images = 100 images: 2 classes (cat 150, dog 1,300); 1,250 of them are left out.",
    ]
    assert (
        told(FolderReport(scarce={"bee": 0, "ant": 0}))[0]
        == "Left out, with no images: 2 classes (ant, bee)."
    )


def test_what_is_passed_over_is_listed() -> None:
    report = FolderReport(
        passed_over={"a/b": "is a folder in a class", "up": "is a link to a folder above it"}
    )
    assert told(report)[:3] == [
        "Passed over: 2 of the names in the folder.",
        "  a/b: is a folder in a class",
        "  up: is a link to a folder above it",
    ]


def test_unreadable_files_are_listed() -> None:
    report = FolderReport(unreadable={f"a/{i}.png": "the file is empty" for i in range(22)})
    lines = told(report)
    assert lines[:2] == [
        "Unreadable: 22 images; training ends with that (data.unreadable = refuse).",
        "  a/0.png: the file is empty",
    ]
    assert lines[20:22] == ["  a/19.png: the file is empty", "  and 2 more"]
    one = FolderReport(unreadable={"a/0.png": "it holds text, whatever its name says"})
    assert told(one, unreadable="skip")[:2] == [
        "Unreadable: 1 image; left out.",
        "  a/0.png: it holds text, whatever its name says",
    ]


def test_pairs_are_counted_and_listed() -> None:
    found = duplicates({"splits": (1, 2), "class": (0, 19)})
    first, *listed = told(FolderReport(duplicates=found))
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
    assert "exact" in told(FolderReport(duplicates=found), duplicates="exact")[0]
    assert told(FolderReport(duplicates=duplicates({"class": (2, 0)})))[0] == (
        "The same picture twice: 2 pairs the same, 0 nearly; 2 within a class."
    )
    dropped = FolderReport(duplicates=duplicates({"classes": (0, 1)}, 2))
    assert told(dropped, duplicates="drop")[0] == (
        "The same picture twice: 0 pairs the same, 1 nearly; 1 in two classes of a split. 2 images left out "
        "(data.duplicates = drop)."
    )


def test_groups_are_counted_and_a_name_in_two_splits_is_told() -> None:
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
