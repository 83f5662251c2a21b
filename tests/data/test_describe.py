from pathlib import Path

import pytest
import torch
from PIL import Image

from mtl.data import ImageSet, Splits
from mtl.data.describe import SplitRow, describe, sample_sheet
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
    rows = describe(splits())
    assert rows[0] == SplitRow("train", 3, 14, 1, 4.0, 9, 16, 3, 2)
    assert rows[1] == SplitRow("val", 2, 5, 2, 2.5, 3, 16, 3, None)
    assert (rows[2].split, rows[2].images, rows[2].fewest, rows[2].most) == ("test", 360, 12, 12)


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
