from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mtl.config import Config, Data, Imbalance
from mtl.data import load_splits
from mtl.data.show_data import show_data
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


def test_the_sheet_goes_where_it_is_asked_to(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_data(config(tiny), tmp_path / "sheets [1]" / "mine.png")
    assert (tmp_path / "sheets [1]" / "mine.png").is_file()
    assert "sheets [1]/mine.png" in capsys.readouterr().out
    assert not Path("image_folder.png").exists()


def test_a_sheet_among_the_pictures_of_a_class_is_passed_over(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_data(config(tiny), tiny / "class 3" / "sheet.png")
    first = capsys.readouterr().out
    show_data(config(tiny), tiny / "class 3" / "sheet.png")
    second = capsys.readouterr().out
    assert "class 3/sheet.png: is a drawing of this program" in second
    assert [line for line in second.splitlines() if "│" in line] == [
        line for line in first.splitlines() if "│" in line
    ]


def test_a_picture_that_is_there_is_not_written_over_by_default(tiny: Path) -> None:
    Image.new("RGB", (20, 20)).save("image_folder.png")
    before = Path("image_folder.png").read_bytes()
    with pytest.raises(UserError, match="--sheet writes elsewhere"):
        show_data(config(tiny), None)
    assert Path("image_folder.png").read_bytes() == before
    Path("image_folder.png").unlink()
    show_data(config(tiny), None)
    show_data(config(tiny), None)  # its own sheet it replaces


def test_mistakes_stay_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        show_data(config(tmp_path / "gone"), None)


def test_what_becomes_of_the_training_images_is_told(
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


def test_there_is_no_picture_of_duplicates_where_there_are_none(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_data(config(tiny), tmp_path / "sheet.png")
    assert "The same picture twice: none.\n" in capsys.readouterr().out
    assert not (tmp_path / "sheet-duplicates.png").exists()
