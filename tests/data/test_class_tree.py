"""Layouts that people have are taken, and two classes whose names look the same do not go unnoticed."""

import unicodedata
from pathlib import Path

import pytest
from picture_folders import chosen, put, refused
from PIL import Image

from mtl.config import Data
from mtl.data.class_tree import find_classes, require_distinct_names, similar_name_messages
from mtl.data.picture_files import support_files
from mtl.data.sources.image_folder import survey

CAFE, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def parts_of(root, **keys):
    return [list(part) for part in chosen(root, **keys).parts]


@pytest.mark.parametrize(
    "parts", [("train", "valid", "test"), ("Train", "validation", "Test"), ("training", "dev", "testing")]
)
def test_splits_have_the_names_that_people_give_them(parts):
    put(*(f"set/{part}/{part} {i}/1.png" for part in parts for i in range(2)))
    assert parts_of("set") == [[f"{part} 0", f"{part} 1"] for part in parts]
    put("set/val/x/1.png", "set/valid/y/1.png", "set/validation/z/1.png")
    assert "both are the val split" in refused(chosen, "set")


def test_the_same_classes_in_all_splits_are_merged_or_refused_with_both_ways_out():
    put(*(f"set/{part}/{name}/{part}.png" for part in ("train", "valid", "test") for name in "abcdef"))
    choice = chosen("set", layout="merge")
    files = {name: of_class for part in choice.parts for name, of_class in part.items()}
    assert sorted(files) == list("abcdef")
    assert sorted(map(str, files["c"])) == [f"set/{p}/c/{p}.png" for p in ("test", "train", "valid")]
    assert len(choice.folders) == 18
    assert parts_of("set", layout="merge", classes={"val": ["a"], "test": ["b"]})[1] == ["a"]
    message = refused(chosen, "set")
    assert "data.layout=merge" in message
    assert "fit --run checkpoints/RUN --support set/train --out set.fewshot" in message
    assert "score --classifier set.fewshot --pictures set/test" in message
    put("two/train/a/1.png", "two/test/a/1.png", "two/test/b/1.png")
    message = refused(chosen, "two")  # too few classes to be merged and trained on
    assert "data.layout=merge" not in message
    assert "--support two/train" in message


def test_groups_of_classes_are_nested_where_that_is_set():
    put(*(f"zoo/{group}/{name}/1.png" for group in ("birds", "fish") for name in "ab"))
    message = refused(chosen, "zoo")
    assert "data.root=zoo/birds" in message
    assert "data.layout=nested" in message
    choice = chosen("zoo", layout="nested", classes={"val": ["fish/a"], "test": ["fish/b"]})
    assert [list(part) for part in choice.parts] == [["birds/a", "birds/b"], ["fish/a"], ["fish/b"]]
    assert choice.groups == {"birds/a": "birds", "birds/b": "birds", "fish/a": "fish", "fish/b": "fish"}


def test_one_or_two_classes_have_a_command_that_takes_them():
    put("my set/a/1.png", "my set/b/1.png", "one/a/1.png")
    assert "--support 'my set' --out 'my set.fewshot'" in refused(chosen, "my set")
    assert "as a second class" in refused(chosen, "one")


def test_pictures_in_a_folder_images_of_their_class_count():
    put("set/ash/images/1.png", "set/ash/boxes.txt", "set/elm/images/2.png", "set/oak/3.png")
    put("set/oak/images/4.png")  # beside pictures of the class it is a folder like any other
    wanted = {"ash": ["set/ash/images/1.png"], "elm": ["set/elm/images/2.png"], "oak": ["set/oak/3.png"]}
    assert {n: [str(f) for f in fs] for n, fs in support_files(Path("set")).files.items()} == wanted
    assert {n: [str(f) for f in fs] for n, fs in find_classes(Path("set"), "auto").files.items()} == wanted


def test_a_list_divides_its_classes_or_leaves_that_to_chance():
    put(*(f"pics/{i}.png" for i in range(9)))
    parts = ("train", "val", "test")
    rows = "path,label,split\n" + "".join(f"pics/{i}.png,class {i},{parts[i % 3]}\n" for i in range(8))
    Path("set.csv").write_text(rows)
    assert parts_of("set.csv") == [[f"class {i}" for i in range(first, 8, 3)] for first in range(3)]
    assert chosen("set.csv").parts[0]["class 3"] == [Path("pics/3.png")]
    assert sum(map(len, parts_of("set.csv", layout="merge"))) == 8
    Path("set.csv").write_text(f"{rows}pics/8.png,class 0,test\n")
    message = refused(chosen, "set.csv")
    assert "class 0 is in train in line 2 and in test in line 10" in message
    assert "fit --run checkpoints/RUN --support set.csv" in message
    assert "data.layout=merge" in message
    Path("set.csv").write_text("path,label,split\npics/0.png,a,train\npics/1.png,b,test\n")
    assert "has no row of val" in refused(chosen, "set.csv")


def test_one_text_in_two_unicode_forms_is_refused():
    assert unicodedata.normalize("NFC", DECOMPOSED) == CAFE
    require_distinct_names([CAFE, "cafe", "Caf\u00e9"], "here")
    message = refused(require_distinct_names, [CAFE, "elm", DECOMPOSED], "here")
    assert message.startswith("here: class ")
    assert "is there 2 times" in message


@pytest.mark.parametrize("below", ["", "train", ("train", "test")])
def test_folders_refuse_it_within_and_across_splits(below):
    parts = (below, below) if isinstance(below, str) else below
    put(Path(parts[0], CAFE, "1.png"), Path(parts[1], DECOMPOSED, "2.png"), Path(parts[0], "elm", "3.png"))
    if below:
        put("train/oak/4.png", "val/ash/5.png", "test/fir/6.png")
    elif len(list(Path().iterdir())) < 3:
        pytest.skip("this file system does not tell these names apart")
    assert "Unicode forms" in refused(chosen, ".")
    if not below:
        assert "Unicode forms" in refused(support_files, Path())


def test_names_that_differ_in_case_or_outer_spaces_have_a_sentence(tmp_path):
    messages = similar_name_messages(["Dog", "dog", "elm", " elm", "oak", "STRASSE", "straße"])
    quoted = [message.partition(": ")[0] for message in messages]
    assert quoted == ['" elm", "elm"', '"Dog", "dog"', '"STRASSE", "straße"']
    assert len(similar_name_messages(["Dog", "dog", "elm", " elm"], ["dog"])) == 1
    assert similar_name_messages(["oak", "elm"]) == []
    for number, name in enumerate(("Dog", "dog", "elm", "oak")):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.effect_noise((16, 16), 10 + 20 * number).save(tmp_path / name / "a.png")
    report = survey(Data(name="image_folder", root=str(tmp_path), image_size=16, duplicates="keep"), 0).report
    assert [line.partition(": ")[0] for line in report.similar_names] == ['"Dog", "dog"']
