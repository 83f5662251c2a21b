from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.data import ImageSet, Splits
from mtl.data.folder_report import Duplicates, NamedPair
from mtl.data.show_data import pair_sheet, sample_sheet, summary
from mtl.errors import UserError


def make(counts: dict[str, int], groups: tuple[str, ...] | None = None, channels: int = 3) -> ImageSet:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(list(counts.values())))
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(labels), channels, 16, 16), generator=random, dtype=torch.uint8)
    return ImageSet(images, labels, tuple(counts), groups)


def splits(channels: int = 3) -> Splits:
    return Splits(
        make({"a": 1, "b": 4, "c": 9}, ("x", "x", "y"), channels),
        make({"$d$ _{": 2, "f\nü 漢": 3}, None, channels),
        make({f"g{i:03d}" + "long " * 20: 12 for i in range(30)}, None, channels),
        "some",
    )


def test_every_split_is_one_row() -> None:
    table = summary(splits())
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert "some: 35 classes" in str(table.title)
    assert columns["split"] == ["train", "val", "test"]
    assert columns["classes"] == ["3", "2", "30"]
    assert columns["images"] == ["14", "5", "360"]
    assert columns["images a class"] == ["1 – 4 – 9", "2 – 2.5 – 3", "12"]
    assert columns["size"] == ["16×16 colour"] * 3
    assert columns["groups"] == ["2", "–", "–"]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_is_one_picture_that_follows_from_the_seed(tmp_path: Path, channels: int) -> None:
    sample_sheet(splits(channels), tmp_path / "new" / "one.png", 0)
    sample_sheet(splits(channels), tmp_path / "same", 0)
    sample_sheet(splits(channels), tmp_path / "other.png", 1)
    one = (tmp_path / "new" / "one.png").read_bytes()
    assert (tmp_path / "same").read_bytes() == one
    assert (tmp_path / "other.png").read_bytes() != one
    with Image.open(tmp_path / "same") as sheet:
        assert sheet.format == "PNG"
        assert min(sheet.size) > 800


def test_a_sheet_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"one\.png: the picture cannot be written \("):
        sample_sheet(splits(), tmp_path / "file" / "one.png", 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_pairs_are_drawn_side_by_side(tmp_path: Path, channels: int) -> None:
    pictures = torch.zeros(4, 2, channels, 16, 16, dtype=torch.uint8)
    pictures[:, 1] = 128
    names = ("$a$ [b]\n_^{", "long " * 40, "漢", "c/d.png")
    pairs = tuple(NamedPair(name, name, i % 2 == 0, "class") for i, name in enumerate(names))
    pair_sheet(Duplicates({}, pairs, pictures), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as sheet:
        grey = np.asarray(sheet.convert("L"))
    second = grey == 128  # and a few dots of the letters
    rows, columns = ((second.sum(axis) > 100).nonzero()[0] for axis in (1, 0))
    assert np.diff(columns).max() > 50  # columns of pairs
    assert np.diff(rows).max() > 50  # and the fourth pair in a row of its own
    black = (grey[rows[0] : rows[0] + 100] == 0).any(0).nonzero()[0]
    assert black[0] < columns[0]  # the first of a pair stands left of the second
    assert abs(second.sum() / (1.5 * 150) ** 2 - 4) < 0.4  # each 1.5 inches a side
