"""Grey values of more than 8 bits: white is what the whole set, its files or the config say."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mtl.config import Data
from mtl.data.decode import decode, to_tensor
from mtl.data.formats import FULL, eight_bits, largest_value, largest_values, levels_messages, top_of
from mtl.data.sources.image_folder import load, survey
from mtl.errors import UserError

RAMP = np.linspace(0, 1, 256).reshape(16, 16)


def deep(most: int, dtype: str = "<u2") -> Image.Image:
    return Image.fromarray((RAMP * most).round().astype(dtype))


def noting(file: Path, bits: int) -> Path:
    """The same PNG with the significant bits of its grey values noted."""
    raw, body = file.read_bytes(), b"sBIT" + bytes([bits])
    chunk = struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body))
    file.write_bytes(raw[:33] + chunk + raw[33:])
    return file


@pytest.mark.parametrize(
    ("most", "top"), [(200, 255), (255, 255), (256, 1023), (4080, 4095), (16_000, 16_383), (40_000, FULL)]
)
def test_white_is_the_largest_number_of_the_fewest_bits(most: int, top: int) -> None:
    assert top_of([3, most]) == top


@given(st.lists(st.integers(0, 2**31), min_size=1))
def test_no_value_of_the_set_is_beyond_white(values: list[int]) -> None:
    assert top_of(values) >= max(values)


def test_the_config_has_the_last_word() -> None:
    assert top_of([200], "full") == FULL
    assert top_of([200], 1000) == 1000
    assert top_of([], 1000) == 1000
    assert top_of([]) is None


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
@pytest.mark.parametrize("most", [255, 4095, FULL])
def test_stretched_they_are_what_eight_bits_would_have_been(tmp_path: Path, dtype: str, most: int) -> None:
    deep(most, dtype).save(tmp_path / "a.tif")
    image = Image.open(tmp_path / "a.tif")
    assert largest_value(image) == most
    wanted = torch.from_numpy((RAMP * 255).round())
    for made in (decode(tmp_path / "a.tif", 16, True, most), to_tensor(deep(most, dtype), 16, True, most)):
        assert (made[0] - wanted).abs().max() <= 1


def test_eight_bits_stay_as_they_are(tmp_path: Path) -> None:
    grey = Image.fromarray((RAMP * 100).astype(np.uint8))
    grey.save(tmp_path / "a.png")
    assert eight_bits(grey, 100) is grey
    assert largest_value(grey) is None
    grey.convert("RGB").save(tmp_path / "b.jpg")
    (tmp_path / "c.png").write_bytes(b"")
    assert largest_values(sorted(tmp_path.iterdir())) == []


def test_what_a_file_notes_counts_where_its_values_are_dark(tmp_path: Path) -> None:
    deep(300).save(tmp_path / "a.tif", tiffinfo={281: 4095})
    deep(300).save(tmp_path / "b.png")
    noting(tmp_path / "b.png", 12)
    assert largest_values([tmp_path / "a.tif"]) == [4095]
    assert largest_values([tmp_path / "b.png"]) == [4095]
    deep(FULL).save(tmp_path / "c.png")  # as the standard has it: 12 bits that fill 16
    assert largest_values([noting(tmp_path / "c.png", 12)]) == [FULL]


def test_negative_values_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), -1024, dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: is not a readable image \(its values go down to -1,024"):
        decode(tmp_path / "a.tif", 16, True)


@pytest.mark.parametrize("top", [FULL, 40_000])
def test_transparency_of_deep_grey_is_laid_on_white(tmp_path: Path, top: int) -> None:
    values = np.zeros((16, 16), dtype=np.uint16)
    values[:, 8:] = 10_000
    Image.fromarray(values).save(tmp_path / "a.png", transparency=0)
    decoded = decode(tmp_path / "a.png", 16, True, top)
    assert decoded[0, :, :8].unique().tolist() == [255]
    assert decoded[0, :, 8:].unique().tolist() == [round(10_000 * 255 / top)]


def test_one_sentence_says_that_values_were_stretched() -> None:
    (sentence,) = levels_messages(255, 12)
    assert "12 files" in sentence
    assert "data.levels" in sentence
    assert levels_messages(FULL, 12) == levels_messages(None, 0) == levels_messages(255, 0) == []


def folder(root: Path, most: int, mixed: bool = False) -> Data:
    for c in range(3):
        (root / f"c{c}").mkdir(parents=True)
        for i in range(2):
            scaled = Image.fromarray(((RAMP * most * (c + 1) / 3 + i) % (most + 1)).astype(np.uint16))
            scaled.save(root / f"c{c}" / f"{i}.tif")
    if mixed:
        Image.fromarray((RAMP * 255).astype(np.uint8)).save(root / "c0" / "eight.png")
    return Data(name="image_folder", root=str(root), image_size=16, grayscale=True, duplicates="keep")


@pytest.mark.parametrize(
    ("levels", "white", "brightest"), [("auto", 255, 255), ("full", FULL, 1), (510, 510, 128)]
)
def test_a_set_is_stretched_as_a_whole(
    tmp_path: Path, levels: str | int, white: int, brightest: int, caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    data = replace(folder(tmp_path, 255, mixed=True), levels=levels)
    for _ in range(2):  # decoded, then out of the cache
        splits = load(data, 0)
        assert splits.levels == white
    both = [part.images.max() for part in (splits.train, splits.val, splits.test)]
    eight = [
        file for part in (splits.train, splits.val, splits.test) for file in part.files if "eight" in file
    ]
    assert eight
    assert max(int(b) for b in both) == 255
    found = survey(data, 0)
    assert (found.report.levels, found.report.deep) == (white, 6)
    rows = {
        file: image
        for part in (splits.train, splits.val, splits.test)
        for file, image in zip(part.files, part.images, strict=True)
    }
    assert int(rows["c2/0.tif"].max()) == pytest.approx(brightest, abs=1)
    assert ("stretched" in caplog.text) is (white < FULL)


def test_levels_are_for_image_folders_alone() -> None:
    from mtl.config import read_config

    with pytest.raises(UserError, match=r"data\.levels"):
        read_config({"data": {"name": "glyphs", "levels": "full"}}, "test")
    assert read_config({"data": {"name": "image_folder", "levels": 4095}}, "test").data.levels == 4095
    for wrong in ("some", 0, -1, 1.5):
        with pytest.raises(UserError, match=r"data\.levels"):
            read_config({"data": {"name": "image_folder", "levels": wrong}}, "test")
