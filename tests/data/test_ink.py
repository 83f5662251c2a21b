"""Ink on a plain ground is measured as it was drawn, and nothing else is taken for it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from mtl.config import Data
from mtl.data.ink import Ink, as_plain, file_sides, from_plain, ink_of_set, strokes
from mtl.runtime.seeds import generator


def sign(k: int, side: int = 32, ground: int = 0, ink: int = 255) -> Image.Image:
    """A stroke or two in the middle three fifths of the picture; which ones follows from `k`."""
    image = Image.new("L", (side, side), ground)
    draw, low, high = ImageDraw.Draw(image), side // 5, side - side // 5 - 1
    draw.line((low, low, high, low + (k * side) // 16), ink, max(1, side // 16))
    draw.line((low, low, low + (k * side) // 20, high), ink, max(1, side // 16))
    return image


def stacked(images: list[Image.Image]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.array(x))[None] for x in images])


@pytest.fixture(scope="module")
def signs() -> torch.Tensor:
    return stacked([sign(k % 8) for k in range(40)])


def test_ground_contrast_and_extent_are_those_that_were_drawn() -> None:
    found = strokes(stacked([sign(0, ground=20, ink=220), sign(3, ground=230, ink=90)]))
    assert found.side.tolist() == [1, -1]
    assert found.ground.tolist() == [20, 230]
    assert found.contrast.tolist() == pytest.approx([200, 140], abs=1)
    assert found.extent.tolist() == pytest.approx([20 / 32, 20 / 32], abs=0.05)
    assert found.uneven.tolist() == [0, 0]


def test_inverting_a_picture_turns_its_side_and_changes_nothing_else(signs: torch.Tensor) -> None:
    one, other = strokes(signs), strokes(255 - signs)
    assert torch.equal(one.side, -other.side)
    assert torch.equal(one.ground, 255 - other.ground)
    assert torch.equal(one.contrast, other.contrast)
    assert torch.equal(one.extent, other.extent)


@pytest.mark.parametrize("kind", ["plain", "noise", "scene", "half and half"])
def test_what_is_no_ink_on_a_plain_ground_has_no_side(kind: str) -> None:
    random = generator(0, kind)
    pixels = torch.full((5, 1, 32, 32), 90.0)
    if kind == "noise":
        pixels = torch.rand(5, 1, 32, 32, generator=random) * 255
    if kind == "scene":
        pixels = (
            torch.rand(5, 1, 4, 4, generator=random).repeat_interleave(8, 2).repeat_interleave(8, 3) * 255
        )
    if kind == "half and half":
        pixels[:, :, :, 16:] = 200
    assert strokes(pixels.to(torch.uint8)).side.tolist() == [0] * 5


@pytest.mark.parametrize("light", [True, False])
def test_a_set_of_signs_has_an_ink(signs: torch.Tensor, light: bool) -> None:
    ink = ink_of_set(signs if light else 255 - signs)
    assert ink is not None
    assert ink.light is light
    assert ink.ground == ((0, 0, 0) if light else (255, 255, 255))
    assert ink.sides == ()


def test_one_picture_in_two_hundred_may_be_the_other_way_round(signs: torch.Tensor) -> None:
    many = signs.repeat(10, 1, 1, 1)
    many[:2] = 255 - many[:2]
    assert ink_of_set(many) is not None
    many[:3] = 255 - signs[:3]
    assert ink_of_set(many) is None


def test_sets_without_one_ink_have_none(signs: torch.Tensor) -> None:
    photographs = torch.randint(0, 256, signs.shape, dtype=torch.uint8, generator=generator(0, "photographs"))
    assert ink_of_set(photographs) is None
    assert ink_of_set(torch.cat([signs, photographs[:5]])) is None
    assert ink_of_set(signs[:0]) is None


def test_inverting_coloured_ink_would_change_the_colour(signs: torch.Tensor) -> None:
    grey = signs.expand(-1, 3, -1, -1)
    assert ink_of_set(grey) == ink_of_set(signs)
    red = grey.clone()
    red[:, 1:] = 0
    assert ink_of_set(red) is None


def test_checkpoints_hold_it_in_plain_containers(signs: torch.Tensor) -> None:
    ink = ink_of_set(signs, (28, 105))
    assert from_plain(json.loads(json.dumps(as_plain(ink)))) == ink
    assert from_plain(as_plain(None)) is None


@pytest.mark.parametrize(
    "change",
    [{"ground": (0, 0, 256)}, {"contrast": (3, 2, 4)}, {"extent": (0, 0, 0)}, {"contrast": (0, 0, 0)}],
)
def test_numbers_out_of_range_are_refused(change: dict[str, tuple[float, ...]]) -> None:
    parts = {"ground": (0, 0, 0), "contrast": (90, 250, 255), "uneven": 0, "extent": (0.2, 0.6, 0.9)}
    assert Ink(True, **parts).side == 1
    with pytest.raises(ValueError, match=r"must be|an ink has"):
        Ink(True, **{**parts, **change})


def test_omniglot_and_glyphs_are_light_on_dark_and_square() -> None:
    for data, sides in (
        (Data(name="omniglot"), (28, 105)),
        (Data(name="glyphs"), (28,)),
        (Data(name="several", sets=("glyphs", "omniglot")), (28, 105)),
    ):
        assert file_sides(data, 28) == sides
    for other in (Data(name="cifar_fs"), Data(name="several", sets=("cifar_fs", "glyphs"))):
        assert file_sides(other, 28) == ()


def test_the_glyphs_show_light_ink_on_black(tmp_path: Path) -> None:
    from mtl.data import load_splits

    splits = load_splits(Data(name="glyphs", root=str(tmp_path), samples_per_class=2), 0)
    ink = ink_of_set(splits.train.images, (28,))
    assert ink is not None
    assert (ink.light, ink.ground, ink.sides) == (True, (0, 0, 0), (28,))
    for part in (splits.train, splits.val, splits.test):
        assert int((strokes(part.images).side == -1).sum()) == 0
