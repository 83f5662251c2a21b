import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
import torch

from mtl.data import ImageSet, Splits
from mtl.data.cache import cached, cached_with_notes, fingerprint_of_folders, pixels_of, place


def splits():
    def part(*names):
        images = torch.arange(len(names) * 32, dtype=torch.uint8).view(-1, 1, 4, 4)
        labels = torch.arange(len(names)).repeat_interleave(2)
        files = tuple(f"{name}/é {i}.png" for name in names for i in range(2))
        return ImageSet(images, labels, names, tuple(f"group of {name}" for name in names), files)

    return Splits(part("a", "b"), part("c"), part("d", "e"), "set")


def never():
    raise AssertionError("the set was built again")


def assert_same(one, other):
    for a, b in ((one.train, other.train), (one.val, other.val), (one.test, other.test)):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert (a.class_names, a.groups, a.files) == (b.class_names, b.groups, b.files)


def test_built_once_then_opened_with_equal_content(tmp_path):
    assert_same(cached(tmp_path, "set", (28,), splits), splits())
    assert_same(cached(tmp_path, "set", (28,), never), splits())


def test_another_key_is_another_set(tmp_path):
    cached(tmp_path, "set", (28,), splits)
    with pytest.raises(AssertionError, match="built again"):
        cached(tmp_path, "set", (32,), never)


def stored(root):
    """The files of the set that is stored."""
    return sorted((root / ".cache").iterdir())


@pytest.mark.parametrize("keep", [0, 30, -1])
@pytest.mark.parametrize("number", range(4))
def test_a_set_with_a_damaged_file_is_made_anew(tmp_path, number, keep):
    cached(tmp_path, "set", (28,), splits)
    names = [file.suffixes[-1] for file in stored(tmp_path)]
    assert names == [".pt", ".pixels", ".pixels", ".pixels"]
    file = stored(tmp_path)[number]
    file.write_bytes(file.read_bytes()[:keep])
    assert_same(cached(tmp_path, "set", (28,), splits), splits())
    assert_same(cached(tmp_path, "set", (28,), never), splits())


def test_a_flipped_pixel_is_noticed_and_the_set_is_made_anew(tmp_path, caplog):
    before = cached(tmp_path, "set", (28,), splits) and cached(tmp_path, "set", (28,), never)
    file = pixels_of(place(tmp_path, "set", (28,)), "val")
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.unlink()  # a copy, so that images that are mapped stay as they are
    file.write_bytes(content)
    assert_same(cached(tmp_path, "set", (28,), splits), splits())
    assert "val.pixels has another checksum" in caplog.text
    assert_same(cached(tmp_path, "set", (28,), never), splits())
    assert_same(before, splits())


def test_a_file_with_other_content_is_made_anew(tmp_path):
    cached(tmp_path, "set", (28,), splits)
    torch.save({"train": {}}, place(tmp_path, "set", (28,)))
    assert_same(cached(tmp_path, "set", (28,), splits), splits())


def test_a_set_of_an_earlier_version_is_never_opened_and_makes_room(tmp_path, caplog):
    """Up to format 4 a set was a single file."""
    old, other = (tmp_path / ".cache" / f"{name}-0123456789abcdef.pt" for name in ("set", "others"))
    old.parent.mkdir()
    for file in (old, other):
        torch.save({"train": {"images": torch.zeros(2)}, "notes": {}}, file)
    assert_same(cached(tmp_path, "set", (28,), splits), splits())
    assert not old.exists()
    assert other.exists()
    assert f"{old} is of an earlier version" in caplog.text


def test_a_build_or_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, caplog):
    with pytest.raises(AssertionError, match="built again"):
        cached(tmp_path, "set", (28,), never)
    assert stored(tmp_path) == []

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert_same(cached(tmp_path, "set", (28,), splits), splits())
    assert stored(tmp_path) == []
    assert "no space left" in caplog.text


def test_a_set_for_which_there_is_no_room_is_built_in_memory(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**9))
    paths = []
    path = place(tmp_path, "set", ())
    for size in (2 * 10**9, 10**8):
        cached_with_notes(path, "set", lambda p: (paths.append(p) or splits(), {}), size=size)
    assert paths == [None, path]
    assert "it takes 2.0 GB, and 1.0 GB are free" in caplog.text


def test_a_second_process_waits_and_takes_what_the_first_has_made(tmp_path):
    begun, allowed = Event(), Event()

    def slowly():
        begun.set()
        allowed.wait(10)
        return splits()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cached, tmp_path, "set", (28,), slowly)
        assert begun.wait(10)
        second = pool.submit(cached, tmp_path, "set", (28,), never)
        allowed.set()
        assert_same(first.result(), splits())
        assert_same(second.result(), splits())


