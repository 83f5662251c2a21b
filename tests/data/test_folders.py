"""Folders are listed in order; of a layout that is not taken the message says what to give instead."""

import os
import shlex
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from picture_folders import chosen, put, refused

from mtl.data.folders import Contents, class_contents, class_folders, contents, image_files
from mtl.data.picture_files import query_files, support_files
from mtl.errors import UserError


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_is_in_a_folder_comes_sorted_and_by_kind():
    put(
        "it/notes.txt",
        "it/b.png",
        "it/a.JPG",
        "it/.hidden.png",
        "it/._a.JPG",
        "it/deeper/c.png",
        "it/@eaDir/d.png",
    )
    os.symlink("notes.txt", "it/link.txt")
    os.symlink("b.png", "it/link.png")
    os.symlink("deeper", "it/linked folder")
    for name in ("loop.png", "loop", ".loop"):
        os.symlink(name, f"it/{name}")
    os.mkfifo("it/pipe.png")
    os.mkfifo("it/pipe")
    nowhere = "is a link that leads nowhere"
    it = Path("it")
    assert contents(it) == Contents(
        pictures=(it / "a.JPG", it / "b.png", it / "link.png"),
        folders=(it / "deeper", it / "linked folder"),
        odd={it / "loop": nowhere, it / "loop.png": nowhere, it / "pipe.png": "is not a file"},
        system=(it / "@eaDir",),
        others=(it / "link.txt", it / "notes.txt"),
    )
    assert image_files(it) == [it / "a.JPG", it / "b.png", it / "link.png"]
    assert class_folders(it) == [it / "deeper", it / "linked folder"]
    problems = []
    assert contents(it, problems) == contents(it)
    assert problems[0] == "it/loop: is a link that leads nowhere; it is passed over"


def test_a_class_without_images_and_a_folder_that_cannot_be_read_are_named():
    put("cat/deeper/1.png", "cat/folder.png/1.png")
    with pytest.raises(UserError, match=r"cat: the class holds no images"):
        image_files(Path("cat"))
    with pytest.raises(UserError, match=r"gone: cannot be read \(No such file"):
        class_folders(Path("gone"))
    problems = []
    assert contents(Path("gone"), problems) == Contents()
    assert "gone: cannot be read" in problems[0]


def test_the_pictures_of_a_class_may_be_in_a_folder_images():
    put(
        "ash/Images/1.png",
        "ash/boxes.txt",
        "oak/3.png",
        "oak/images/4.png",
        "elm/images/5.png",
        "elm/more/6.png",
    )
    home, inside = class_contents(Path("ash"))
    assert (home, inside.pictures) == (Path("ash/Images"), (Path("ash/Images/1.png"),))
    assert class_contents(Path("oak"))[0] == Path("oak")
    assert class_contents(Path("elm"))[1].pictures == ()


@pytest.mark.parametrize("option", ["--support ", "data.root="])
def test_of_other_layouts_the_path_to_give_is_named(option):
    def said(path):
        return refused(support_files, Path(path)) if option == "--support " else refused(chosen, path)

    put("outer/deeper/my set/a/1.png", "outer/deeper/my set/b/1.png")
    assert f"give {option}'outer/deeper/my set'" in said("outer")
    put("loose/1.png", "loose/2.png")
    assert "it holds 2 pictures and no classes" in said("loose")
    assert f"give {option}loose.csv" in said("loose")
    put("zoo/birds/a/1.png", "zoo/fish/a/1.png")
    assert f"give {option}zoo/birds" in said("zoo")
    put("kaggle/train.csv")
    assert f"give {option}kaggle/train.csv" in said("kaggle")
    put("zipped/pics.zip")
    assert "unzip zipped/pics.zip -d zipped/pics" in said("zipped")


def test_a_divided_folder_is_not_a_support_folder_but_its_parts_are():
    put(
        *(f"set/{part}/{name}/1.png" for part in ("train", "valid", "test") for name in "abc"),
        "part/val/a/1.png",
    )
    message = refused(support_files, Path("set"))
    assert "--support set/train" in message
    assert "score --pictures set/test" in message
    assert "give --pictures set/test" in refused(support_files, Path("set"), "--pictures ")
    assert "--support part/val learns its classes" in refused(support_files, Path("part"))
    assert list(support_files(Path("set/train")).files) == list("abc")


def test_sets_for_object_detection_are_not_taken_for_classes():
    put(*(f"yolo/{part}/{name}" for part in ("train", "valid") for name in ("images/1.jpg", "labels/1.txt")))
    for call in ((support_files, Path("yolo")), (support_files, Path("yolo/train")), (chosen, "yolo")):
        assert "is a set for object detection" in refused(*call)
    put("words/labels/1.png", "words/images/1.png", "words/other/1.png")
    assert len(support_files(Path("words")).files) == 3  # classes that happen to be called so


def test_archives_come_with_a_command_that_unpacks_them():
    put("my set/a/1.png", "my set/b/1.png")
    with zipfile.ZipFile("things.zip", "w") as archive:
        archive.write("my set/a/1.png")
    with tarfile.open("my things.tar.gz", "w:gz") as archive:
        archive.add("my set")
    os.rename("things.zip", "no ending")
    put("b.rar", "c.7z", "gone.zip")
    for call in ((support_files, Path("no ending")), (chosen, "no ending"), (query_files, ["no ending"])):
        assert "unpack it: unzip 'no ending' -d 'no ending_unpacked'; then" in refused(*call)
    assert "unrar x b.rar b/; then --support b" in refused(support_files, Path("b.rar"))
    assert "7z x c.7z -oc; then --support c" in refused(support_files, Path("c.7z"))
    assert "unzip gone.zip -d gone; then --support gone" in refused(support_files, Path("gone"))
    message = refused(support_files, Path("my things.tar.gz"))
    command = message.partition("unpack it: ")[2].partition("; then ")[0]
    subprocess.run(command, shell=True, check=True)
    message = refused(support_files, Path("my things"))  # one folder too many, as archives have
    path = shlex.split(message.partition("give --support ")[2])[0]
    assert list(support_files(Path(path)).files) == ["a", "b"]
