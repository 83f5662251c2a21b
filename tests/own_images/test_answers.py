"""Answers as rows, and as files that spreadsheets and programs read back."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl.data.prefetch import Unread
from mtl.own_images.answers import (
    NONE,
    Row,
    answers_sentence,
    least_sure,
    new_ones,
    percent,
    rows,
    to_csv,
    to_json,
)
from mtl.own_images.classifier import Answers

CLASSES = ("ash", "elm", "oak")
SHARES = torch.tensor([[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]], dtype=torch.float64)
COLUMNS = ["file", "class", "probability", "runner_up", "runner_up_probability", "margin"]
# As a file system gives them: any characters, and bytes that are no UTF-8.
LETTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from(["\udc80", "\udcff"])
NAMES = st.lists(LETTERS, min_size=1, max_size=12).map("".join)


def row(file="a.png", answer="ash", probability=0.75, second="elm", share=0.125, none=None):
    return Row(file, answer, probability, second, share, none)


def read(content):
    text = content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_answer_is_the_most_probable_class_and_the_next_one_runs_up():
    first, second = rows([Path("new/a.png"), "b"], Answers(SHARES, None), CLASSES)
    assert first == Row("new/a.png", "elm", 0.7, "ash", 0.2, None)
    assert second == Row("b", "ash", 0.5, "oak", 0.4, None)
    assert first.margin == pytest.approx(0.5)
    assert list(first.columns()) == COLUMNS


def test_with_none_asked_all_that_may_be_sums_to_one():
    none = torch.tensor([0.3, 0.6], dtype=torch.float64)
    first, second = rows(["a", "b"], Answers(SHARES, none), CLASSES)
    assert (first.answer, first.runner_up, first.none) == ("elm", "ash", 0.3)
    assert (first.probability, first.runner_up_probability) == pytest.approx((0.7 * 0.7, 0.7 * 0.2))
    assert (second.answer, second.probability, second.none) == (NONE, 0.6, 0.6)
    assert (second.runner_up, second.runner_up_probability) == ("ash", pytest.approx(0.4 * 0.5))
    assert list(second.columns()) == [*COLUMNS, "none"]


def test_even_odds_are_not_enough_for_none():
    (answer,) = rows(["a"], Answers(SHARES[:1], torch.tensor([0.5], dtype=torch.float64)), CLASSES)
    assert answer.answer == "elm"


@given(
    logits=st.lists(st.lists(st.floats(-50, 50), min_size=2, max_size=2), min_size=1, max_size=5),
    none=st.floats(0, 1),
)
def test_no_margin_is_below_0_and_no_probability_above_1(logits, none):
    shares = torch.softmax(torch.tensor(logits, dtype=torch.float64), -1)
    for asked in (None, torch.full((len(logits),), none, dtype=torch.float64)):
        for one in rows(range(len(logits)), Answers(shares, asked), ("a", "b")):
            assert one.margin >= 0
            assert 0 <= one.probability + one.runner_up_probability <= 1 + 1e-9
            assert one.answer != one.runner_up


def test_the_least_sure_come_first_and_equals_by_their_file():
    given_order = [row("c", probability=0.9), row("b", probability=0.5), row("a", probability=0.9)]
    assert [one.file for one in least_sure(given_order)] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0 %"),
        (1e-9, "<1 %"),
        (0.01, "1 %"),
        (0.5, "50 %"),
        (0.99, "99 %"),
        (0.9901, ">99 %"),
        (1, "100 %"),
    ],
)
def test_certainty_is_said_only_where_it_is(share, shown):
    assert percent(share) == shown


def test_a_sentence_counts_the_answers():
    answered = [row(answer=name) for name in ("elm", "ash", "elm")]
    assert answers_sentence(answered, 3) == "3 pictures classified: elm 2, ash 1."
    assert answers_sentence(answered, 1200) == "3 of 1,200 pictures classified: elm 2, ash 1."
    assert answers_sentence(answered[:1], 1) == "1 picture classified: elm 1."
    many = [row(answer=f"c{i:02d}\n") for i in range(15)]
    assert answers_sentence(many, 15).endswith("c10� 1, c11� 1 and 3 more classes.")


def test_a_table_holds_every_row_with_six_decimals_and_unread_files_at_the_end():
    unread = [Unread(Path("bad.png"), "bad.png: is not a readable image (it ends too early)")]
    content = to_csv([row(), row("b.png", none=None)], unread, open_set=False)
    assert content.decode("ascii").split("\r\n") == [
        "file,class,probability,runner_up,runner_up_probability,margin",
        "a.png,ash,0.750000,elm,0.125000,0.625000",
        "b.png,ash,0.750000,elm,0.125000,0.625000",
        "bad.png,,,,,",
        "",
    ]


def test_none_has_a_column_where_it_is_asked():
    assert read(to_csv([row(none=0.25)], [], open_set=True))[0]["none"] == "0.250000"
    assert "none" not in read(to_csv([row()], [], open_set=False))[0]


def test_a_table_is_marked_as_unicode_where_it_is_more_than_ascii():
    assert to_csv([row("Bäume.png")], [], False).startswith(b"\xef\xbb\xbffile,")
    assert to_csv([row()], [], False).startswith(b"file,")


@pytest.mark.parametrize(
    ("name", "as_file", "as_class"),
    [
        ("=1+1", "./=1+1", "'=1+1"),
        ("+49", "./+49", "'+49"),
        ("-x", "./-x", "'-x"),
        ("@sum", "./@sum", "'@sum"),
        ("\tx", "./\tx", "'\tx"),
        ("a=b", "a=b", "a=b"),
        ("two\nlines, \"quoted\"; 'so'", "two\nlines, \"quoted\"; 'so'", "two\nlines, \"quoted\"; 'so'"),
        ("\udcff", "\\udcff", "\\udcff"),
    ],
)
def test_no_name_breaks_a_table_or_is_computed_by_it(name, as_file, as_class):
    (found,) = read(to_csv([row(name, name, second=name)], [], False))
    assert (found["file"], found["class"], found["runner_up"]) == (as_file, as_class, as_class)
    assert read(to_csv([], [Unread(Path(name), "why")], False))[0]["file"] == as_file


@given(names=st.lists(NAMES, min_size=1, max_size=4))
def test_any_names_come_back_from_both_files(names):
    answered = [row(name, name, 0.1 + 0.2, second=name) for name in names]
    assert len(read(to_csv(answered, [], False))) == len(names)
    tree = json.loads(to_json(answered, [], names, 9))
    assert [one["file"] for one in tree["answers"]] == names
    assert tree["classes"] == names


def test_json_keeps_every_digit_and_says_what_was_skipped():
    answered = [row(probability=0.1 + 0.2, share=1 / 3, none=1e-17)]
    unread = [Unread(Path("bad.png"), "bad.png: is not a readable image (the file is empty)")]
    assert json.loads(to_json(answered, unread, CLASSES, 7)) == {
        "asked": 7,
        "classes": ["ash", "elm", "oak"],
        "answers": [
            {
                "file": "a.png",
                "class": "ash",
                "probability": 0.1 + 0.2,
                "runner_up": "elm",
                "runner_up_probability": 1 / 3,
                "margin": (0.1 + 0.2) - 1 / 3,
                "none": 1e-17,
            }
        ],
        "skipped": [{"file": "bad.png", "why": "bad.png: is not a readable image (the file is empty)"}],
    }


def test_support_pictures_are_marked_and_not_counted():
    kinds = ["same", "near", "", "same"]
    found = rows(list("abcd"), Answers(SHARES.repeat(2, 1), None), CLASSES, kinds)
    assert [one.support for one in found] == kinds
    said = answers_sentence(found, 4)
    assert said.startswith(
        "4 pictures classified: ash 1, elm 1. 2 of the 4 pictures are support pictures and"
    )
    assert said.endswith("1 shows nearly the same as a support picture.")
    assert answers_sentence([found[0], found[3]], 2).startswith(
        "2 pictures classified. 2 of the 2 pictures are support"
    )
    assert [one.file for one in new_ones(found)] == ["b", "c"]
    assert [line["support_picture"] for line in read(to_csv(found, (), False))] == kinds
    tree = json.loads(to_json(found, (), CLASSES, 4))
    assert [line.get("support_picture", "") for line in tree["answers"]] == kinds
