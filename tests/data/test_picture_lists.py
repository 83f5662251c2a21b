"""CSV files of path and label, as spreadsheets, scripts and annotation tools write them."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.data.picture_files import support_files
from mtl.data.picture_lists import read_list
from mtl.errors import UserError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The working folder, with `pics/{a,b c,d}.png`."""
    monkeypatch.chdir(tmp_path)
    Path("pics").mkdir()
    for name in ("a", "b c", "d"):
        Path(f"pics/{name}.png").touch()
    return tmp_path


def written(content, name="list.csv"):
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pairs(path):
    return [(str(row.file), row.label) for row in read_list(path, "--support ")]


def refused(content):
    with pytest.raises(UserError) as caught:
        read_list(written(content), "--support ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


WANTED = [("pics/a.png", "ash"), ("pics/b c.png", "red elm")]


@pytest.mark.parametrize(
    "content",
    [
        "pics/a.png,ash\npics/b c.png,red elm\n",
        "pics/a.png;ash\r\npics/b c.png;red elm",
        "pics/a.png\tash\npics/b c.png\tred elm\n",
        'path,label\n"pics/a.png","ash"\n\n"pics/b c.png", red elm\n',
        "\ufefflabel;File Name\nash;pics/a.png\nred elm;pics/b c.png\n",
        "id,image_path,width,class\n1,pics/a.png,64,ash\n2,pics/b c.png,64,red elm\n",
        "sep=;\nfilename;category\npics/a.png;ash\npics/b c.png;red elm\n",
        "pics\\a.png,ash\npics\\b c.png,red elm\n",
        "pics/a.png,ash\npics/a.png,ash\npics/b c.png,red elm\n",
        "pics/a.png,ash,640\npics/b c.png,red elm,480\n",
        "Path\tLabel\npics/a.png\tash\npics/b c.png\tred elm\n".encode("utf-16"),
    ],
)
def test_any_delimiter_header_and_encoding_of_spreadsheets_is_read(home, content):
    assert pairs(written(content)) == WANTED


def test_the_delimiter_is_the_one_that_leaves_a_file_name(home):
    path = written("pics/a.png;ash, common\npics/d.png;elm, white\n")
    assert pairs(path) == [("pics/a.png", "ash, common"), ("pics/d.png", "elm, white")]


def test_paths_are_relative_to_the_list_and_may_be_absolute(home):
    path = written(f"a.png,ash\n{home}/pics/d.png,elm\n", "pics/list.tsv")
    assert pairs(path) == [("pics/a.png", "ash"), (f"{home}/pics/d.png", "elm")]


def test_splits_are_read_under_their_usual_names(home):
    path = written("path,label,split\npics/a.png,ash,Training\npics/b c.png,ash,valid\npics/d.png,elm,TEST\n")
    assert [row.part for row in read_list(path, "--support ")] == ["train", "val", "test"]
    assert [
        row.part for row in read_list(written("pics/a.png,ash,train\npics/d.png,ash,test\n"), "--support ")
    ] == [
        "train",
        "test",
    ]


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        ("path,label\npics/a.png,ash\npics/gone.png,elm\n", "line 3", "pics/gone.png is not there"),
        ("path,label\npics/a,ash\n", "line 2", "there is a.png"),
        (
            "picture name,kind\npics/a.png,ash\n",
            "line 1",
            "a first row that names columns has path and label",
        ),
        ("path,label\npics,ash\n", "line 2", "is a folder"),
        ("pics/a.png,ash\npics/d.png\n", "line 2", "1 field"),
        ("pics/a.png,ash\n\npics/d.png, \n", "line 3", "no label"),
        ("pics/a.png,ash\npics/a.png,elm\n", "line 2", "is ash in line 1 and elm in line 2"),
        ("path,label,split\npics/a.png,ash,holdout\n", "line 2", "'holdout' is not a split"),
        ('pics/a.png,"ash\npics/d.png,elm\n', "line 1", "cannot be read"),
        (b"path,label\npics/a.png,ash\n" + b"pics/d.png,\xe9pi\n", "line 3", "not UTF-8"),
        ("file,width\npics/a.png,3\n", "no column label", "it has: file, width"),
        ("", "is empty", "path,label"),
        ("path,label\n", "has a header and no row", "path,label"),
    ],
)
def test_what_is_wrong_with_a_list_is_told_by_its_line(home, content, line, told):
    said = refused(content)
    assert said.startswith("list.csv: ")
    assert line in said
    assert told in said


@given(
    labels=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1),
    delimiter=st.sampled_from(",;\t|"),
)
def test_whatever_csv_writes_is_read_back(tmp_path_factory, labels, delimiter):
    labels = [label for label in labels if label.strip()] or ["ash"]
    home = tmp_path_factory.mktemp("list")
    with open(home / "list.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter=delimiter)
        table.writerow(["path", "label"])
        for i, label in enumerate(labels):
            (home / f"{i}.png").touch()
            table.writerow([f"{i}.png", label])
    found = read_list(home / "list.csv", "--support ")
    assert [row.label for row in found] == [label.strip() for label in labels]
    assert [row.file.name for row in found] == [f"{i}.png" for i in range(len(labels))]


def test_a_list_is_a_support_set_of_its_training_rows(home):
    rows = "path,label,split\npics/a.png,elm,train\npics/d.png,ash,train\npics/b c.png,ash,test\n"
    found = support_files(written(rows))
    assert found.files == {"ash": (Path("pics/d.png"),), "elm": (Path("pics/a.png"),)}
    assert found.left_out == ("list.csv: 1 row of other splits than train",)
    assert support_files(Path("list.csv"), part="test").files == {"ash": (Path("pics/b c.png"),)}
    assert list(support_files(written("pics/a.png,elm\n", "plain.csv")).files) == ["elm"]
    with pytest.raises(UserError, match="no row of it is of the split val"):
        support_files(Path("list.csv"), part="val")
    with pytest.raises(UserError, match="is a spreadsheet; save it as CSV"):
        support_files(written("PK", "list.xlsx"))
