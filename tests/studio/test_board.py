"""Changes as events: what each does, and that it can be taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.errors import UserError
from mtl.studio.board import board_of, checked, class_name, effective

FOUND = {"do": "found", "files": {"1": "ash/a.png", "2": "ash/b.png", "3": "elm/c.png", "4": "loose.png"}}
CHANGES = st.one_of(
    st.builds(
        lambda key, to: {"do": "label", "ids": [key], "to": to},
        st.sampled_from("1234"),
        st.sampled_from(["ash", "elm", "oak", None]),
    ),
    st.builds(
        lambda kind, of, to: {"do": kind, "of": of, "to": to},
        st.sampled_from(["rename", "remove"]),
        st.sampled_from(["ash", "elm", "oak"]),
        st.sampled_from(["elm", "yew"]),
    ),
    st.builds(lambda name: {"do": "class", "name": name}, st.sampled_from(["fir", "yew"])),
    st.builds(
        lambda kind, key: {"do": kind, "ids": [key]}, st.sampled_from(["aside", "none", "keep"]), st.just("1")
    ),
)


def labels(board):
    return {key: picture.label for key, picture in board.pictures.items() if picture.counts}


@given(st.lists(CHANGES, max_size=8))
def test_every_change_can_be_taken_back(changes):
    events = [FOUND]
    for change in changes:
        try:
            events.append(checked(change, board_of(events)))
        except UserError:
            continue
        assert board_of([*events, {"do": "undo"}]) == board_of(events[:-1])
    undone = [*events, *[{"do": "undo"}] * len(changes)]
    assert board_of(undone) == board_of([FOUND])


def test_a_class_is_merged_by_the_name_of_another_and_removed_without_losing_pictures():
    merged = board_of([FOUND, {"do": "rename", "of": "ash", "to": "elm"}])
    assert merged.classes == ["elm"]
    assert merged.of_class("elm") == ["1", "2", "3"]
    removed = board_of([FOUND, {"do": "remove", "of": "ash"}])
    assert (removed.classes, removed.new()) == (["elm"], ["1", "2", "4"])


def test_what_was_dropped_together_is_taken_back_together():
    drops = [
        {"do": "add", "id": f"n{i}", "name": "n", "ending": ".png", "to": "ash", "batch": "b"} for i in "12"
    ]
    assert board_of([FOUND, *drops]).of_class("ash") == ["1", "2", "n1", "n2"]
    assert effective([FOUND, *drops, {"do": "undo"}]) == [FOUND]


def test_a_file_moved_by_hand_changes_its_class_unless_the_page_has():
    by_hand = {"do": "found", "files": {"1": "oak/a.png", "2": "oak/b.png"}, "gone": ["3"]}
    board = board_of([FOUND, {"do": "label", "ids": ["2"], "to": "elm"}, by_hand])
    assert labels(board) == {"1": "oak", "2": "elm", "4": None}


HIDDEN = ["lost+found", "@tmp", "__MACOSX", "CON", "nul.txt", "Ash", "\ud800"]


@pytest.mark.parametrize("name", ["", "../ash", "a/b", ".hidden", "a\\b", "x" * 101, "a\nb", "end.", *HIDDEN])
def test_names_that_no_folder_can_have_are_refused(name):
    with pytest.raises(UserError, match=r"^class: "):
        class_name(name, ["ash"])


def test_a_name_in_another_unicode_form_is_the_class_that_is_there():
    assert class_name(" é ", ["é"]) == "é"


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"do": "found"},
        {"do": "label", "ids": ["9"], "to": "ash"},
        {"do": "label", "ids": "1", "to": "ash"},
        {"do": "rename", "of": "yew", "to": "ash"},
        {"do": "class", "name": "ash"},
    ],
)
def test_changes_that_make_no_sense_are_refused(asked):
    with pytest.raises(UserError):
        checked(asked, board_of([FOUND]))


def test_a_picture_of_none_of_the_classes_counts_in_nothing_until_it_gets_a_class():
    none = {"do": "none", "ids": ["1", "4"]}
    board = board_of([FOUND, none])
    assert (board.new(), board.of_class("ash"), board.of_none()) == ([], ["2"], ["1", "4"])
    assert [key for key, _ in board.labelled()] == ["2", "3"]
    again = {"do": "add", "id": "4", "name": "loose.png", "ending": ".png", "to": None}
    assert board_of([FOUND, none, again]).of_none() == ["1", "4"]
    assert board_of([FOUND, none, again | {"to": "elm"}]).of_class("elm") == ["3", "4"]
    label = {"do": "label", "ids": ["4"], "to": None}
    assert (board_of([FOUND, none, label]).new(), board_of([FOUND, none, label]).of_none()) == (["4"], ["1"])
