"""Files that are written: refused early, whole or not at all."""

import os
import tempfile
from pathlib import Path

import pytest

from mtl.errors import UserError
from mtl.runtime.outputs import require_free, require_not_read, write_whole


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    os.symlink("nothing", tmp_path / "link.csv")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("a.xlsx", "a.xlsx: must end in .csv or .json"),
        ("a", "a: must end in .csv or .json"),
        ("folder.csv", "folder.csv: is a folder, not a file to write"),
        ("no/a.csv", "no/a.csv: cannot be written, the folder no does not exist"),
        ("there.csv/a.csv", "there.csv/a.csv: cannot be written, the folder there.csv is no folder"),
        ("there.csv", "there.csv: is there already; --overwrite replaces it, --out writes elsewhere"),
        ("link.csv", "link.csv: is there already; --overwrite replaces it, --out writes elsewhere"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_made(folder, path, told):
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError) as caught:
        require_free(folder.joinpath(path).relative_to(folder), (".csv", ".json"))
    assert str(caught.value) == told
    assert sorted(folder.rglob("*")) == before


def test_what_can_be_written_is_let_pass_and_nothing_made(folder):
    before = sorted(folder.rglob("*"))
    require_free(folder / "a.CSV", (".csv", ".json"))
    require_free(folder / "a.anything")
    require_free(folder / "there.csv", (".csv",), overwrite=True)
    assert sorted(folder.rglob("*")) == before
    assert (folder / "there.csv").read_text() == "mine"


def test_a_folder_that_may_not_be_written_into_is_refused(folder, monkeypatch):
    def refusing(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refusing)
    with pytest.raises(UserError, match=r"a\.csv: cannot be written \(Permission denied\)$"):
        require_free(folder / "a.csv")


def test_what_is_read_is_not_written_over(folder):
    os.symlink("there.csv", folder / "other.csv")
    require_not_read([folder / "a.csv"], [folder / "there.csv"])
    for path in ("there.csv", "./there.csv", "other.csv"):
        with pytest.raises(UserError, match="is one of the pictures that are read; --out writes elsewhere"):
            require_not_read([folder / "a.csv", folder / path], [folder / "there.csv"])


def test_a_file_is_written_whole(folder):
    write_whole(folder / "there.csv", b"new")
    assert (folder / "there.csv").read_bytes() == b"new"
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize("fails", ["replace", "write"])
def test_a_file_that_cannot_be_written_leaves_nothing(folder, fails, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    if fails == "replace":
        monkeypatch.setattr(os, "replace", full)
    else:
        monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"there\.csv: cannot be written \("):
        write_whole(folder / "there.csv", b"new")
    assert (folder / "there.csv").read_text() == "mine"
    assert not [path for path in folder.glob("*.tmp") if path.is_file()]
