"""The command `score`: labelled pictures against the answers of a classifier."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from own_folders import CLASSES
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from mtl.cli import main
from mtl.own_images.score import count_right


@pytest.fixture
def home(home):
    """`things/<class>` to learn, `more/<class>` to be scored on."""
    for file in sorted(Path("new").iterdir()):
        folder = Path("more", file.name.partition(" ")[0])
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(file, folder / file.name)
    return home


@pytest.fixture
def run(home, whole_run, capsys):
    def call(command, *more, support="things"):
        code = main([command, "--run", str(whole_run.path), "--support", support, *more])
        return code, *capsys.readouterr()

    return call


def test_accuracy_is_that_of_predict(run):
    run("predict", "--query", "more")
    with open("predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["class"] == Path(row["file"]).parent.name for row in rows)
    code, said, _ = run("score", "--pictures", "more")
    assert code == 0
    assert f"{right} of 12 pictures right: {100 * right / 12:.1f} %" in said
    for name in CLASSES:
        assert name in said


def test_a_fitted_classifier_is_scored_on_a_list(run, capsys):
    run("fit", "--out", "things.fewshot")
    rows = [f"more/{name}/{name} {i}.png,{name}" for name in CLASSES for i in (3, 4)]
    Path("list.csv").write_text("path,label\n" + "\n".join(rows))
    assert main(["score", "--classifier", "things.fewshot", "--pictures", "list.csv"]) == 0
    assert " of 6 pictures right" in capsys.readouterr().out


def test_support_pictures_and_unknown_classes_are_left_out_and_said(run):
    shutil.copyfile("things/ash/0.png", "more/ash/again.png")
    shutil.move("more/oak", "more/yew")
    code, said, left_out = run("score", "--pictures", "more")
    assert code == 0
    assert " of 8 pictures right" in said
    assert "yew 4" in left_out
    assert "more/ash/again.png" in left_out
    code, _, said = run("score", "--pictures", "things")
    assert code == 2
    assert "no picture is left" in said


def test_pictures_of_other_classes_alone_are_refused(run):
    for name in CLASSES:
        shutil.move(f"more/{name}", f"more/not {name}")
    code, said, error = run("score", "--pictures", "more")
    assert (code, said) == (2, "")
    assert "none of the classes of the classifier (ash, elm, oak)" in error


def test_a_list_with_splits_is_learned_and_asked_in_its_parts(run):
    parts = [("train", f"things/{c}/{i}.png", c) for c in CLASSES for i in range(3)]
    parts += [("test", f"more/{c}/{c} {i}.png", c) for c in CLASSES for i in (3, 4, 5)]
    Path("all.csv").write_text("split;file;label\n" + "".join(f"{p};{f};{c}\n" for p, f, c in parts))
    code, said, _ = run("score", "--pictures", "all.csv", support="all.csv")
    assert code == 0
    assert " of 9 pictures right" in said


FOUR = ("ash", "elm", "fir", "oak")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_scores_are_those_of_scikit_learn(pairs):
    labels, answers = (torch.tensor(part) for part in zip(*pairs, strict=True))
    found = count_right(labels, answers, FOUR)
    assert found.total.accuracy == pytest.approx(accuracy_score(labels, answers))
    recalls = [share.accuracy for share in found.classes.values()]
    assert found.balanced == pytest.approx(sum(recalls) / len(recalls))
    if len(set(labels.tolist())) > 1 and set(answers.tolist()) <= set(labels.tolist()):
        assert found.balanced == pytest.approx(balanced_accuracy_score(labels, answers))
    matrix = confusion_matrix(labels, answers, labels=range(4))
    wrong = {(FOUR[k], FOUR[j]): matrix[k, j] for k in range(4) for j in range(4) if k != j}
    assert {(a, b): n for a, b, n in found.confusions} == {pair: n for pair, n in wrong.items() if n}


def test_the_most_frequent_confusion_is_first_and_intervals_are_wilsons():
    labels, answers = torch.tensor([0] * 10 + [1] * 4), torch.tensor([0] * 7 + [1, 2, 2] + [1, 1, 1, 3])
    found = count_right(labels, answers, FOUR)
    assert found.confusions == (("ash", "fir", 2), ("ash", "elm", 1), ("elm", "oak", 1))
    assert found.classes["ash"].interval == pytest.approx((0.3968, 0.8922), abs=1e-4)  # 7 of 10
    assert list(found.classes) == ["ash", "elm"]


def test_no_pictures_have_no_score():
    with pytest.raises(ValueError, match="one picture or more"):
        count_right(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), FOUR)
