from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mtl.config import Config, Data
from mtl.errors import UserError
from mtl.stages.show_data import show_data


def config(root: Path) -> Config:
    return Config(data=Data(name="image_folder", root=str(root), image_size=16))


@pytest.fixture
def tiny(tmp_path: Path, write_images: Callable[..., list[Path]]) -> Path:
    """Too small for any episode."""
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
    assert f"Samples: {tiny / 'image_folder.png'}\n" in shown
    with Image.open(tiny / "image_folder.png") as sheet:
        assert sheet.format == "PNG"


def test_the_sheet_goes_where_it_is_asked_to(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_data(config(tiny), tmp_path / "sheets [1]" / "mine.png")
    assert (tmp_path / "sheets [1]" / "mine.png").is_file()
    assert "sheets [1]/mine.png" in capsys.readouterr().out
    assert not (tiny / "image_folder.png").exists()


def test_a_sheet_beside_the_classes_is_no_class(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_data(config(tiny), None)
    first = capsys.readouterr().out
    show_data(config(tiny), None)
    assert capsys.readouterr().out == first


def test_mistakes_stay_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        show_data(config(tmp_path / "gone"), None)
