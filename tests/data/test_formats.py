"""Files of every kind are opened or refused in plain words; of more than 8 bits, one value is white."""

import io
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from mtl.config import Data, read_config
from mtl.data.decode import decode, to_tensor
from mtl.data.formats import (
    EXTENSIONS,
    FULL,
    REFUSED,
    CannotOpenError,
    eight_bits,
    in_words,
    largest_value,
    largest_values,
    levels_messages,
    opened,
    top_of,
)
from mtl.data.sources.image_folder import load, survey
from mtl.errors import UserError

CUT = "it ends too early, as after a copy that was broken off"
HEIC = b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00mif1heicmiaf" + bytes(40)


def reason(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        decode(file, 16, False)
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith(f"{file}: is not a readable image (")
    return message.removeprefix(f"{file}: is not a readable image (").removesuffix(")")


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def test_the_endings_are_those_of_pillow() -> None:
    Image.init()
    opens = {e for e, name in Image.registered_extensions().items() if name in Image.OPEN}
    refused = {e for e, name in Image.registered_extensions().items() if name in REFUSED}
    assert opens - refused <= EXTENSIONS
    assert not refused & EXTENSIONS
    of_some_pillows = {".heic", ".heif", ".hif", ".mpo", ".avif", ".avifs", ".jp2", ".webp"}
    assert EXTENSIONS - opens <= of_some_pillows


def test_the_content_says_what_a_file_is(tmp_path: Path) -> None:
    content = encoded(Image.new("RGB", (20, 20), "red"), "PNG")
    for ending in sorted(EXTENSIONS):
        file = tmp_path / f"a{ending}"
        file.write_bytes(content)
        assert decode(file, 16, False)[:, 8, 8].tolist() == [255, 0, 0], ending


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"<html>\n<body>404 not found</body>\n</html>\n", "it holds text, whatever its name says"),
        ("Größe\r\n".encode(), "it holds text, whatever its name says"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it holds text, whatever its name says"),
        (b"\x00\x01\x02", "its content is damaged, or of no kind of picture that can be read"),
        (HEIC, "it is HEIF; needs: pip install pillow-heif"),
    ],
)
def test_what_is_no_picture_is_refused_in_plain_words(
    tmp_path: Path, content: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.png").write_bytes(content)
    assert reason(tmp_path / "a.png") == why


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "folder.png").mkdir()
    assert reason(tmp_path / "gone.png") == reason(tmp_path / "loop.png") == "there is no such file"
    assert reason(tmp_path / "folder.png") == "it is not a file"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
