"""A picture of a person's own comes to look like the training images, and one that does stays as it is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from mtl.data.decode import decode, to_tensor
from mtl.data.ink import Ink, ink_of_set, strokes
from mtl.data.own_picture import Change, change_messages, own_picture, prepare_picture
from mtl.errors import UserError
from mtl.runtime.seeds import generator

SIDE, FILE = 28, 64  # pixels a side: of training images, of their files
LIGHT = Ink(True, (0, 0, 0), (91, 255, 255), 0, (0.25, 0.64, 0.93), sides=(SIDE, FILE))
CROPPED = Ink(True, (0, 0, 0), (91, 255, 255), 0, (0.25, 0.64, 0.93))


def drawing(side: int = FILE) -> Image.Image:
    """Black strokes on white, off the middle; their box is 0.64 of the frame."""
    unit = side / 64
    image = np.full((side, side), 255, dtype=np.uint8)

    def stroke(top: float, bottom: float, left: float, right: float) -> None:
        image[round(top * unit) : round(bottom * unit), round(left * unit) : round(right * unit)] = 0

    stroke(10, 51, 8, 12)
    stroke(10, 14, 8, 40)
    stroke(30, 34, 8, 26)
    return Image.fromarray(image)


def ink_of(image: Image.Image) -> np.ndarray:
    return 1 - np.asarray(image.convert("L"), dtype=float)[..., None] / 255


def blended(image: Image.Image, ink: tuple[int, ...], ground: tuple[int, ...]) -> Image.Image:
    strength = ink_of(image)
    return Image.fromarray((np.array(ground) * (1 - strength) + np.array(ink) * strength).astype(np.uint8))


def transparent(value: int) -> Image.Image:
    made = Image.new("LA", (FILE, FILE), (value, 0))
    made.putalpha(ImageOps.invert(drawing()))
    return made


def shaded() -> Image.Image:
    noise = torch.randn(256, 256, generator=generator(0, "paper")).numpy() * 3
    y, x = np.mgrid[0:256, 0:256] / 256
    paper = 170 * (0.7 + 0.5 * x) * (0.8 + 0.3 * y)
    strength = ink_of(drawing(256))[..., 0]
    return Image.fromarray((paper * (1 - 0.6 * strength) + noise).clip(0, 255).astype(np.uint8))


def paged(share: float) -> Image.Image:
    side = round(FILE / share)
    page = Image.new("L", (side, side), 255)
    page.paste(drawing(), (side // 9, side // 3))
    return page


def wide() -> Image.Image:
    page = Image.new("L", (3 * FILE, FILE + 10), 255)
    page.paste(drawing(), (2 * FILE, 5))
    return page


def alike(one: torch.Tensor, other: torch.Tensor) -> float:
    """Correlation of two pictures."""
    stacked = torch.stack([one.flatten().double(), other.flatten().double()])
    return float(torch.corrcoef(stacked)[0, 1])


WANTED = 255 - to_tensor(drawing(), SIDE, True)
CENTRED = prepare_picture(drawing(96), SIDE, True, LIGHT)[
    0
]  # of another size than the files: framed by its ink

KINDS: dict[str, tuple[Callable[[], Image.Image], bool]] = {
    "pencil": (lambda: blended(drawing(256), (120,) * 3, (238,) * 3), True),
    "grey on grey": (lambda: blended(drawing(), (110,) * 3, (140,) * 3), False),
    "light on grey": (lambda: blended(drawing(), (150,) * 3, (110,) * 3), False),
    "a photographed page": (shaded, True),
    "blue on cream": (lambda: blended(drawing(), (30, 60, 200), (250, 245, 230)), False),
    "yellow on white": (lambda: blended(drawing(), (250, 230, 40), (255, 255, 255)), False),
    "red on a green as dark": (lambda: blended(drawing(), (200, 60, 60), (60, 130, 60)), False),
    "black on nothing": (lambda: transparent(0), False),
    "white on nothing": (lambda: transparent(255), False),
    "on a large page": (lambda: paged(0.3), True),
    "on a wide page": (wide, True),
    "cut to the ink": (lambda: drawing().crop((8, 10, 40, 51)), True),
}


@pytest.mark.parametrize("size", [SIDE, FILE])
def test_dark_ink_becomes_light_to_the_pixel(size: int) -> None:
    dark = drawing().resize((size, size), Image.Resampling.LANCZOS)
    pixels, change = prepare_picture(dark, SIDE, True, LIGHT)
    assert torch.equal(pixels, 255 - to_tensor(dark, SIDE, True))
    assert change == Change(inverted=True)
    again, unchanged = prepare_picture(Image.fromarray(pixels[0].numpy()), SIDE, True, LIGHT)
    assert torch.equal(again, pixels)
    assert unchanged == Change()


def test_light_ink_becomes_dark_where_the_training_images_have_dark_ink() -> None:
    dark, light = ink_of_set((255 - WANTED)[None]), ImageOps.invert(drawing())
    assert dark is not None
    assert not dark.light
    pixels, change = prepare_picture(light, SIDE, True, dark)
    assert torch.equal(pixels, 255 - to_tensor(light, SIDE, True))
    assert change == Change(inverted=True)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_it_is_drawn_with_and_on_it_is_the_same_sign(kind: str) -> None:
    made, framed = KINDS[kind]
    pixels, change = prepare_picture(made(), SIDE, True, LIGHT)
    wanted = CENTRED if framed else WANTED
    assert alike(pixels, wanted) > 0.95, kind
    found = strokes(pixels[None])
    assert float(found.ground) <= 6
    assert float(found.contrast) > 180
    assert change.framed is framed
    assert not framed or float(found.extent) == pytest.approx(LIGHT.extent[1], abs=0.08)
    assert change.inverted is (kind not in {"light on grey", "white on nothing", "red on a green as dark"})
    assert not change.no_ink
    coloured = prepare_picture(made(), SIDE, False, LIGHT)[0]
    assert coloured.shape == (3, SIDE, SIDE)
    assert torch.equal(coloured[0], coloured[2])


def test_where_training_cuts_out_the_middle_square_so_do_own_pictures() -> None:
    pixels, change = prepare_picture(paged(0.8), SIDE, True, CROPPED)
    assert torch.equal(pixels, 255 - to_tensor(paged(0.8), SIDE, True))
    assert change == Change(inverted=True)


def test_without_an_ink_nothing_is_changed() -> None:
    for made, _ in KINDS.values():
        assert torch.equal(prepare_picture(made(), SIDE, False)[0], to_tensor(made(), SIDE, False))


def test_what_shows_no_ink_is_left_as_it_is_but_for_a_ground_of_the_other_side() -> None:
    noise = torch.randint(60, 180, (SIDE, SIDE), dtype=torch.uint8, generator=generator(0, "noise"))
    pixels, change = prepare_picture(Image.fromarray(noise.numpy()), SIDE, True, LIGHT)
    assert torch.equal(pixels[0], noise)
    assert change == Change(no_ink=True)
    assert prepare_picture(Image.new("L", (SIDE, SIDE), 0), SIDE, True, LIGHT)[1] == Change(no_ink=True)
    empty, change = prepare_picture(Image.new("L", (SIDE, SIDE), 255), SIDE, True, LIGHT)
    assert empty.unique().tolist() == [0]
    assert change.inverted


@pytest.mark.parametrize("sides", [(SIDE,), ()])
def test_no_image_of_the_set_is_changed_however_odd(sides: tuple[int, ...]) -> None:
    random = generator(0, "odd")
    images = torch.stack([WANTED, WANTED // 8, WANTED.flip(1).roll(9, 2), torch.zeros_like(WANTED)] * 5)
    images[3::4, :, 9:, :] = 255  # more ink than ground
    images = torch.cat([WANTED.expand(50, -1, -1, -1), images[torch.randperm(20, generator=random)]])
    ink = ink_of_set(images, sides)
    assert ink is not None
    for image in images:
        for channels in (1, 3):
            made = Image.fromarray(image[0].numpy()).convert("L" if channels == 1 else "RGB")
            pixels, change = prepare_picture(made, SIDE, channels == 1, ink)
            assert torch.equal(pixels, image.expand(channels, -1, -1))
            assert not change.inverted


def test_a_file_is_read_as_a_picture_is(tmp_path: Path) -> None:
    for i, (made, _) in enumerate(KINDS.values()):
        made().save(tmp_path / f"{i}.png")
        found, change = own_picture(tmp_path / f"{i}.png", SIDE, True, LIGHT)
        wanted, same = prepare_picture(made(), SIDE, True, LIGHT)
        assert torch.equal(found, wanted)
        assert change == same
        plain, _ = own_picture(tmp_path / f"{i}.png", SIDE, True)
        assert torch.equal(plain, decode(tmp_path / f"{i}.png", SIDE, True))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.png: is not a readable image \(the file is empty\)"):
        own_picture(tmp_path / "a.png", SIDE, True, LIGHT)


def test_one_sentence_says_how_many_were_changed_and_why() -> None:
    changes = [Change(inverted=True)] * 3 + [
        Change(inverted=True, framed=True),
        Change(no_ink=True),
        Change(),
    ]
    (sentence,) = change_messages(changes, LIGHT)
    assert "light ink on a dark ground" in sentence
    assert "6 pictures" in sentence
    assert "4 were inverted" in sentence
    assert "1 was cut or padded" in sentence
    assert change_messages([Change()] * 3, LIGHT) == []
    assert change_messages(changes, None) == []


def test_values_beyond_white_are_change_messages() -> None:
    deep = Image.fromarray(np.full((SIDE, SIDE), 5000, dtype=np.uint16))
    _, change = prepare_picture(deep, SIDE, True, None, top=4095)
    assert change == Change(clipped=True)
    (sentence,) = change_messages([change, Change()], None, 4095)
    assert "1 " in sentence
    assert "4,095" in sentence
    assert prepare_picture(deep, SIDE, True, None, top=65535)[1] == Change()
