"""Images as programs hold them: in whatever form, the same pixels."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.data.decode import decode
from mtl.data.prefetch import image_list, prepare_images
from mtl.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def paths(tmp_path):
    made = [tmp_path / f"{i}.png" for i in range(len(PIXELS))]
    for path, pixels in zip(made, PIXELS, strict=True):
        Image.fromarray(pixels).save(path)
    return made


def forms(paths):
    """The same images in every form that is allowed."""
    pictures = [Image.fromarray(pixels) for pixels in PIXELS]
    return {
        "paths": paths,
        "texts": tuple(map(str, paths)),
        "array of texts": np.array(list(map(str, paths))),
        "array of paths": np.array(paths, dtype=object),
        "pictures": pictures,
        "opened files": [Image.open(path) for path in paths],
        "array": PIXELS,
        "list of arrays": list(PIXELS),
        "several forms": [paths[0], str(paths[1]), pictures[2], PIXELS[3], paths[4]],
    }


@pytest.mark.parametrize("at_once", [1, 2, 5, 9])
def test_the_form_makes_no_difference(paths, at_once):
    wanted = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
    for name, images in forms(paths).items():
        batches = list(prepare_images(image_list(images), 16, False, at_once))
        assert [len(batch) for batch in batches[:-1]] == [at_once] * (len(batches) - 1), name
        assert torch.equal(torch.cat(batches), wanted), name


def test_they_are_brought_to_size_and_colours_as_files_are(paths):
    Image.fromarray(PIXELS[0]).resize((40, 20)).save(paths[0])
    pixels = np.array(Image.open(paths[0]))
    for image in (str(paths[0]), Image.open(paths[0]), pixels):
        assert torch.equal(next(prepare_images(image_list([image]), 12, True))[0], decode(paths[0], 12, True))
    grey = next(prepare_images(image_list(PIXELS[..., 0]), 16, True))
    assert torch.equal(grey[:, 0], torch.from_numpy(PIXELS[..., 0]))


def test_a_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.png", exif=exif)
    upright = next(prepare_images(image_list([Image.open(tmp_path / "a.png")]), 16, False))[0]
    assert torch.equal(upright, decode(tmp_path / "a.png", 16, False))
    assert not torch.equal(upright, torch.from_numpy(PIXELS[0]).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("a.png", "one image is given alone"),
        (b"a.png", "one image is given alone"),
        (Image.new("L", (4, 4)), "one image is given alone"),
        (None, "given as NoneType"),
        (3, "given as int"),
        ((name for name in ["a.png"]), "given as generator"),
        ([b"a.png"], "given as bytes"),
        ([None], "given as NoneType"),
        ([["a.png"]], "given as list"),
        (np.array("a.png"), "given as ndarray"),
        (np.array([["a.png"]]), r"<U5 of shape \(1,\)"),
        (PIXELS / 255, "given as float64"),
        (PIXELS[0], r"one image is given alone, as an array of shape \(16, 16, 3\)"),
        (np.zeros((64, 64, 4), dtype=np.uint8), "one image is given alone"),
        (np.zeros((5, 16, 16), dtype=np.uint16), r"uint16 of shape \(16, 16\)"),
        (PIXELS[0, :, :, 0], r"uint8 of shape \(16,\)"),
        (PIXELS[..., :2], r"shape \(16, 16, 2\)"),
        (PIXELS[:, :0], r"shape \(0, 16, 3\)"),
        (PIXELS[None], r"shape \(5, 16, 16, 3\)"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_other_forms_are_refused(images, message):
    with pytest.raises(ValueError, match=f"{message}.*; images are a sequence of paths or of PIL images"):
        image_list(images)


def test_what_cannot_be_read_is_named(paths):
    paths[3].write_bytes(paths[3].read_bytes()[:60])
    for images in (paths, [Image.new("L", (16, 16)), *paths]):
        with pytest.raises(UserError, match=rf"{os.sep}3\.png: is not a readable image"):
            list(prepare_images(image_list(images), 16, False))
    with Image.open(paths[3]) as damaged, pytest.raises(UserError, match="image 1: is not a readable image"):
        list(prepare_images(image_list([PIXELS[0], damaged]), 16, False))
    with pytest.raises(UserError, match=r"image 0: is not a readable image \(its pixels are floating"):
        list(prepare_images(image_list([Image.new("F", (16, 16))]), 16, False))
