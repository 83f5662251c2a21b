from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from mtl.data import ImageSet, Splits
from mtl.data.cache import cached_with_notes
from mtl.data.decode import to_tensor
from mtl.data.duplicates import find_copies
from mtl.data.folder_report import FolderReport, NamedPair, from_notes, to_notes, with_names


def part(photograph: Callable[..., Image.Image], prefix: str, numbers: list[int]) -> ImageSet:
    images = torch.stack([to_tensor(photograph(n), 24, False) for n in numbers])
    files = tuple(f"{prefix}/{i}.png" for i in range(len(numbers)))
    return ImageSet(images, torch.zeros(len(numbers), dtype=torch.int64), (prefix,), files=files)


def test_pairs_are_named_and_shown(photograph: Callable[..., Image.Image]) -> None:
    parts = [part(photograph, "a", [1, 2, 2]), part(photograph, "b", [3, 1])]
    found = with_names(find_copies(parts), parts, 3)
    assert found.pairs == (
        NamedPair("a/0.png", "b/1.png", True, "splits"),
        NamedPair("a/1.png", "a/2.png", True, "class"),
    )
    assert torch.equal(found.pictures[0, 0], parts[0].images[0])
    assert torch.equal(found.pictures[1, 1], parts[0].images[2])
    assert (found.total(True), found.total(False), found.crossing, found.left_out) == (2, 0, 1, 3)


@pytest.mark.parametrize("searched", [True, False])
def test_what_is_kept_beside_a_set_comes_back(
    tmp_path: Path, photograph: Callable[..., Image.Image], searched: bool
) -> None:
    parts = [part(photograph, name, [n, n + 1, 9]) for n, name in ((0, "a"), (3, "b"), (6, "c"))]
    report = FolderReport(
        scarce={"d": 1},
        passed_over={"a/sheet.png": "is a drawing"},
        unreadable={"a/é.png": "the file is empty"},
        duplicates=with_names(find_copies(parts), parts, 2) if searched else None,
        levels=4095,
        deep=3,
    )
    splits = Splits(parts[0], parts[1], parts[2], "some")
    for _ in range(2):  # the second time out of the file
        _, notes = cached_with_notes(tmp_path, "some", (), lambda: (splits, to_notes(report)))
    back = from_notes(notes)
    assert replace(back, duplicates=None) == replace(report, duplicates=None)
    if report.duplicates is None:
        assert back.duplicates is None
        return
    was, twice = report.duplicates, back.duplicates
    assert twice is not None
    assert (twice.counts, twice.pairs, twice.left_out) == (was.counts, was.pairs, 2)
    assert torch.equal(twice.pictures, was.pictures)


def test_where_nothing_is_twice_there_are_no_pictures(photograph: Callable[..., Image.Image]) -> None:
    parts = [part(photograph, "a", [1, 2])]
    found = with_names(find_copies(parts), parts, 0)
    assert found.pictures.shape == (0, 2, 3, 24, 24)
    assert found.crossing == found.total(True) == found.total(False) == 0
