"""A set is shown as a table, a sheet of samples and what is wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtl.config import Config, Data, Imbalance
from mtl.data import ImageSet, Splits, load_splits
from mtl.data.folder_report import Duplicates, NamedPair
from mtl.data.show_data import pair_sheet, sample_sheet, show_data, summary
from mtl.errors import UserError


def config(root: Path) -> Config:
    return Config(data=Data(name="image_folder", root=str(root), image_size=16))


@pytest.fixture
def tiny(
    tmp_path: Path,
    write_images: Callable[..., list[Path]],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Too small for any episode; the working folder is another one."""
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    for i in range(4):
        write_images(tmp_path / f"class {i}", 1 + i)
    return tmp_path


def test_a_set_too_small_for_episodes_is_shown_all_the_same(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_data(config(tiny), None)
    shown = capsys.readouterr().out
    assert "image_folder: 4 classes" in shown
    for word in ("train", "val", "test", "16×16 colour", "fewest – median – most"):
        assert word in shown
    assert "Samples: image_folder.png\n" in shown
    with Image.open("image_folder.png") as sheet:
        assert sheet.format == "PNG"
    assert not [file for file in tiny.iterdir() if file.is_file()]  # the pictures are left alone


def test_the_sheet_goes_where_the_option_says_even_among_the_pictures(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tiny / "class 3" / "sheets [1].png"
    rows = []
    for _ in range(2):
        show_data(config(tiny), place)
        shown = capsys.readouterr().out
        assert f"Samples: {place}\n" in shown
        assert "The same picture twice: none.\n" in shown
        rows.append([line for line in shown.splitlines() if "│" in line])
    assert "class 3/sheets [1].png: is a drawing of this program" in shown  # the second time
    assert rows[0] == rows[1]
    assert not place.with_name("sheets [1]-duplicates.png").exists()
    assert not list(Path().iterdir())


def test_a_picture_that_is_there_is_not_written_over_by_default(tiny: Path) -> None:
    Image.new("RGB", (20, 20)).save("image_folder.png")
    before = Path("image_folder.png").read_bytes()
    with pytest.raises(UserError, match="--sheet writes elsewhere"):
        show_data(config(tiny), None)
    assert Path("image_folder.png").read_bytes() == before
    Path("image_folder.png").unlink()
    show_data(config(tiny), None)
    show_data(config(tiny), None)  # its own sheet it replaces
    Image.new("RGB", (20, 20)).save("image_folder.png")
    show_data(config(tiny), Path("image_folder.png"))  # and what is named
    assert Path("image_folder.png").read_bytes() != before


def test_what_becomes_of_the_training_images_is_said(
    tmp_path: Path, write_images: Callable[..., list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    for part, classes in (("train", 4), ("val", 1), ("test", 1)):
        for i in range(classes):
            write_images(tmp_path / part / f"{part} {i}", 10)
    plain = config(tmp_path)
    show_data(plain, tmp_path / "a.png")
    assert "Pretraining" not in capsys.readouterr().out
    changed = {"probe_fraction": 0.2, "imbalance": Imbalance("step", 8), "label_noise": 0.1}
    show_data(replace(plain, data=replace(plain.data, **changed)), tmp_path / "a.png")
    assert (  # 2 of each class are held out, and of two classes a single image stays
        "Pretraining sees 18 of the training images: 8 held out, 1 to 8 a class, 2 of them mislabelled."
    ) in capsys.readouterr().out


def test_a_folder_that_training_refuses_is_shown_with_what_is_wrong(
    tmp_path: Path, photograph: Callable[..., Image.Image], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "photos"
    for c in "abcd":
        (root / c).mkdir(parents=True)
        for i in range(3):
            photograph(10 * ord(c) + i).save(root / c / f"[red] {i}.png")
    photograph(10 * ord("a")).save(root / "b" / "copy.png")
    (root / "d" / "bad.png").write_bytes(b"")
    own = config(root)
    with pytest.raises(UserError):
        load_splits(own.data, 0)
    show_data(own, tmp_path / "sheet.png")
    shown = capsys.readouterr().out
    assert "Unreadable: 1 image; training ends with that (data.unreadable = refuse).\n" in shown
    assert "  d/bad.png: the file is empty\n" in shown
    assert "The same picture twice: 1 pair the same, 0 nearly; 1 in two " in shown
    assert "[red] 0.png" in shown
    assert f"Duplicates: {tmp_path / 'sheet-duplicates.png'}\n" in shown
    with Image.open(tmp_path / "sheet-duplicates.png") as sheet:
        assert sheet.format == "PNG"


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


def test_the_sheet_follows_from_the_seed(tmp_path: Path) -> None:
    for name, seed in (("new/one.png", 0), ("same", 0), ("other.png", 1)):
        sample_sheet(splits(), tmp_path / name, seed)
    one = (tmp_path / "new" / "one.png").read_bytes()
    assert (tmp_path / "same").read_bytes() == one
    assert (tmp_path / "other.png").read_bytes() != one
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"one\.png: the picture cannot be written \("):
        sample_sheet(splits(1), tmp_path / "file" / "one.png", 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_pairs_are_drawn_side_by_side(tmp_path: Path, channels: int) -> None:
    sample_sheet(splits(channels), tmp_path / "sheet.png", 0)
    pictures = torch.zeros(4, 2, channels, 16, 16, dtype=torch.uint8)
    pictures[:, 1] = 128
    names = ("$a$ [b]\n_^{", "long " * 40, "漢", "c/d.png")
    pairs = tuple(NamedPair(name, name, i % 2 == 0, "class") for i, name in enumerate(names))
    pair_sheet(Duplicates({}, pairs, pictures), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as sheet:
        grey = np.asarray(sheet.convert("L"))
    black, second = ((grey == shade).sum(0) > 200 for shade in (0, 128))
    assert black.nonzero()[0][0] < second.nonzero()[0][0]  # the first of a pair is left of the second
    assert (grey == 128).sum() > 4 * 225**2  # each 1.5 inches a side at least