def test_a_picture_cut_short_is_refused(
    tmp_path: Path, form: str, photograph: Callable[[int], Image.Image]
) -> None:
    content = encoded(photograph(0), form)
    (tmp_path / "a.jpg").write_bytes(content[: len(content) * 2 // 3])
    why = reason(tmp_path / "a.jpg")
    if form in {"JPEG", "PNG"}:
        assert why == CUT


def test_an_eps_picture_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    def started(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGB", (20, 20)), "EPS") + bytes(4))
    with pytest.raises(UserError, match="is not a readable image"):
        decode(tmp_path / "a.png", 16, False)


def test_a_large_picture_is_opened_without_a_warning_and_a_huge_one_is_refused_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in (14, 15):
        Image.new("RGB", (side, side)).save(tmp_path / f"{side}.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings(record=True) as leaked, ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("always")
        shapes = set(pool.map(lambda _: decode(tmp_path / "14.png", 16, False).shape, range(8)))
    assert shapes == {(3, 16, 16)}
    assert leaked == []
    assert reason(tmp_path / "15.png") == "it has 225 pixels, more than the 200 that Pillow opens"


def test_a_picture_thin_as_a_line_is_refused(tmp_path: Path) -> None:
    for sides in ((50, 1), (51, 1), (1, 51)):
        Image.new("L", sides).save(tmp_path / f"{sides[0]}.png")
    assert decode(tmp_path / "50.png", 16, True).shape == (1, 16, 16)
    for name, sizes in (("51", "51 × 1"), ("1", "1 × 51")):
        assert reason(tmp_path / f"{name}.png").startswith(f"its sides, {sizes} pixels, differ by more than")


def test_a_large_jpeg_is_decoded_to_no_less_than_twice_the_size_needed(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "a.jpg")
    for least, size in ((30, (80, 60)), (31, (160, 120)), (121, (640, 480))):
        with opened(tmp_path / "a.jpg", least) as image:
            assert image.size == size


def test_a_large_jpeg_looks_as_if_all_of_it_were_decoded(
    tmp_path: Path, photograph: Callable[..., Image.Image]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    photograph(0, 720).crop((0, 0, 720, 512)).save(tmp_path / "a.jpg", quality=90, exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        whole = to_tensor(ImageOps.exif_transpose(image), 32, False)
    difference = (decode(tmp_path / "a.jpg", 32, False).int() - whole.int()).abs().float()
    assert difference.max() <= 8
    assert 0 < difference.mean() < 1  # something was left out, and nothing of it can be seen


def test_heif_is_opened_by_its_package_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = ModuleType("pillow_heif")
    asked = []

    def open_heif(file: Path) -> SimpleNamespace:
        asked.append(file)
        return SimpleNamespace(size=(24, 24), to_pillow=lambda: Image.new("RGB", (24, 24), "blue"))

    package.open_heif = open_heif  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    file = tmp_path / "a.jpg"  # as telephones name them when they are sent on
    file.write_bytes(HEIC)
    assert decode(file, 16, False)[:, 0, 0].tolist() == [0, 0, 255]
    assert asked == [file]
    package.open_heif = lambda file: SimpleNamespace(size=(90_000, 90_000))  # type: ignore[attr-defined]
    assert reason(file).startswith("it has 8,100,000,000 pixels, more than the ")


def test_heif_of_a_real_package(tmp_path: Path) -> None:
    package = pytest.importorskip("pillow_heif")
    image = Image.new("RGB", (64, 64), "red")
    image.paste((0, 0, 255), (32, 0, 64, 64))
    package.from_pillow(image).save(tmp_path / "a.heic", quality=95)
    red, _, blue = decode(tmp_path / "a.heic", 16, False)[:, 8].int()
    assert min(*red[:6], *blue[10:]) > 230
    assert max(*red[10:], *blue[:6]) < 30


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CannotOpenError("so"), "so"),
        (PermissionError(13, "Permission denied"), "permission denied"),
        (MemoryError(), "it takes more memory than there is"),
        (EOFError(), CUT),
        (OSError("image file is truncated (3 bytes not processed)"), CUT),
        (Image.DecompressionBombError("no number"), "it has more pixels than are opened"),
        (SyntaxError("broken PNG file"), "it is damaged: broken PNG file"),
        (IndexError(), "it is damaged"),
    ],
)
def test_errors_in_plain_words(error: Exception, words: str) -> None:
    assert in_words(error) == words


def test_damaged_exif_data_do_not_hide_the_picture(tmp_path: Path) -> None:
    content = encoded(Image.new("RGB", (20, 20), "white"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    (tmp_path / "a.jpg").write_bytes(content)
    assert decode(tmp_path / "a.jpg", 16, True).float().mean() > 250


def test_the_first_picture_of_an_animation_counts(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (20, 20), colour) for colour in ("red", "blue"))
    for name in ("a.gif", "a.png", "a.tiff", "a.webp"):
        first.save(
            tmp_path / name,
            save_all=True,
            append_images=[second],
            **({"lossless": True} if name.endswith("webp") else {}),
        )
        assert decode(tmp_path / name, 16, False)[:, 8, 8].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("mode", "colour", "name", "expected"),
    [
        ("L", 7, "a.png", [7, 7, 7]),
        ("LA", (10, 0), "a.png", [255, 255, 255]),
        ("RGBA", (255, 0, 0, 255), "a.webp", [255, 0, 0]),
        ("RGBA", (9, 9, 9, 0), "a.png", [255, 255, 255]),
        ("LA", (10, 255), "a.png", [10, 10, 10]),
        ("CMYK", (0, 255, 255, 0), "a.tif", [255, 0, 0]),
        ("P", 0, "a.png", [0, 0, 0]),
        ("1", 1, "a.pbm", [255, 255, 255]),
        ("YCbCr", (255, 128, 128), "a.tif", [255, 255, 255]),
        ("HSV", (0, 255, 255), None, [255, 0, 0]),
    ],
)
def test_colours_of_every_kind_become_red_green_and_blue(
    tmp_path: Path, mode: str, colour: object, name: str | None, expected: list[int]
) -> None:
    image = Image.new(mode, (1, 1), colour)  # type: ignore[arg-type]
    if name is not None:
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        decoded = decode(tmp_path / name, 16, False)
    else:
        decoded = to_tensor(image, 16, False)
    assert decoded.shape == (3, 16, 16)
    assert torch.unique(decoded.flatten(1), dim=1).flatten().tolist() == expected


def test_a_palette_with_a_transparency_for_each_colour_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.paste(0, (0, 0, 8, 16))
    image.save(tmp_path / "a.png", transparency=bytes([0, 255]))
    decoded = decode(tmp_path / "a.png", 16, False)
    assert decoded[:, 8, 2].tolist() == [255, 255, 255]
    assert decoded[:, 8, 12].tolist() == [200, 0, 0]


def test_unknown_colours_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise ValueError("conversion from LAB to RGB not supported")

    monkeypatch.setattr(Image.Image, "convert", unknown)
    with pytest.raises(ValueError, match=r"its colours, of mode LAB, are not known; save it as RGB"):
        to_tensor(Image.new("LAB", (16, 16)), 16, False)


RAMP = np.linspace(0, 1, 256).reshape(16, 16)


def deep(most: int, dtype: str = "<u2") -> Image.Image:
    return Image.fromarray((RAMP * most).round().astype(dtype))


def noting(file: Path, bits: int) -> Path:
    """The same PNG with the significant bits of its grey values noted."""
    raw, body = file.read_bytes(), b"sBIT" + bytes([bits])
    chunk = struct.pack(">I", 1) + body + struct.pack(">I", zlib.crc32(body))
    file.write_bytes(raw[:33] + chunk + raw[33:])
    return file


@given(st.lists(st.integers(0, 2**31), min_size=1))
def test_no_value_of_the_set_is_beyond_white(values: list[int]) -> None:
    assert top_of(values) >= max(values)


def test_white_is_the_largest_number_of_the_fewest_bits_unless_the_config_says_otherwise() -> None:
    tops = {200: 255, 255: 255, 256: 1023, 4080: 4095, 16_000: 16_383, 40_000: FULL}
    assert {most: top_of([3, most]) for most in tops} == tops
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


def test_values_that_are_negative_or_no_integers_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), -1024, dtype=np.int32)).save(tmp_path / "a.tif")
    assert reason(tmp_path / "a.tif").startswith("its values go down to -1,024")
    Image.fromarray(np.zeros((16, 16), dtype=np.float32)).save(tmp_path / "b.tif")
    assert reason(tmp_path / "b.tif").startswith("its pixels are floating-point numbers")


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
    data = replace(folder(tmp_path, 255, mixed=True), levels=levels)
    for _ in range(2):  # decoded, then out of the cache
        splits = load(data, 0)
        assert splits.levels == white
    parts = (splits.train, splits.val, splits.test)
    images = {f: image for part in parts for f, image in zip(part.files, part.images, strict=True)}
    assert int(images["c2/0.tif"].max()) == pytest.approx(brightest, abs=1)
    assert int(images["c0/eight.png"].max()) == 255
    report = survey(data, 0).report
    assert (report.levels, report.deep) == (white, 6)
    assert ("stretched" in caplog.text) is (white < FULL)


def test_levels_are_for_image_folders_alone() -> None:
    with pytest.raises(UserError, match=r"data\.levels"):
        read_config({"data": {"name": "glyphs", "levels": "full"}}, "test")
    assert read_config({"data": {"name": "image_folder", "levels": 4095}}, "test").data.levels == 4095
    for wrong in ("some", 0, -1, 1.5):
        with pytest.raises(UserError, match=r"data\.levels"):
            read_config({"data": {"name": "image_folder", "levels": wrong}}, "test")
