"""What is asked of `predict`: the pictures, but for what a former run drew and this one writes again."""

from pathlib import Path

import pytest

from mtl.errors import UserError
from mtl.own_images.predict_request import Asked, pictures_asked


@pytest.fixture
def again(tmp_path, monkeypatch):
    """What a former run left in a folder with one picture; asks anew of the folder, or of other sources."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "predictions.png", "predictions.csv", "predictions.html"):
        Path(name).touch()

    def ask(*query, **more):
        return pictures_asked(Asked(query or (".",), classifier=Path("c"), overwrite=True, **more))

    return ask


READ = r"^predictions\.png: is one of the pictures that are read; --out writes elsewhere$"


def test_the_contact_sheet_of_the_former_run_is_not_answered(again):
    found = again()
    assert found.files == (Path("a.png"),)
    assert found.left_out == (
        "predictions.png: is the contact sheet of a former run, which this one replaces",
    )


@pytest.mark.parametrize("gone", ["predictions.csv", "predictions.html"])
def test_a_picture_that_no_run_wrote_is_not_written_over(again, gone):
    Path(gone).unlink()
    with pytest.raises(UserError, match=READ):
        again()


def test_a_sheet_that_alone_is_asked_for_is_not_written_over(again):
    with pytest.raises(UserError, match=READ):
        again("predictions.png")


def test_a_sheet_of_another_name_is_a_picture(again):
    found = again(out=Path("other.csv"))
    assert found.files == (Path("a.png"), Path("predictions.png"))
    assert found.left_out == ()
