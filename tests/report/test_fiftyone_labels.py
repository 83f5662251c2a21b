"""The labels for FiftyOne say of every picture's file what the ledger counted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mtl.config.schema import ScoredSet
from mtl.errors import UserError
from mtl.ledger.hard_images import HardImage, hardest_images
from mtl.ledger.store import Ledger
from mtl.ledger.task_history import solved_episodes
from mtl.report.fiftyone_labels import fiftyone_labels, write_fiftyone_labels

PHASE = "evaluate test 3-way 1-shot"


@pytest.mark.parametrize("phase", [None, PHASE])
def test_each_image_of_a_phase_is_there_by_its_file(whole_run, image_root, tmp_path, phase):
    out = tmp_path / "labels.json"
    write_fiftyone_labels(whole_run.path, out, phase, None)
    labels = json.loads(out.read_text())["labels"]
    with Ledger.read(whole_run.ledger) as ledger:
        wrong = hardest_images(ledger, phase or "meta-train", 10**6)
        first = (0,) if phase else range(99)  # of an evaluation, as for the tables
        solved = [e for e in solved_episodes(ledger) if e.phase == (phase or "meta-train")]
        episodes = [e for e in solved if e.round in first]
    assert all(Path(place).is_relative_to(image_root) and Path(place).is_file() for place in labels)
    assert all(label["label"] == Path(place).parent.name for place, label in labels.items())
    drawn = {i for e in episodes for part in (*e.support, *e.query) for i in part}
    figures = {label["attributes"]["image"]: label["attributes"] for label in labels.values()}
    assert (len(figures), set(figures)) == (len(labels), drawn)  # those never wrong as well
    assert len(wrong) < len(drawn)
    assert {i for i, of in figures.items() if of["wrong"]} == {row.image for row in wrong}
    assert {of["confused_with"] for of in figures.values() if not of["wrong"]} <= {None}
    for row in wrong:
        of = figures[row.image]
        assert (of["asked"], of["wrong"], of["confused_with"]) == (row.asked, row.wrong, row.taken_for)
        assert (of["supports"], of["unlucky_supports"]) == (row.supports, row.unlucky)
        assert of["hardness"] == pytest.approx(row.wrong / (row.asked + 1), abs=1e-4)
    write_fiftyone_labels(whole_run.path, out, phase, 3)
    assert list(json.loads(out.read_text())["labels"].items()) == list(labels.items())[:3]


@pytest.mark.parametrize(
    ("out", "phase", "words"),
    [(None, None, "--out"), ("x.txt", None, ".json"), ("x.json", "test", f'no phase "test".*"{PHASE}"')],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(whole_run, tmp_path, out, phase, words):
    with pytest.raises(UserError, match=words):
        write_fiftyone_labels(whole_run.path, out and tmp_path / out, phase, None)
    assert not [*tmp_path.iterdir()]


def test_pictures_are_found_below_the_root_of_their_set(tiny, tmp_path):
    for place in ("omniglot/images_background/A/c01/1.png", "photos/a/1.png"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    config = tiny(data={"root": str(tmp_path)})
    both = replace(config, data=replace(config.data, name="several", sets=("omniglot", "image_folder")))
    files = ("omniglot/images_background/A/c01/1.png", "image_folder/photos/a/1.png")
    rows = [HardImage(i, "c", 4, 2 - i, "d", 1, 0) for i in range(2)]
    places = [str(tmp_path / place) for place in (files[0], "photos/a/1.png")]
    assert [*fiftyone_labels(rows, files, both)["labels"]] == places
    turned = fiftyone_labels(rows, ["images_background/A/c01/1.png"] * 2, config)["labels"]
    assert [label["attributes"]["wrong"] for label in turned.values()] == [2]  # one file, its hardest class
    # Of two files of one name, that of the folder which the phase is about.
    for place in ("own/test/robin/1.png", "birds/test/robin/1.png"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    birds = ScoredSet("image_folder", str(tmp_path / "birds"))
    crossed = replace(
        config,
        data=replace(config.data, root=str(tmp_path / "own")),
        evaluate=replace(config.evaluate, sets=(birds,)),
    )
    for split, home in (("test", "own"), ("test birds", "birds")):
        labels = fiftyone_labels(rows[:1], ["test/robin/1.png"], crossed, split)["labels"]
        assert [*labels] == [str(tmp_path / home / "test/robin/1.png")]
    for rendered in ([], ["DejaVuSans.ttf/A/0"] * 2):
        with pytest.raises(UserError, match=r"not a file below .*glyphs"):
            fiftyone_labels(rows, rendered, config)
