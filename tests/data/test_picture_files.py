"""Which files are meant: class folders, queries, links that loop, names that want to break a line."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from mtl.data.picture_files import query_files, support_files
from mtl.errors import UserError
from mtl.runtime.figure_files import drawn_here, save_png


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder; `put` makes empty files below it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def names(found):
    return [str(file) for file in found.files]


def refused(call, *given):
    with pytest.raises(UserError) as caught:
        call(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_support_folder_is_its_classes_and_their_files_sorted(folder):
    put("things/elm/b.JPG", "things/elm/a.png", "things/ash/1.webp")
    found = support_files(Path("things"))
    assert found.files == {
        "ash": (Path("things/ash/1.webp"),),
        "elm": (Path("things/elm/a.png"), Path("things/elm/b.JPG")),
    }
    assert list(found.files) == ["ash", "elm"]
    assert found.left_out == ()


def test_what_is_hidden_or_no_picture_is_no_support(folder):
    put("things/ash/1.png", "things/ash/.2.png", "things/ash/notes.txt", "things/ash/.cache/3.png")
    put("things/.cache/4.png", "things/readme.md")
    found = support_files(Path("things"))
    assert found.files == {"ash": (Path("things/ash/1.png"),)}
    assert found.left_out == ()


def test_what_a_support_folder_leaves_out_is_named(folder):
    put("things/ash/1.png", "things/loose.png", "things/other.png", "things/elm/notes.txt")
    os.symlink("self", "things/self")
    os.symlink("gone.png", "things/ash/2.png")
    assert support_files(Path("things")).left_out == (
        "things/self: is a link that leads nowhere; it is passed over",
        "things/ash/2.png: is a link that leads nowhere; it is passed over",
        "things/elm: holds no pictures; the class is left out",
        "things: 2 pictures are beside the folders of the classes, and of no class",
    )


def test_folders_in_a_class_are_not_looked_into_and_named_once_a_class(folder):
    put("things/ash/1.png", "things/ash/2024/2.png", "things/ash/2025/3.png", "things/ash/2025/4.png")
    put("things/elm/2024/5.png", "things/oak/6.png")
    found = support_files(Path("things"))
    assert found.files == {"ash": (Path("things/ash/1.png"),), "oak": (Path("things/oak/6.png"),)}
    assert found.left_out == (
        "things/ash: 2 folders in it are not looked into; pictures must be right in <class>/",
        "things/elm: holds no pictures; the class is left out",
        "things/elm: 1 folder in it is not looked into; pictures must be right in <class>/",
    )


def test_a_link_to_a_class_folder_is_a_class(folder):
    put("elsewhere/1.png", "things/ash/1.png")
    os.symlink("../elsewhere", "things/elm")
    assert list(support_files(Path("things")).files) == ["ash", "elm"]


@pytest.mark.parametrize(
    ("made", "asked", "told"),
    [
        (["things/a.txt"], "thing", "thing: there is no such folder; did you mean things?"),
        (["things/a.txt"], "nowhere/at/all", "nowhere/at/all: there is no such folder"),
        (["things"], "things", "things: is a file of another kind; wanted is a folder"),
        (["things/a.txt"], "things", "wanted is <folder>/<class>/*, but it is empty"),
        (["things/a.png"], "things", "but it holds 1 picture and no classes"),
        (["things/ash/a.txt"], "things", "but things/ash: holds no pictures; the class is left out"),
    ],
)
def test_a_support_folder_without_classes_is_refused(folder, made, asked, told):
    put(*made)
    assert told in refused(support_files, Path(asked))


def test_a_folder_of_queries_is_searched_to_its_depth(folder):
    put("new/b.png", "new/deep/er/a.JPEG", "new/.hidden.png", "new/.cache/c.png", "new/notes.txt")
    found = query_files(["new"])
    assert names(found) == ["new/b.png", "new/deep/er/a.JPEG"]
    assert found.left_out == ()


def test_files_patterns_and_folders_come_sorted_and_once_each(folder):
    put("new/b.png", "new/a.png", "new/c.png", "new/sub/d.png", "more/z.dat")
    found = query_files(["new/c.png", "./new/*.png", "new", f"{folder}/new/a.png", "more/*"])
    assert names(found) == ["more/z.dat", "new/a.png", "new/b.png", "new/c.png", "new/sub/d.png"]


def test_a_file_with_the_signs_of_a_pattern_in_its_name_is_that_file(folder):
    put("new/[1].png", "new/1.png")
    assert names(query_files(["new/[1].png"])) == ["new/[1].png"]
    assert names(query_files(["new/[12].png"])) == ["new/1.png"]


def test_what_is_named_is_taken_whatever_its_ending(folder):
    put("new/scan", "new/.hidden")
    assert names(query_files(["new/scan", "new/.hidden"])) == ["new/.hidden", "new/scan"]


def test_links_that_loop_end(folder):
    put("new/a.png", "new/sub/b.png")
    os.symlink("../../new", "new/sub/back")
    os.symlink(".", "new/here")
    os.symlink("self.png", "new/self.png")
    found = query_files(["new"])
    assert names(found) == ["new/a.png", "new/sub/b.png"]
    assert sorted(found.left_out) == [
        "new/here: is a link to a folder that is searched already; it is passed over",
        "new/self.png: is a link that leads nowhere; it is passed over",
        "new/sub/back: is a link to a folder that is searched already; it is passed over",
    ]


def test_a_folder_reached_by_a_link_and_by_itself_goes_by_its_own_name(folder):
    put("new/z/a.png")
    (folder / "new" / "b").mkdir()
    os.symlink("../z", "new/b/link")
    assert names(query_files(["new"])) == ["new/z/a.png"]


def test_a_link_that_leads_out_is_followed(folder):
    put("elsewhere/a.png", "new/b.png")
    os.symlink("../elsewhere", "new/link")
    assert names(query_files(["new"])) == ["new/b.png", "new/link/a.png"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("new/cta.png", "new/cta.png: there is no such file or folder; did you mean new/cat.png?"),
        ("nowhere/a.png", "nowhere/a.png: there is no such file or folder"),
        ("new/*.gif", "new/*.gif: nothing fits this pattern"),
        ("**/*.png", "**/*.png: ** is not known; a folder is searched with all that is below it"),
        ("empty", "empty: holds no pictures (.jpg, .png,"),
        ("new/pipe", "new/pipe: is neither a file nor a folder"),
        ("new/gone", "new/gone: is a link that leads nowhere"),
        ("new\n/a.png", "new�/a.png: there is no such file or folder"),
    ],
)
def test_queries_that_are_not_there_are_refused(folder, asked, told):
    put("new/cat.png", "empty/notes.txt")
    os.mkfifo("new/pipe")
    os.symlink("nothing", "new/gone")
    assert refused(query_files, [asked]).startswith(told)


@pytest.mark.parametrize(
    ("asked", "near"), [("many_thing", True), ("manythings", True), ("nothing", False), ("ny_things", True)]
)
def test_a_name_is_near_another_by_its_letters_not_by_a_part_of_it(folder, asked, near):
    put("many_things/a.png")
    hint = "; did you mean many_things?" if near else ""
    assert refused(query_files, [asked]) == f"{asked}: there is no such file or folder{hint}"


def test_a_folder_that_cannot_be_read_is_named_and_the_rest_is_found(folder, monkeypatch):
    put("new/a.png", "new/locked/b.png")
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = query_files(["new"])
    assert names(found) == ["new/a.png"]
    assert found.left_out == ("new/locked: cannot be read (Permission denied); it is left out",)


@given(st.lists(st.sampled_from(["a.png", "b.png", "c/d.png", "c", "."]), min_size=1))
def test_in_whatever_order_they_are_named_the_order_is_one(tmp_path_factory, asked):
    folder = tmp_path_factory.mktemp("queries")
    for name in ("a.png", "b.png", "c/d.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    found = query_files([os.path.join(folder, name) for name in asked]).files
    assert list(found) == sorted(set(found))
    assert found == query_files([os.path.join(folder, name) for name in reversed(asked)]).files


def test_what_exists_of_a_pattern_is_taken_as_it_stands(folder):
    put("trip [2024]/a.png", "trip [2024]/b.jpg", "trip [2024]/day [1]/c.png", "trip 2/d.png")
    assert names(query_files(["trip [2024]/*.png"])) == ["trip [2024]/a.png"]
    assert names(query_files(["trip [2024]/day*/?.png"])) == ["trip [2024]/day [1]/c.png"]
    assert names(query_files([f"{folder}/trip [2024]/*.jpg"])) == [f"{folder}/trip [2024]/b.jpg"]
    assert names(query_files(["trip [0-9]/*"])) == ["trip 2/d.png"]
    assert "nothing fits this pattern" in refused(query_files, ["trip [2024]/*.gif"])
    assert "there is no such file" in refused(query_files, ["trip [2024]/z.png"])


SYSTEM = (
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "lost+found",
    "__MACOSX",
    "System Volume Information",
    "found.000",
)


def test_folders_of_systems_are_neither_classes_nor_queries(folder):
    put("nas/ash/a.png", "nas/elm/b.png", *(f"nas/{name}/x.png" for name in SYSTEM))
    put("nas/ash/@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg")
    found = support_files(Path("nas"))
    assert (list(found.files), found.left_out) == (["ash", "elm"], ())
    assert names(query_files(["nas"])) == ["nas/ash/a.png", "nas/elm/b.png"]
    assert names(query_files(["nas/*"])) == ["nas/ash/a.png", "nas/elm/b.png"]
    assert names(query_files(["nas/*/*.png"])) == ["nas/ash/a.png", "nas/elm/b.png"]
    assert names(query_files(["nas/#recycle"])) == ["nas/#recycle/x.png"]  # if it is meant


def test_drawings_of_the_program_are_neither_support_nor_queries(folder):
    put("things/ash/1.png", "things/elm/2.png", "new/3.png")
    for place in ("things/ash/predictions.png", "things/sheet.png", "new/sheet.png"):
        save_png(Figure(figsize=(1, 1)), Path(place))
    assert [drawn_here(Path(p)) for p in ("new/sheet.png", "new/3.png", "new/gone.png")] == [
        True,
        False,
        False,
    ]
    found = support_files(Path("things"))
    assert found.files["ash"] == (Path("things/ash/1.png"),)
    assert len(found.left_out) == 2
    asked = query_files(["new"])
    assert names(asked) == ["new/3.png"]
    assert asked.left_out == ("new/sheet.png: is a drawing of this program, not a picture",)
    assert "is a drawing of this program" in refused(query_files, ["new/sheet.png"])
