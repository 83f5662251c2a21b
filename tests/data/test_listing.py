import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mtl.data.folders import Contents, class_folders, contents, image_files
from mtl.errors import UserError

WriteImages = Callable[..., list[Path]]


def test_listing_passes_over_what_is_hidden_and_what_is_no_image(
    tmp_path: Path, write_images: WriteImages
) -> None:
    files = write_images(tmp_path / "cat", 2)
    (tmp_path / "cat" / "upper.JPG").write_bytes(b"")
    for other in (".hidden.png", "._00.png", "notes.txt", "Thumbs.db"):
        (tmp_path / "cat" / other).write_bytes(b"")
    (tmp_path / "cat" / "folder.png").mkdir()
    (tmp_path / "cat" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "a file").write_bytes(b"")
    assert image_files(tmp_path / "cat") == [*files, tmp_path / "cat" / "upper.JPG"]
    assert class_folders(tmp_path) == [tmp_path / "cat"]


def test_linked_folders_and_files_count(tmp_path: Path, write_images: WriteImages) -> None:
    (file,) = write_images(tmp_path / "elsewhere" / "cat", 1)
    root = tmp_path / "root"
    (root / "dog").mkdir(parents=True)
    (root / "cat").symlink_to(file.parent)
    (root / "dog" / "a.png").symlink_to(file)
    assert [c.name for c in class_folders(root)] == ["cat", "dog"]
    assert [image_files(c)[0].name for c in class_folders(root)] == ["00.png", "a.png"]


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_class_without_images_is_named(tmp_path: Path, inside: str, write_images: WriteImages) -> None:
    (tmp_path / "cat").mkdir()
    if inside:
        write_images(tmp_path / "cat" / inside)
    with pytest.raises(UserError, match=r"cat: the class holds no images"):
        image_files(tmp_path / "cat")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone: cannot be read \(No such file"):
        class_folders(tmp_path / "gone")


def test_links_that_lead_to_themselves_are_passed_over(tmp_path: Path, write_images: WriteImages) -> None:
    files = write_images(tmp_path / "cat", 1)
    (tmp_path / "cat" / "loop.png").symlink_to(tmp_path / "cat" / "loop.png")
    (tmp_path / "dog").symlink_to(tmp_path / "dog")
    assert image_files(tmp_path / "cat") == files
    assert class_folders(tmp_path) == [tmp_path / "cat"]


def test_what_is_odd_is_named(tmp_path: Path) -> None:
    for name in ("notes.txt", "b.png", "a.JPG", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "link.txt").symlink_to("notes.txt")
    for name in ("loop.png", "loop", ".loop"):
        (tmp_path / name).symlink_to(name)
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    nowhere = "is a link that leads nowhere"
    assert contents(tmp_path) == Contents(
        (tmp_path / "a.JPG", tmp_path / "b.png"),
        (tmp_path / "deeper",),
        {tmp_path / "loop": nowhere, tmp_path / "loop.png": nowhere, tmp_path / "pipe.png": "is no file"},
        others=(tmp_path / "link.txt", tmp_path / "notes.txt"),
    )