def test_mean_and_deviation_are_stored_to_the_bit(tmp_path, monkeypatch):
    expected = splits().train.mean_std()
    cached(tmp_path, "set", (28,), splits)
    opened = cached(tmp_path, "set", (28,), never).train
    with monkeypatch.context() as patch:
        patch.setattr(torch, "bincount", None)  # no pixel is counted
        assert opened.mean_std() == expected
    other = replace(opened, images=255 - opened.images)
    assert other.mean_std() == ImageSet(other.images, other.labels, other.class_names).mean_std() != expected


def test_what_a_build_found_out_is_kept_beside_the_set_while_it_holds(tmp_path):
    built = []

    def build(_):
        built.append(1)
        return splits(), {
            "n": len(built),
            "names": ["é", "a\nb"],
            "pictures": torch.zeros(0, 2, dtype=torch.uint8),
        }

    path = place(tmp_path, "set", (28,))
    assert cached_with_notes(path, "set", build)[1]["n"] == 1
    opened, notes = cached_with_notes(path, "set", build)
    assert_same(opened, splits())
    assert (notes["n"], notes["names"], notes["pictures"].shape) == (1, ["é", "a\nb"], (0, 2))
    assert cached_with_notes(path, "set", build, lambda notes: notes["n"] > 1)[1]["n"] == 2
    assert cached_with_notes(path, "set", build, lambda notes: notes["n"] > 1)[1]["n"] == 2


@pytest.fixture
def tree(tmp_path):
    """`cat/a.png`, `cat/b.png` and `dog/a.png`, all of the same size and time."""
    for name in ("cat/a.png", "cat/b.png", "dog/a.png"):
        write(tmp_path / "tree" / name, b"one")
    return tmp_path / "tree"


def write(file, content, time=1):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (time, time))


def of_tree(root):
    return fingerprint_of_folders(root.iterdir(), root)


CHANGES: dict[str, Callable[[Path], object]] = {
    "overwritten by more": lambda root: write(root / "cat" / "a.png", b"longer"),
    "overwritten by as much": lambda root: write(root / "cat" / "a.png", b"two", time=2),
    "renamed": lambda root: (root / "cat" / "b.png").rename(root / "cat" / "c.png"),
    "added": lambda root: write(root / "dog" / "b.JPG", b"one"),
    "removed": lambda root: (root / "cat" / "b.png").unlink(),
    "moved to another class": lambda root: (root / "cat" / "b.png").rename(root / "dog" / "b.png"),
    "class renamed": lambda root: (root / "cat").rename(root / "lion"),
    "class added": lambda root: (root / "empty").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_has_another_fingerprint(tree, change):
    folder_times = {c: (c.stat().st_atime_ns, c.stat().st_mtime_ns) for c in tree.iterdir()}
    before = of_tree(tree)
    assert of_tree(tree) == before
    CHANGES[change](tree)
    for c, times in folder_times.items():  # it is the files that tell, not the folders
        if c.exists():
            os.utime(c, ns=times)
    assert of_tree(tree) != before


def test_what_is_no_image_of_the_set_does_not_change_the_fingerprint(tree):
    before = of_tree(tree)
    write(tree / "cat" / "notes.txt", b"")
    write(tree / "cat" / ".hidden.png", b"")
    write(tree / "cat" / "folder.png" / "a.png", b"")
    (tree / "cat" / "nowhere.png").symlink_to(tree / "gone")
    assert of_tree(tree) == before
    (tree / "cat" / "link.png").symlink_to(tree / "cat" / "a.png")
    assert of_tree(tree) != before


def test_a_link_to_itself_hides_no_other_file_from_the_fingerprint(tree):
    before = of_tree(tree)
    for name in ("0.png", "az.png", "z.png"):
        (tree / "cat" / name).symlink_to(tree / "cat" / name)
    assert of_tree(tree) == before
    write(tree / "cat" / "b.png", b"two", time=2)
    assert of_tree(tree) != before


def test_names_of_any_bytes_have_a_fingerprint(tree):
    before = of_tree(tree)
    write(tree / "cat" / os.fsdecode(b"\xff\n.png"), b"one")
    assert of_tree(tree) != before


def test_a_moved_set_keeps_its_fingerprint(tree, monkeypatch):
    before = of_tree(tree)
    assert fingerprint_of_folders(sorted(tree.iterdir(), reverse=True), tree) == before
    moved = tree.rename(tree.with_name("moved"))
    assert of_tree(moved) == before
    monkeypatch.chdir(moved.parent)
    assert of_tree(Path("moved")) == before


def test_a_folder_that_cannot_be_read_is_left_to_the_listing(tree):
    folders = sorted(tree.iterdir())
    before = fingerprint_of_folders(folders, tree)
    assert fingerprint_of_folders([*folders, tree / "gone"], tree) != before
