"""The contact sheet: each picture in its place, names that fit, the same bytes each time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.errors import UserError
from mtl.own_images.answers import Row
from mtl.own_images.contact_sheet import _fitting, contact_sheet

CELL, STEP, DOWN, LEFT, TOP = 1.15, 1.32, 1.845, 0.3, 0.62  # inches, as the sheet has them


def row(i, probability=0.5, name="ash"):
    return Row(f"new/{i}.png", name, probability, "elm", 0.25, None)


def sheet(path, rows, pictures, title="All of them"):
    contact_sheet(rows, pictures, title, "classes: ash, elm", path)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def plain(i):
    """A picture of one colour, another for each number."""
    return torch.tensor([4 * i, 255 - 4 * i, (37 * i) % 256]).to(torch.uint8)[:, None, None].expand(3, 20, 20)


def at(drawn, place, columns=10):
    """The colour in the middle of the picture at a place."""
    x = LEFT + (place % columns) * STEP + CELL / 2
    y = TOP + (place // columns) * DOWN + CELL / 2
    return drawn[round(150 * y), round(150 * x)]


def test_pictures_stand_in_their_order_row_by_row(tmp_path):
    drawn = sheet(tmp_path / "a.png", [row(i) for i in range(12)], [plain(i) for i in range(12)])
    for i in range(12):
        assert np.abs(at(drawn, i) - plain(i)[:, 0, 0].numpy()).max() <= 2
    assert at(drawn, 12).tolist() == [255, 255, 255]


def test_no_more_than_sixty_are_drawn(tmp_path):
    drawn = sheet(tmp_path / "a.png", [row(i) for i in range(61)], [plain(i % 60) for i in range(61)])
    assert drawn.shape[0] < 150 * (TOP + 6 * DOWN + 0.5)
    assert np.abs(at(drawn, 59) - plain(59)[:, 0, 0].numpy()).max() <= 2


def test_a_grey_picture_is_grey_and_a_missing_one_is_left_blank(tmp_path):
    grey = torch.full((1, 20, 20), 100, dtype=torch.uint8)
    drawn = sheet(tmp_path / "a.png", [row(0), row(1)], [grey, None])
    assert np.abs(at(drawn, 0) - 100).max() <= 1
    assert at(drawn, 1).min() > 200


@pytest.mark.parametrize(("probability", "blue"), [(0.25, 0.25), (0.75, 0.75), (1.0, 1.0)])
def test_the_bar_is_as_long_as_the_probability(tmp_path, probability, blue):
    one = Row("a", "ash", probability, "elm", 0.0, None)
    drawn = sheet(tmp_path / "a.png", [one], [plain(3)])
    y, x = round(150 * (TOP + CELL + 0.06)), round(150 * LEFT)
    line = drawn[y, x : x + round(150 * CELL)]
    dark = (np.abs(line - [0x1A, 0x5E, 0x9A]).max(-1) < 12).mean()
    assert dark == pytest.approx(blue, abs=0.02)


def test_the_same_answers_give_the_same_bytes_whatever_their_names(tmp_path):
    hostile = ["a\nb", "<b>$x^2$</b>", "\udcff\udcfe", "名前名前名前名前", "M" * 300, "_{", "\u202etxet"]
    rows = [row(i, name=name) for i, name in enumerate(hostile)]
    for name in ("a.png", "b.png"):
        contact_sheet(rows, [None] * len(rows), hostile[1], hostile[0], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_names_are_shortened_to_their_room():
    assert _fitting("pickup truck", 13) == "pickup truck"
    assert _fitting("a very long name of a class", 13) == "a very… class"
    assert len(_fitting("M" * 100, 13)) <= 10
    assert len(_fitting("名" * 100, 13)) <= 7
    assert _fitting("a\nb", 13) == "a�b"
    assert _fitting("", 13) == ""


def test_a_sheet_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UserError, match=r"a\.png: the picture cannot be written"):
        contact_sheet([row(0)], [None], "t", "n", Path(tmp_path / "a.png"))
