import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mtl.data.decode import decode, decode_classes, decode_readable, escaped
from mtl.data.folders import image_files
from mtl.errors import UserError

WriteImages = Callable[..., list[Path]]
RED, BLUE = (255, 0, 0), (0, 0, 255)


def halves(width: int, height: int) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def test_pixels_of_the_right_size_are_kept_as_they_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert torch.equal(decode(tmp_path / "a.png", 16, False), torch.from_numpy(pixels).permute(2, 0, 1))


def test_the_middle_square_is_kept(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), RED)
    image.paste(BLUE, (10, 0, 30, 20))
    image.save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", 20, False)[:, 10].T.unique(dim=0).tolist() == [list(BLUE)]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: left is up
    halves(40, 20).save(tmp_path / "a.png", exif=exif)
    upright = decode(tmp_path / "a.png", 20, False)
    assert upright[:, 2, 10].tolist() == list(RED)
    assert upright[:, 17, 10].tolist() == list(BLUE)


def test_a_transparent_colour_of_a_palette_is_laid_on_white(tmp_path: Path) -> None:
    image = halves(16, 16).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    image.save(tmp_path / "a.gif", transparency=image.getpixel((0, 0)))
    decoded = decode(tmp_path / "a.gif", 16, False)
    assert decoded[:, 8, 2].tolist() == [255, 255, 255]
    assert decoded[:, 8, 13].tolist() == list(BLUE)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    pixels = np.tile(np.array([0, 257, 32896, 65535], dtype=np.uint16), (16, 4))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", 16, True)[0, 0, :4].tolist() == [0, 1, 128, 255]


@given(
    form=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]),
    keep=st.floats(0, 1),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
)
@settings(deadline=None)
def test_a_damaged_file_gives_an_image_or_its_name(
    form: str, keep: float, damage: list[tuple[float, int]]
) -> None:
    stream = io.BytesIO()
    halves(16, 16).save(stream, form)
    content = bytearray(stream.getvalue())
    for place, value in damage:
        content[int(place * len(content))] = value
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cat.png")
        file.write_bytes(content[: round(keep * len(content))])
        try:
            decoded = decode(file, 16, False)
        except UserError as error:
            message = str(error)
        else:
            message = f"{file}: is not a readable image" if decoded.shape == (3, 16, 16) else "another shape"
        assert message.startswith(f"{file}: is not a readable image")


def test_classes_are_sorted_and_each_image_keeps_its_file(tmp_path: Path, write_images: WriteImages) -> None:
    classes = {name: write_images(tmp_path / name, count) for name, count in (("b", 3), ("a", 2))}
    images = decode_classes(classes, 8, False, tmp_path, {"a": "x", "b": "y"})
    assert images.class_names == ("a", "b")
    assert images.groups == ("x", "y")
    assert images.labels.tolist() == [0, 0, 1, 1, 1]
    assert images.files == tuple(
        os.path.join(c, f"{i:02d}.png") for c, n in (("a", 2), ("b", 3)) for i in range(n)
    )
    for image, file in zip(images.images, images.files, strict=True):
        assert torch.equal(image, decode(tmp_path / file, 8, False))


def test_the_first_unreadable_file_of_a_set_is_named_and_all_are_counted(
    tmp_path: Path, write_images: WriteImages
) -> None:
    classes = {name: write_images(tmp_path / name, 4) for name in ("a", "b")}
    classes["b"][3].write_bytes(b"")
    with pytest.raises(UserError, match=r"b/03\.png: is not a readable image \(the file is empty\)$"):
        decode_classes(classes, 8, False, tmp_path)
    classes["a"][2].write_bytes(b"text")
    words = r"a/02\.png: is not a readable image \(it holds text, .*\); and 1 more cannot be read$"
    with pytest.raises(UserError, match=words):
        decode_classes(classes, 8, False, tmp_path)


def test_what_can_be_read_is_decoded_and_the_rest_is_named(tmp_path: Path, write_images: WriteImages) -> None:
    classes = {name: write_images(tmp_path / name, 3) for name in ("a", "b", "c")}
    for file in (classes["a"][1], *classes["b"]):
        file.write_bytes(b"")
    images, unreadable = decode_readable(classes, 8, False, tmp_path, {"a": "x", "b": "y", "c": "z"})
    assert unreadable == {f"{name}.png": "the file is empty" for name in ("a/01", "b/00", "b/01", "b/02")}
    assert images.files == ("a/00.png", "a/02.png", "c/00.png", "c/01.png", "c/02.png")
    assert images.class_names == ("a", "b", "c")
    assert images.groups == ("x", "y", "z")
    assert images.labels.tolist() == [0, 0, 2, 2, 2]
    for image, file in zip(images.images, images.files, strict=True):
        assert torch.equal(image, decode(tmp_path / file, 8, False))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Ärger 漢 ☕\u00a0ok", "Ärger 漢 ☕\u00a0ok"),
        ("\u06af\u0644\u200c\u0647\u0627", "\u06af\u0644\u200c\u0647\u0627"),  # a joiner within a word
        ("two\nlines\t", "two\\nlines\\t"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\xe9"),
    ],
)
def test_names_are_written_on_one_line_as_text_that_can_be_stored(name: str, text: str) -> None:
    assert escaped(name) == text
    assert text.encode().decode() == text


def test_files_of_any_name_are_listed_decoded_and_named_on_one_line(
    tmp_path: Path, write_images: WriteImages
) -> None:
    (file,) = write_images(tmp_path / "cat", 1)
    strange = file.with_name(os.fsdecode(b"\xff\n.png"))
    file.rename(strange)
    assert image_files(tmp_path / "cat") == [strange]
    assert decode_classes({"cat": [strange]}, 8, False, tmp_path).files == ("cat/\\xff\\n.png",)
    strange.write_bytes(b"")
    with pytest.raises(UserError) as caught:
        decode(strange, 8, False)
    assert str(caught.value).isprintable()


def test_two_files_whose_names_are_written_alike_are_two_files(
    tmp_path: Path, write_images: WriteImages
) -> None:
    files = write_images(tmp_path / "cat", 2)
    bad, good = files[0].with_name("\n.png"), files[1].with_name("\\n.png")
    files[1].rename(good)
    bad.write_bytes(b"")
    images, unreadable = decode_readable({"cat": [bad, good]}, 8, False, tmp_path)
    assert unreadable == {"cat/\\n.png": "the file is empty"}
    assert images.files == ("cat/\\n.png",)
    assert torch.equal(images.images[0], decode(good, 8, False))
