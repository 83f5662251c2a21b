"""Files that are written: refused early, whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from mtl.errors import UserError
from mtl.runtime.outputs import (
    leftovers,
    replace_text,
    replacing,
    require_folder,
    require_free,
    require_not_read,
    write_whole,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    os.symlink("nothing", tmp_path / "link.csv")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a.xlsx", ("must end in .csv or .json",)),
        ("a", ("must end in .csv or .json",)),
        ("folder.csv", ("is a folder",)),
        ("no/a.csv", ("the folder no does not exist",)),
        ("there.csv/a.csv", ("the folder there.csv is not a folder",)),
        ("there.csv", ("is there already", "--overwrite", "--out")),
        ("link.csv", ("is there already", "--overwrite", "--out")),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_made(folder, path, parts):
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError) as caught:
        require_free(Path(path), (".csv", ".json"))
    assert str(caught.value).startswith(f"{path}: ")
    assert all(part in str(caught.value) for part in parts)
    assert sorted(folder.rglob("*")) == before


def test_what_can_be_written_is_accepted_and_nothing_made(folder):
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
        with pytest.raises(UserError, match="is one of the pictures that are read; --out"):
            require_not_read([folder / "a.csv", folder / path], [folder / "there.csv"])


@pytest.mark.parametrize("path", ["there.csv/run", "new/" + 256 * "x", "/proc/nowhere"])
def test_a_folder_that_cannot_be_is_refused_and_nothing_made(folder, path):
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match="no folder can be written there"):
        require_folder(Path(path))
    assert sorted(folder.rglob("*")) == before


def test_a_folder_that_can_be_made_is_not_made_yet(folder):
    require_folder(Path("new/er"))
    require_folder(folder)
    assert not (folder / "new").exists()


@pytest.mark.parametrize(("place", "name"), [(os, "replace"), (Path, "write_bytes")])
def test_a_file_that_cannot_be_written_leaves_nothing(folder, place, name, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(place, name, full)
    with pytest.raises(UserError, match=r"there\.csv: cannot be written \("):
        write_whole(folder / "there.csv", b"new")
    assert (folder / "there.csv").read_text() == "mine"
    assert not list(folder.glob(".*.tmp"))


def test_what_a_kill_has_left_is_removed_by_a_later_write(folder):
    old, fresh = folder / ".there.csv.1.tmp", folder / ".there.csv.2.tmp"
    for path in (old, fresh):
        path.touch()
    os.utime(old, (1, 1))
    write_whole(folder / "there.csv", b"new")
    assert (folder / "there.csv").read_bytes() == b"new"
    assert (old.exists(), fresh.exists()) == (False, True)


def test_two_writers_of_one_file_never_share_a_name_and_the_last_wins(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as one:
        one.write_text("one")
        with replacing(path) as other:
            assert other != one
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    replace_text(path, "old and long")
    replace_text(path, "ä")
    with contextlib.suppress(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("new")
        raise KeyboardInterrupt
    assert path.read_text(encoding="utf-8") == "ä"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_link_is_followed_and_the_longest_name_is_written(tmp_path):
    (tmp_path / "link").symlink_to("a.txt")
    replace_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "x"
    replace_text(tmp_path / ("n" * 255), "y")
    write_whole(tmp_path / ("ä" * 127), b"new")
    assert (tmp_path / ("ä" * 127)).read_bytes() == b"new"


def test_what_a_kill_leaves_is_found_and_files_of_other_names_are_not(tmp_path):
    with contextlib.suppress(OSError), replacing(tmp_path / "last.pt") as left:
        left.touch()
        left.rename(tmp_path / "kept")  # as if nobody had come to remove it
        raise OSError("gone")
    (tmp_path / "kept").rename(left)
    (tmp_path / ".last.pt.next.12345678.tmp").touch()
    (tmp_path / "last.pt").touch()
    assert left in set(leftovers(tmp_path / "last.pt"))
    assert list(leftovers(tmp_path / "report.html")) == []
