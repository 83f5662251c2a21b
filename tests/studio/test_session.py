"""The page without a browser: answers as `fit` gives them, kills, and the user's folder."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_classifiers import embedder, fitted
from own_folders import contents, hostile
from PIL import Image

from mtl import FewShotClassifier
from mtl.config import Backbone, Log
from mtl.data.formats import EXTENSIONS
from mtl.data.variants import Variants
from mtl.errors import UserError
from mtl.models.backbones import build_backbone
from mtl.own_images import classifier_file
from mtl.own_images.published import embedder_of
from mtl.own_images.read_support import PictureReader
from mtl.own_images.self_assessment import LabelIssue, self_assessment
from mtl.own_images.support import Support
from mtl.runtime.seeds import generator
from mtl.studio import fitted_board
from mtl.studio import folder as folders
from mtl.studio.session import plan_mark


def own(things):
    """The person's files, without the page's state."""
    return {
        path.relative_to(things).as_posix(): content
        for path, content in contents(things).items()
        if ".studio" not in path.parts
    }


def key_of(session, name):
    return next(key for key, picture in session.board.pictures.items() if picture.name == name)


def label(session, name, to):
    session.change({"do": "label", "ids": [key_of(session, name)], "to": to})


def classes_of(session):
    return dict(session.board.labelled())


def corrected(session, drop, new):
    """Every kind of correction, on three classes."""
    for path in sorted(new.iterdir()):
        drop(session, path)
    label(session, "ash 4.png", "ash")
    label(session, "elm 5.png", "yew")
    label(session, "oak/1.png", "ash")
    session.change({"do": "rename", "of": "elm", "to": "larch"})
    session.change({"do": "aside", "ids": [key_of(session, "oak/2.png")]})
    session.change({"do": "none", "ids": [key_of(session, "oak 6.png")]})
    label(session, "ash 4.png", "oak")
    session.change({"do": "undo"})


def test_corrections_answer_as_fit_with_the_same_labels_does(opened, drop, things, network, tmp_path):
    session = opened()
    corrected(session, drop, things.parent / "new")
    pictures = session.board.labelled()
    assert [name for _, name in pictures] == ["ash"] * 6 + ["larch"] * 4 + ["oak"] * 2 + ["yew"]
    classifier_file.save(fitted(network), tmp_path / "network.fewshot")
    estimator = FewShotClassifier(tmp_path / "network.fewshot", device="cpu")
    estimator.fit([session.path_of(key) for key, _ in pictures], [name for _, name in pictures])
    answers = session.answers()
    wanted = estimator.predict_proba([session.path_of(key) for key, _ in answers])
    assert [row.answer for _, row in answers] == estimator.classes_[wanted.argmax(1)].tolist()
    np.testing.assert_allclose([row.probability for _, row in answers], wanted.max(1), atol=1e-6)
    assert len(answers) == 9
    assert [row.probability for _, row in answers] == sorted(row.probability for _, row in answers)
    saved = FewShotClassifier.load(session.save(), device="cpu")
    again = saved.predict_proba([session.path_of(key) for key, _ in answers])
    np.testing.assert_allclose(again, wanted, atol=1e-6)


def test_a_published_network_answers_as_fit_with_the_head_that_the_classes_choose(opened, drop, things):
    backbone = build_backbone(Backbone("torchvision.squeezenet1_1"), 3, 224, generator(3)).network
    torch.save(backbone.state_dict(), things.parent / "net.pth")
    published = Backbone("torchvision.squeezenet1_1", weights=str(things.parent / "net.pth"))
    session = opened(network=embedder_of(published))
    for path in sorted((things.parent / "new").iterdir())[:3]:
        drop(session, path)
    label(session, "oak/1.png", "ash")
    pictures = session.board.labelled()
    estimator = FewShotClassifier(backbone=published.name, weights=published.weights, device="cpu")
    estimator.fit([session.path_of(key) for key, _ in pictures], [name for _, name in pictures])
    answers = session.answers()
    wanted = estimator.predict_proba([session.path_of(key) for key, _ in answers])
    assert [row.answer for _, row in answers] == estimator.classes_[wanted.argmax(1)].tolist()
    np.testing.assert_allclose([row.probability for _, row in answers], wanted.max(1), atol=1e-5)


def test_corrections_in_any_order_answer_the_same_to_the_bit(opened, drop, things):
    session = opened()
    corrected(session, drop, things.parent / "new")
    table = session.csv()
    label(session, "ash/0.png", "oak")
    assert session.csv() != table
    label(session, "ash/0.png", "ash")
    assert session.csv() == table
    assert opened().csv() == table


def test_nothing_that_was_confirmed_is_lost(opened, drop, things):
    session = opened()
    corrected(session, drop, things.parent / "new")
    before, journal = session.board, session.journal.path
    with journal.open("ab") as file:
        file.write(b'{"do": "label", "ids": ["')  # as a kill leaves it
    (session.pictures / "cut.part").write_bytes(b"half")
    session = opened()
    assert session.board == before
    assert not list(session.pictures.glob("*.part"))
    (things / ".studio" / "features.safetensors").write_bytes(b"damaged")
    answers = [(key, row.answer) for key, row in session.answers()]
    assert [(key, row.answer) for key, row in opened().answers()] == answers


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"do": "later"}\n', b'{"do": "label", "ids": ["1"]}\n'])
def test_a_damaged_journal_is_refused_by_its_line(opened, line):
    opened().journal.path.write_bytes(b'{"do": "undo"}\n' + line)
    with pytest.raises(UserError, match="line 2 is damaged"):
        opened()


def test_the_folder_is_left_alone_until_a_plan_is_confirmed_and_goes_back(opened, drop, things):
    before = own(things)
    session = opened()
    corrected(session, drop, things.parent / "new")
    assert own(things) == before
    moves, labels = session.plan(), classes_of(session)
    assert len(moves) == 1 + 4 + 2
    assert {move.to.partition("/")[0] for move in moves} == {"ash", "larch", "yew"}
    assert not any("elm 5" in move.to for move in moves)  # names of uploads are no paths
    with pytest.raises(UserError, match="has changed"):
        session.apply("another plan")
    assert session.apply(plan_mark(moves)) == []
    after = own(things)
    assert sorted(after.values()) == sorted([*before.values(), *(after[m.to] for m in moves if m.of is None)])
    assert (session.plan(), classes_of(session)) == ([], labels)
    session = opened()
    assert (session.plan(), classes_of(session)) == ([], labels)
    assert session.undo_moves() == []
    assert own(things) == before
    assert classes_of(session) == labels
    assert session.plan() == moves
    with pytest.raises(UserError):
        session.undo_moves()


@pytest.mark.parametrize("undoing", [False, True])
def test_a_kill_while_files_are_moved_loses_no_label(opened, drop, things, monkeypatch, undoing):
    session = opened()
    corrected(session, drop, things.parent / "new")
    labels, moves, rename = classes_of(session), session.plan(), folders._rename
    if undoing:
        session.apply(plan_mark(moves))
    count = iter(range(9))

    def killed(of, to):
        if next(count) == 2:
            raise KeyboardInterrupt
        rename(of, to)

    monkeypatch.setattr(folders, "_rename", killed)
    with pytest.raises(KeyboardInterrupt):
        session.undo_moves() if undoing else session.apply(plan_mark(moves))
    monkeypatch.undo()
    session = opened()
    assert classes_of(session) == labels
    session.undo_moves()
    assert classes_of(session) == labels
    assert session.plan() == moves


def test_a_folder_that_was_away_comes_back_with_its_corrections(opened, things):
    session = opened()
    label(session, "oak/1.png", "ash")
    labels = classes_of(session)
    for name in ("ash", "elm", "oak"):
        (things / name).rename(things.parent / name)
    session.read_folder()
    assert session.view()["classes"] == []
    for name in ("ash", "elm", "oak"):
        (things.parent / name).rename(things / name)
    assert classes_of(opened()) == labels


def test_a_move_that_fails_changes_no_label(opened, things, monkeypatch):
    session = opened()
    label(session, "oak/1.png", "ash")
    labels, rename = classes_of(session), folders._rename

    def taken(of, to):
        to.write_bytes(b"mine")
        rename(of, to)

    monkeypatch.setattr(folders, "_rename", taken)
    assert "a file is there" in session.apply(plan_mark(session.plan()))[0]
    assert (things / "oak" / "1.png").exists()
    assert classes_of(session) == labels


def test_a_file_that_is_in_the_way_is_not_replaced(opened, things):
    session = opened()
    label(session, "oak/1.png", "ash")
    (things / "ash" / "1 (2).png").write_bytes(b"mine")
    session.apply(plan_mark(session.plan()))
    assert (things / "ash" / "1 (2).png").read_bytes() == b"mine"
    assert (things / "ash" / "1 (3).png").exists()


def test_a_file_moves_to_where_the_other_pictures_of_its_class_are(opened, things):
    for name in ("ash", "oak"):
        (things / name).rename(things / "images")
        (things / name).mkdir()
        (things / "images").rename(things / name / "images")
    session = opened()
    label(session, "oak/images/1.png", "ash")
    labels = classes_of(session)
    assert session.apply(plan_mark(session.plan())) == []
    assert len(list((things / "ash" / "images").iterdir())) == 5
    assert classes_of(session) == labels


def test_copies_of_a_picture_move_together_and_keep_its_correction(opened, things):
    shutil.copyfile(things / "ash" / "0.png", things / "ash" / "copy.png")
    session = opened()
    label(session, "ash/0.png", "elm")
    labels, before, moves = classes_of(session), own(things), session.plan()
    assert [move.of for move in moves] == ["ash/0.png", "ash/copy.png"]
    assert session.apply(plan_mark(moves)) == []
    assert (classes_of(session), session.plan()) == (labels, [])
    assert session.undo_moves() == []
    assert (classes_of(session), session.plan(), own(things)) == (labels, moves, before)


def test_a_copy_that_cannot_be_moved_leaves_the_correction(opened, things, monkeypatch):
    shutil.copyfile(things / "ash" / "0.png", things / "ash" / "copy.png")
    session = opened()
    label(session, "ash/0.png", "elm")
    labels, rename = classes_of(session), folders._rename

    def refused(of, to):
        if of.name == "copy.png":
            raise PermissionError(13, "not allowed")
        rename(of, to)

    monkeypatch.setattr(folders, "_rename", refused)
    assert len(session.apply(plan_mark(session.plan()))) == 1
    assert classes_of(opened()) == labels


@pytest.mark.parametrize("kind", [".jp2", ".mpo", ".png", ".tif"])
def test_a_dropped_picture_gets_an_ending_that_is_read(opened, drop, tmp_path, kind):
    Image.effect_noise((32, 32), 80).convert("RGB").save(tmp_path / f"one{kind}")
    session = opened()
    key = drop(session, tmp_path / f"one{kind}", to="ash")
    assert Path(session.plan()[0].to).suffix in EXTENSIONS
    session.apply(plan_mark(session.plan()))
    assert classes_of(session)[key] == "ash"


def test_grey_values_of_many_bits_are_read_as_if_together(opened, drop, network, tmp_path):
    random, files = np.random.default_rng(0), []
    for bits in (8, 12, 16, 10):
        values = random.integers(0, 2**bits, (16, 16)).astype(np.uint8 if bits == 8 else np.uint16)
        Image.fromarray(values).save(tmp_path / f"{bits}.png")
        files.append(tmp_path / f"{bits}.png")
    wanted = next(iter(PictureReader(network, files, Log(quiet=True)))).features
    session = opened(folder=None)
    keys = [drop(session, file) for file in files[:2]]
    session = opened(folder=None)
    keys += [drop(session, file) for file in files[2:]]
    assert torch.allclose(session.features.of(keys)[0], wanted, atol=1e-6)
    assert torch.allclose(opened(folder=None).features.of(keys)[0], wanted, atol=1e-6)


def test_a_picture_that_went_missing_can_be_dropped_again(opened, drop, things, tmp_path):
    session = opened()
    (things / "ash" / "0.png").rename(tmp_path / "0.png")
    session.read_folder()
    key = drop(session, tmp_path / "0.png", to="elm")
    session = opened()
    assert classes_of(session)[key] == "elm"
    assert session.path_of(key).exists()
    assert [move.of for move in session.plan()] == [None]


def test_what_cannot_be_read_is_named_and_leaves_nothing(opened, drop, things, tmp_path):
    session, files = opened(), tmp_path / "hostile"
    files.mkdir()
    hostile(files)
    before = contents(session.state)
    for path in sorted(files.iterdir()):
        if path.is_file():
            with pytest.raises(UserError, match="is not a readable image"):
                drop(session, path)
    assert contents(session.state) == before


def test_a_picture_in_two_classes_has_none_until_a_person_says(opened, things):
    shutil.copyfile(things / "ash" / "0.png", things / "elm" / "again.png")
    session = opened()
    assert session.board.new() == [key_of(session, "ash/0.png")]
    assert any("is the same picture as" in note for note in session.view()["notes"])
    label(session, "ash/0.png", "elm")
    assert not session.board.new()


def test_a_page_begins_empty_and_says_what_it_needs(opened, drop, things):
    session = opened(folder=None)
    assert "Two classes" in session.view()["missing"]
    with pytest.raises(UserError, match="Two classes"):
        session.save()
    drop(session, things / "ash" / "0.png", to="ash")
    drop(session, things / "elm" / "0.png", to="elm", name="../../elm.png")
    drop(session, things.parent / "new" / "elm 4.png")
    view = session.view()
    assert view["missing"] is None
    assert [one["name"] for one in view["classes"]] == ["ash", "elm"]
    assert {one["name"] for one in view["pictures"].values()} == {"0.png", "elm.png", "elm 4.png"}
    assert len(view["answers"]) == 1
    assert session.plan() == []


def test_the_classes_of_a_classifier_can_be_corrected_without_its_pictures(opened, network, things):
    support = fitted(network).support
    session = opened(folder=None, given=support)
    assert [len(one["pictures"]) for one in session.view()["classes"]] == [4, 3, 2]
    label(session, "ash/0.png", "elm")
    session = opened(folder=None, given=support)
    assert [len(one["pictures"]) for one in session.view()["classes"]] == [3, 4, 2]
    assert session.thumbnail(key_of(session, "ash/0.png")).kind == "png"


def test_a_classifier_that_was_fitted_again_brings_its_labels_but_for_those_corrected(opened, network):
    support = fitted(network).support
    session = opened(folder=None, given=support)
    label(session, "ash/0.png", "elm")
    names = [*support.names()]
    rows = [row for row, file in enumerate(support.files) if file != "ash/2.png"]
    names[support.files.index("ash/1.png")] = "oak"
    again = Support.of(support.features, names, support.files, support.prints).some(rows)
    counts = Counter(classes_of(opened(folder=None, given=again)).values())
    assert counts == {"ash": 1, "elm": 4, "oak": 3}
    assert Counter(classes_of(opened(folder=None)).values()) == counts


def test_pictures_of_a_classifier_are_not_lost_by_another_network(opened, network, things):
    support = fitted(network).support
    labels = classes_of(opened(folder=None, given=support))
    with pytest.raises(UserError, match="--state") as refused:
        opened(folder=None, network=embedder(variants=Variants(mirror=True)))
    assert "--classifier" in str(refused.value)
    assert classes_of(opened(folder=None, given=support)) == labels


def test_doubtful_labels_are_shown_until_they_are_kept(opened, monkeypatch):
    def doubting(classifier):
        rows = [classifier.views.files.index(name) for name in ("ash/2.png", "oak/1.png")]
        issues = [LabelIssue(row, place, 0.01, 1, 0.9) for row, place in zip(rows, (0, 2), strict=True)]
        return replace(self_assessment(classifier), label_issues=issues)

    monkeypatch.setattr(fitted_board, "self_assessment", doubting)
    session = opened()
    view = session.view()
    assert [(one["id"], one["label"], one["like"]) for one in view["doubts"]] == [
        (key_of(session, "ash/2.png"), "ash", "elm"),
        (key_of(session, "oak/1.png"), "oak", "elm"),
    ]
    session.change({"do": "keep", "ids": [key_of(session, "ash/2.png")]})
    assert [one["id"] for one in session.view()["doubts"]] == [key_of(session, "oak/1.png")]
    assert 0 <= view["low"] <= view["accuracy"] <= view["high"] <= 1
