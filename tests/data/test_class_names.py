"""Names of classes that look the same are never two classes unnoticed."""

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from mtl.config import Data
from mtl.data.class_tree import require_distinct_names, similar_name_messages
from mtl.data.picture_files import support_files
from mtl.data.sources.image_folder import survey
from mtl.errors import UserError

CAFE, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def laid_out(root: Path, *classes: str) -> Path:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        Image.effect_noise((16, 16), 10 + 20 * number).save(root / name / "a.png")
    if len({folder.name for folder in root.iterdir()}) < len(classes):
        pytest.skip("this file system does not tell these names apart")
    return root


def test_one_text_in_two_unicode_forms_is_refused() -> None:
    assert unicodedata.normalize("NFC", DECOMPOSED) == CAFE
    require_distinct_names([CAFE, "cafe", "Caf\u00e9"], "here")
    with pytest.raises(UserError, match=r"^here: class .* is there 2 times.*Unicode"):
        require_distinct_names([CAFE, "elm", DECOMPOSED], "here")


def test_case_and_outer_spaces_are_told_by_group() -> None:
    told = similar_name_messages(["Dog", "dog", "elm", " elm", "oak", "STRASSE", "straße"])
    assert [line.partition(": ")[0] for line in told] == [
        '" elm", "elm"',
        '"Dog", "dog"',
        '"STRASSE", "straße"',
    ]
    assert len(similar_name_messages(["Dog", "dog", "elm", " elm"], ["dog"])) == 1
    assert similar_name_messages(["oak", "elm"]) == []


def test_support_folders_refuse_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unicode forms"):
        support_files(laid_out(tmp_path, CAFE, DECOMPOSED, "elm"))


@pytest.mark.parametrize("below", [("", "", "", ""), ("train", "test", "val", "train")])
def test_image_folders_refuse_them_within_and_across_splits(tmp_path: Path, below: tuple[str, ...]) -> None:
    names = [
        str(Path(part, name)) for part, name in zip(below, (CAFE, DECOMPOSED, "elm", "oak"), strict=True)
    ]
    for number, name in enumerate(names):
        (tmp_path / name).mkdir(parents=True)
        Image.effect_noise((16, 16), 10 + 20 * number).save(tmp_path / name / "a.png")
    with pytest.raises(UserError, match="Unicode forms"):
        survey(Data(name="image_folder", root=str(tmp_path), image_size=16), 0)


def test_image_folders_tell_names_that_differ_in_case(tmp_path: Path) -> None:
    root = laid_out(tmp_path, "Dog", "dog", "elm", "oak")
    report = survey(Data(name="image_folder", root=str(root), image_size=16, duplicates="keep"), 0).report
    assert [line.partition(": ")[0] for line in report.similar_names] == ['"Dog", "dog"']
