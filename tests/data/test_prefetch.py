"""Own pictures in batches: order, bounds, what cannot be read, and forms in which programs hold images."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mtl.data import prefetch as module
from mtl.data.decode import decode
from mtl.data.own_picture import Change
from mtl.data.prefetch import decode_ahead, image_list, prepare_images
from mtl.errors import UserError


@pytest.fixture
def files(tmp_path, write_images):
    return write_images(tmp_path / "cat", 7)


def test_the_images_are_those_of_decode_in_order(files):
    batches = list(decode_ahead(files, 6, True, at_once=3, ahead=2))
    assert [len(batch.images) for batch in batches] == [3, 3, 1]
    assert [file for batch in batches for file in batch.files] == files
    together = torch.cat([batch.images for batch in batches])
    assert torch.equal(together, torch.stack([decode(file, 6, True) for file in files]))
    assert not any(batch.unread for batch in batches)
    assert list(decode_ahead([], 8, False)) == []


def test_files_that_cannot_be_read_are_named_and_stop_nothing(files):
    files[0].write_bytes(b"")
    files[4].write_bytes(b"no picture")
    batches = list(decode_ahead(files, 8, False, at_once=2, ahead=3))
    assert [file for batch in batches for file in batch.files] == [files[i] for i in (1, 2, 3, 5, 6)]
    unread = [one for batch in batches for one in batch.unread]
    assert [one.file for one in unread] == [files[0], files[4]]
    assert all(one.why.startswith(f"{one.file}: is not a readable image") for one in unread)
    for file in files:
        file.write_bytes(b"")
    batches = list(decode_ahead(files, 8, False, at_once=4))
    assert [tuple(batch.images.shape) for batch in batches] == [(0, 3, 8, 8)] * 2
    assert [len(batch.unread) for batch in batches] == [4, 3]


def _numbered(files, monkeypatch, slow=()):
    """`own_picture` that gives each file's number as an image, some later than others."""

    def fake(file, size, grayscale, ink, top):
        if int(file.name) in slow:
            time.sleep(0.01)
        if int(file.name) % 5 == 4:
            raise UserError(f"{file}: is odd")
        return torch.full((1, 1, 1), int(file.name), dtype=torch.uint8), Change()

    monkeypatch.setattr(module, "own_picture", fake)
    return [Path(str(i)) for i in range(files)]


@given(
    count=st.integers(0, 40),
    at_once=st.integers(1, 9),
    ahead=st.integers(1, 9),
    slow=st.sets(st.integers(0, 40), max_size=3),
)
def test_whatever_takes_longer_the_order_stays(count, at_once, ahead, slow):
    with pytest.MonkeyPatch.context() as patch:
        files = _numbered(count, patch, slow)
        batches = list(decode_ahead(files, 1, True, at_once, ahead))
    read = [int(file.name) for batch in batches for file in batch.files]
    assert read == [i for i in range(count) if i % 5 != 4]
    assert read == [i for batch in batches for i in batch.images.flatten().tolist()]
    assert [int(one.file.name) for batch in batches for one in batch.unread] == list(range(4, count, 5))
    sizes = [len(batch.files) + len(batch.unread) for batch in batches]
    assert all(size == at_once for size in sizes[:-1])
    assert sum(sizes) == count


def test_no_more_files_are_begun_than_may_be_ahead(monkeypatch):
    begun = []

    def fake(file, size, grayscale, ink, top):
        begun.append(file)
        return torch.zeros(1, 1, 1, dtype=torch.uint8), Change()

    monkeypatch.setattr(module, "own_picture", fake)
    batches = decode_ahead([Path(str(i)) for i in range(1000)], 1, True, at_once=4, ahead=6)
    next(batches)
    time.sleep(0.05)
    assert 4 <= len(begun) <= 10
    batches.close()
    time.sleep(0.02)
    assert len(begun) <= 10


def test_files_are_decoded_by_several_threads(monkeypatch):
    if module.THREADS < 2:
        pytest.skip("one core decodes one after the other")
    meeting = threading.Barrier(2, timeout=10)  # passed by two at once or by none

    def fake(file, size, grayscale, ink, top):
        meeting.wait()
        return torch.zeros(1, 1, 1, dtype=torch.uint8), Change()

    monkeypatch.setattr(module, "own_picture", fake)
    assert len(list(decode_ahead([Path("a"), Path("b")], 1, True))) == 1


def test_an_error_of_the_program_is_not_taken_for_a_bad_file(files, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(module, "own_picture", broken)
    with pytest.raises(ZeroDivisionError):
        list(decode_ahead(files, 8, False))


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


def test_they_are_prepared_as_files_are(paths):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    Image.fromarray(PIXELS[0]).save(paths[1], exif=exif)
    turned = next(prepare_images(image_list([Image.open(paths[1])]), 16, False))[0]
    assert torch.equal(turned, decode(paths[1], 16, False))
    assert not torch.equal(turned, torch.from_numpy(PIXELS[0]).permute(2, 0, 1))
    Image.fromarray(PIXELS[0]).resize((40, 20)).save(paths[0])
    pixels = np.array(Image.open(paths[0]))
    for image in (str(paths[0]), Image.open(paths[0]), pixels):
        assert torch.equal(next(prepare_images(image_list([image]), 12, True))[0], decode(paths[0], 12, True))
    Image.fromarray(np.full((16, 16), 5000, dtype=np.uint16)).save(paths[2])
    for deep in (paths[2], Image.open(paths[2])):
        changes = []
        list(prepare_images(image_list([deep, PIXELS[0]]), 16, True, top=4095, changes=changes))
        list(prepare_images(image_list([paths[3], paths[2]]), 16, True, top=4095, changes=changes))
        assert [change.clipped for change in changes] == [True, False, False, True]
    grey = next(prepare_images(image_list(PIXELS[..., 0]), 16, True))
    assert torch.equal(grey[:, 0], torch.from_numpy(PIXELS[..., 0]))


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
