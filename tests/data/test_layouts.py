"""Layouts that people have: each is taken, or the sentence says the command that takes it."""

import os
import shlex
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from mtl.config import read_config
from mtl.data.class_tree import find_classes
from mtl.data.folder_classes import choose
from mtl.data.picture_files import query_files, support_files
from mtl.errors import UserError


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Makes empty files below an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()

    return make


def refused(call, *given):
    with pytest.raises(UserError) as caught:
        call(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def chosen(root, **keys):
    data = read_config({"data": {"name": "image_folder", "root": root, **keys}}, "test").data
    return choose(Path(root), data, data.split_seed)


def divided(put, *parts, classes="abcdef"):
    put(*(f"set/{part}/{name}/{part}.png" for part in parts for name in classes))


@pytest.mark.parametrize(
    "parts", [("train", "valid", "test"), ("Train", "validation", "Test"), ("training", "dev", "testing")]
)
def test_splits_have_the_names_that_people_give_them(put, parts):
    put(*(f"set/{part}/{part} {i}/1.png" for part in parts for i in range(2)))
    assert [list(part) for part in chosen("set").parts] == [[f"{part} 0", f"{part} 1"] for part in parts]
    put("set/val/x/1.png", "set/valid/y/1.png", "set/validation/z/1.png")
    assert "both are the val split" in refused(chosen, "set")


def test_the_same_classes_in_all_splits_are_merged_where_asked_for(put):
    divided(put, "train", "valid", "test")
    choice = chosen("set", layout="merge")
    files = {name: found for part in choice.parts for name, found in part.items()}
    assert sorted(files) == list("abcdef")
    assert sorted(map(str, files["c"])) == [f"set/{p}/c/{p}.png" for p in ("test", "train", "valid")]
    assert len(choice.folders) == 18
    named = chosen("set", layout="merge", classes={"val": ["a"], "test": ["b"]})
    assert list(named.parts[1]) == ["a"]


def test_the_same_classes_in_all_splits_are_told_both_ways(put):
    divided(put, "train", "valid", "test")
    said = refused(chosen, "set")
    assert "data.layout=merge" in said
    assert "fit --run checkpoints/RUN --support set/train --out set.fewshot" in said
    assert "score --classifier set.fewshot --pictures set/test" in said
    divided(put, "train", "test", classes="a")
    put("two/train/a/1.png", "two/test/a/1.png", "two/test/b/1.png")
    said = refused(chosen, "two")  # too few classes to be merged and trained on
    assert "data.layout=merge" not in said
    assert "--support two/train" in said


def test_groups_of_classes_are_nested_where_asked_for(put):
    put(*(f"zoo/{group}/{name}/1.png" for group in ("birds", "fish") for name in "ab"))
    said = refused(chosen, "zoo")
    assert "data.root=zoo/birds" in said
    assert "data.layout=nested" in said
    choice = chosen("zoo", layout="nested", classes={"val": ["fish/a"], "test": ["fish/b"]})
    assert [list(part) for part in choice.parts] == [["birds/a", "birds/b"], ["fish/a"], ["fish/b"]]
    assert choice.groups == {"birds/a": "birds", "birds/b": "birds", "fish/a": "fish", "fish/b": "fish"}
    assert "--support zoo/birds" in refused(support_files, Path("zoo"))


def test_one_or_two_classes_have_a_command_that_takes_them(put):
    put("my set/a/1.png", "my set/b/1.png", "one/a/1.png")
    assert "--support 'my set' --out 'my set.fewshot'" in refused(chosen, "my set")
    assert "as a second class" in refused(chosen, "one")


def test_pictures_in_a_folder_images_of_their_class_count(put):
    put("set/ash/images/1.png", "set/ash/boxes.txt", "set/elm/images/2.png", "set/oak/3.png")
    put("set/oak/images/4.png")  # beside pictures of the class it is a folder like any other
    wanted = {"ash": ["set/ash/images/1.png"], "elm": ["set/elm/images/2.png"], "oak": ["set/oak/3.png"]}
    assert {n: [str(f) for f in fs] for n, fs in support_files(Path("set")).files.items()} == wanted
    assert {n: [str(f) for f in fs] for n, fs in find_classes(Path("set"), "auto").files.items()} == wanted


@pytest.mark.parametrize("option", ["--support ", "data.root="])
def test_other_layouts_are_told_with_the_path_to_give(put, option):
    def said(path):
        call = (support_files, Path(path)) if option == "--support " else (chosen, path)
        return refused(*call)

    put("outer/deeper/my set/a/1.png", "outer/deeper/my set/b/1.png")
    assert f"give {option}'outer/deeper/my set'" in said("outer")
    put("loose/1.png", "loose/2.png")
    assert "it holds 2 pictures and no classes" in said("loose")
    assert f"give {option}loose.csv" in said("loose")
    put("kaggle/train.csv")
    assert f"give {option}kaggle/train.csv" in said("kaggle")
    put("zipped/pics.zip")
    assert "unzip zipped/pics.zip -d zipped/pics" in said("zipped")


def test_a_divided_folder_is_not_a_support_folder_but_its_parts_are(put):
    divided(put, "train", "valid", "test")
    said = refused(support_files, Path("set"))
    assert "--support set/train" in said
    assert "score --pictures set/test" in said
    assert "give --pictures set/test" in refused(support_files, Path("set"), "--pictures ")
    assert list(support_files(Path("set/train")).files) == list("abcdef")


def test_sets_for_object_detection_are_not_taken_for_classes(put):
    put(*(f"yolo/{part}/{name}" for part in ("train", "valid") for name in ("images/1.jpg", "labels/1.txt")))
    for call in ((support_files, Path("yolo")), (support_files, Path("yolo/train")), (chosen, "yolo")):
        assert "is a set for object detection" in refused(*call)
    put("words/labels/1.png", "words/images/1.png", "words/other/1.png")
    assert len(support_files(Path("words")).files) == 3  # classes that happen to be called so


def test_archives_come_with_a_command_that_unpacks_them(put):
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
    said = refused(support_files, Path("my things.tar.gz"))
    command = said.partition("unpack it: ")[2].partition("; then ")[0]
    subprocess.run(command, shell=True, check=True)
    said = refused(support_files, Path("my things"))  # one folder too many, as archives have
    assert list(support_files(Path(shlex.split(said.partition("give --support ")[2])[0])).files) == ["a", "b"]


def test_a_list_is_an_image_set_with_splits_of_its_own_or_drawn_ones(put):
    put(*(f"pics/{i}.png" for i in range(8)))
    rows = "".join(f"pics/{i}.png,class {i},{('train', 'val', 'test')[i % 3]}\n" for i in range(8))
    Path("set.csv").write_text("path,label,split\n" + rows)
    choice = chosen("set.csv")
    assert [list(part) for part in choice.parts] == [
        [f"class {i}" for i in (0, 3, 6)],
        [f"class {i}" for i in (1, 4, 7)],
        [f"class {i}" for i in (2, 5)],
    ]
    assert choice.parts[0]["class 3"] == [Path("pics/3.png")]
    assert sum(map(len, chosen("set.csv", layout="merge").parts)) == 8
    Path("set.csv").write_text("path,label,split\n" + rows + "pics/0.png,class 0,train\n")
    put("pics/9.png")
    Path("set.csv").write_text("path,label,split\n" + rows + "pics/9.png,class 0,test\n")
    said = refused(chosen, "set.csv")
    assert "class 0 is in train in line 2 and in test in line 10" in said
    assert "fit --run checkpoints/RUN --support set.csv" in said
    assert "data.layout=merge" in said
