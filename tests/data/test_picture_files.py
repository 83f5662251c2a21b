"""Which files are meant: class folders, queries, links that loop, names that want to break a line."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from picture_folders import put, refused

from mtl.data.picture_files import query_files, support_files
from mtl.runtime.figure_files import drawn_here, save_png


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(pictures):
    return [str(file) for file in pictures.files]


def classes(support):
    return {name: [str(file) for file in files] for name, files in support.files.items()}


def test_a_support_folder_is_its_classes_and_their_files_sorted():
    put("things/elm/b.JPG", "things/elm/a.png", "things/ash/1.webp", "elsewhere/1.png")
    put("things/ash/.2.png", "things/ash/notes.txt", "things/ash/.cache/3.png", "things/.cache/4.png")
    put("things/readme.md")
    os.symlink("../elsewhere", "things/oak")
    support = support_files(Path("things"))
    assert list(support.files) == ["ash", "elm", "oak"]
    assert classes(support) == {
        "ash": ["things/ash/1.webp"],
        "elm": ["things/elm/a.png", "things/elm/b.JPG"],
        "oak": ["things/oak/1.png"],
    }
    assert support.left_out == ()


def test_what_a_support_folder_leaves_out_is_named():
    put("things/ash/1.png", "things/loose.png", "things/other.png", "things/elm/2024/5.png")
    put("things/ash/2024/2.png", "things/ash/2025/3.png", "things/ash/2025/4.png")
    os.symlink("self", "things/self")
    os.symlink("gone.png", "things/ash/2.png")
    support = support_files(Path("things"))
    assert classes(support) == {"ash": ["things/ash/1.png"]}
    assert support.left_out == (
        "things/self: is a link that leads nowhere; it is passed over",
        "things/ash/2.png: is a link that leads nowhere; it is passed over",
        "things/ash: 2 folders not looked into; pictures must be right in <class>/",
        "things/elm: holds no pictures; the class is left out",
        "things/elm: 1 folder not looked into; pictures must be right in <class>/",
        "things: 2 pictures of no class, beside the folders of the classes",
    )


@pytest.mark.parametrize(
    ("made", "source", "message"),
    [
        ("things/a.txt", "thing", "thing: there is no such folder; did you mean things?"),
        ("things/a.txt", "nowhere/at/all", "nowhere/at/all: there is no such folder"),
        ("things", "things", "things: is a file of another kind; wanted is a folder"),
        ("things/a.txt", "things", "wanted is <folder>/<class>/*, but it is empty"),
        ("things/a.png", "things", "but it holds 1 picture and no classes"),
        ("things/ash/a.txt", "things", "but things/ash: holds no pictures; the class is left out"),
    ],
)
def test_a_support_folder_without_classes_is_refused(made, source, message):
    put(made)
    assert message in refused(support_files, Path(source))


def test_files_patterns_and_folders_come_sorted_and_once_each(folder):
    put("new/b.png", "new/a.png", "new/c.png", "new/sub/deep/d.JPEG", "more/z.dat", "more/.hidden")
    put("new/.hidden.png", "new/.cache/e.png", "new/notes.txt")
    pictures = query_files(
        ["new/c.png", "./new/*.png", "new", f"{folder}/new/a.png", "more/*", "more/.hidden"]
    )
    assert names(pictures) == [
        *("more/.hidden", "more/z.dat"),  # what is named is taken whatever its ending
        *("new/a.png", "new/b.png", "new/c.png", "new/sub/deep/d.JPEG"),
    ]
    assert pictures.left_out == ()


@given(st.lists(st.sampled_from(["a.png", "b.png", "c/d.png", "c", "."]), min_size=1))
def test_in_whatever_order_they_are_named_the_order_is_one(tmp_path_factory, sources):
    home = tmp_path_factory.mktemp("queries")
    put(home / "a.png", home / "b.png", home / "c" / "d.png")
    files = query_files([os.path.join(home, name) for name in sources]).files
    assert list(files) == sorted(set(files))
    assert files == query_files([os.path.join(home, name) for name in reversed(sources)]).files


def test_what_exists_of_a_pattern_is_taken_as_it_is(folder):
    put(
        "trip [2024]/a.png",
        "trip [2024]/b.jpg",
        "trip [2024]/day [1]/c.png",
        "trip 2/d.png",
        "[1].png",
        "1.png",
    )
    assert names(query_files(["[1].png"])) == ["[1].png"]
    assert names(query_files(["[12].png"])) == ["1.png"]
    assert names(query_files(["trip [2024]/*.png"])) == ["trip [2024]/a.png"]
    assert names(query_files(["trip [2024]/day*/?.png"])) == ["trip [2024]/day [1]/c.png"]
    assert names(query_files([f"{folder}/trip [2024]/*.jpg"])) == [f"{folder}/trip [2024]/b.jpg"]
    assert names(query_files(["trip [0-9]/*"])) == ["trip 2/d.png"]
    assert "nothing fits this pattern" in refused(query_files, ["trip [2024]/*.gif"])
    assert "there is no such file" in refused(query_files, ["trip [2024]/z.png"])


def test_links_that_loop_end_and_others_are_followed():
    put("new/a.png", "new/sub/b.png", "new/z/c.png", "elsewhere/d.png")
    os.symlink("../../new", "new/sub/back")
    os.symlink(".", "new/here")
    os.symlink("self.png", "new/self.png")
    os.symlink("z", "new/another z")  # reached by itself too, it goes by its own name
    os.symlink("../elsewhere", "new/link")
    pictures = query_files(["new"])
    assert names(pictures) == ["new/a.png", "new/link/d.png", "new/sub/b.png", "new/z/c.png"]
    searched = "is a link to a folder that is searched already; it is passed over"
    assert sorted(pictures.left_out) == [
        f"new/another z: {searched}",
        f"new/here: {searched}",
        "new/self.png: is a link that leads nowhere; it is passed over",
        f"new/sub/back: {searched}",
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("new/cta.png", "new/cta.png: there is no such file or folder; did you mean new/cat.png?"),
        ("nowhere/a.png", "nowhere/a.png: there is no such file or folder"),
        ("new/*.gif", "new/*.gif: nothing fits this pattern"),
        ("**/*.png", "**/*.png: ** is not known; a folder is searched with all that is below it"),
        ("empty", "empty: holds no pictures (.jpg, .png,"),
        ("new/pipe", "new/pipe: is neither a file nor a folder"),
        ("new/gone", "new/gone: is a link that leads nowhere"),
        ("new/list.csv", "new/list.csv: is a list, not a picture; if it has labels, score --pictures"),
        ("new\n/a.png", "new�/a.png: there is no such file or folder"),
    ],
)
def test_queries_that_are_not_there_are_refused(source, message):
    put("new/cat.png", "new/list.csv", "empty/notes.txt")
    os.mkfifo("new/pipe")
    os.symlink("nothing", "new/gone")
    assert refused(query_files, [source]).startswith(message)


@pytest.mark.parametrize(
    ("name", "near"), [("many_thing", True), ("manythings", True), ("nothing", False), ("ny_things", True)]
)
def test_a_name_is_near_another_by_its_letters_not_by_a_part_of_it(name, near):
    put("many_things/a.png")
    hint = "; did you mean many_things?" if near else ""
    assert refused(query_files, [name]) == f"{name}: there is no such file or folder{hint}"


def test_a_folder_that_cannot_be_read_is_named_and_the_rest_is_found(monkeypatch):
    put("new/a.png", "new/locked/b.png")
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    pictures = query_files(["new"])
    assert names(pictures) == ["new/a.png"]
    assert pictures.left_out == ("new/locked: cannot be read (Permission denied); it is left out",)


def test_folders_of_systems_are_neither_classes_nor_queries():
    system = ("@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", "__MACOSX", "found.000")
    put("nas/ash/a.png", "nas/elm/b.png", *(f"nas/{name}/x.png" for name in system))
    put("nas/System Volume Information/x.png", "nas/ash/@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg")
    support = support_files(Path("nas"))
    assert (list(support.files), support.left_out) == (["ash", "elm"], ())
    for source in ("nas", "nas/*", "nas/*/*.png"):
        assert names(query_files([source])) == ["nas/ash/a.png", "nas/elm/b.png"]
    assert names(query_files(["nas/#recycle"])) == ["nas/#recycle/x.png"]  # if it is meant


def test_drawings_of_the_program_are_neither_support_nor_queries():
    put("things/ash/1.png", "things/elm/2.png", "new/3.png")
    for place in ("things/ash/predictions.png", "things/sheet.png", "new/sheet.png"):
        save_png(Figure(figsize=(1, 1)), Path(place))
    assert drawn_here(Path("new/sheet.png"))
    assert not any(drawn_here(Path(other)) for other in ("new/3.png", "new/gone.png"))
    support = support_files(Path("things"))
    assert classes(support)["ash"] == ["things/ash/1.png"]
    assert len(support.left_out) == 2
    pictures = query_files(["new"])
    assert names(pictures) == ["new/3.png"]
    assert pictures.left_out == ("new/sheet.png: is a drawing of this program, not a picture",)
    assert "is a drawing of this program" in refused(query_files, ["new/sheet.png"])
