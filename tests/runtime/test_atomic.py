"""Files that appear whole or not at all."""

import contextlib

from mtl.runtime.atomic import leftovers, replace_text, replacing


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
    replace_text(path, "old")
    with contextlib.suppress(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_link_is_followed_and_a_long_name_is_written(tmp_path):
    (tmp_path / "link").symlink_to("a.txt")
    replace_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "x"
    replace_text(tmp_path / ("n" * 255), "y")


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
