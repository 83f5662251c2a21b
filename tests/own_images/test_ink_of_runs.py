"""A run on signs of one ink answers signs of the other ink as if they had its own."""

import csv
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from mtl.cli import main
from mtl.config import Runtime, read_config
from mtl.own_images import classifier_file as file
from mtl.own_images.embedder import embedder_of_run
from mtl.own_images.estimator import FewShotClassifier
from mtl.own_images.export import about
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.training.pretrain import pretrain

WHY = "The network was trained on dark ink on a light ground"
RUNTIME = Runtime(device="cpu", threads=1, keep_memory=False)
SIDE, IMAGES = 32, 8


def sign(number: int, copy: int) -> Image.Image:
    """Two dark strokes on white: which ones follows from the number, where they end from the copy as well."""
    random, wobble = np.random.default_rng(number), np.random.default_rng((number, copy))
    image = Image.new("L", (SIDE, SIDE), 255)
    for _ in range(2):
        ends = random.integers(5, SIDE - 5, 4) + wobble.integers(-1, 2, 4)
        ImageDraw.Draw(image).line(ends.tolist(), 0, 2)
    return image


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """`set/{train,val,test}/<class>/*` and below `own` three classes: `things`, and `dark` and `light`."""
    home = tmp_path_factory.mktemp("signs")
    number = 0
    for part, classes in {"train": 12, "val": 5, "test": 6}.items():
        for c in range(classes):
            (home / "set" / part / f"{part}{c}").mkdir(parents=True)
            for copy in range(IMAGES):
                sign(number, copy).save(home / "set" / part / f"{part}{c}" / f"{copy}.png")
            number += 1
    for c, name in enumerate(("ash", "elm", "oak")):
        (home / "things" / name).mkdir(parents=True)
        for folder in ("dark", "light"):
            (home / folder).mkdir(exist_ok=True)
        for copy in range(4):
            image = sign(100 + c, copy)
            if copy < 2:
                image.save(home / "things" / name / f"{copy}.png")
            else:
                image.save(home / "dark" / f"{name}{copy}.png")
                ImageOps.invert(image).save(home / "light" / f"{name}{copy}.png")
    return home


@pytest.fixture(scope="module")
def signs_run(home):
    """A pretrained run on them."""
    tree = {
        "run": "signs",
        "checkpoints": str(home / "checkpoints"),
        "data": {"name": "image_folder", "root": str(home / "set"), "image_size": SIDE, "duplicates": "keep"},
        "backbone": {"channels": [4, 4, 8, 8]},
        "pretrain": {"epochs": 1, "batch_size": 32, "validate_tasks": 5},
        "meta": {"way": 3, "queries": 3},
        "evaluate": {"settings": [[3, 1]], "queries": 4},
        "runtime": {"device": "cpu", "threads": 1},
    }
    config = read_config(tree, "test")
    pretrain(config)
    return RunFolder.of(config)


def answers(path):
    with open(path, newline="", encoding="utf-8-sig") as table:
        return [{**row, "file": Path(row["file"]).name} for row in csv.DictReader(table)]


def asked(folder, home, out, query, *source):
    source = source or ("--run", str(folder.path), "--support", str(home / "things"))
    return main(["predict", *source, "--query", str(home / query), "--out", str(out), "-q"])


def test_pretraining_notes_the_ink_of_its_images(signs_run, whole_run):
    noted = checkpoints.read(signs_run.pretrain)["images"]["ink"]
    assert noted["light"] is False
    assert noted["ground"] == [255, 255, 255]
    assert checkpoints.read(whole_run.pretrain)["images"]["ink"] is None


def test_predict_answers_either_ink_alike_and_says_so(signs_run, home, tmp_path, capsys):
    assert asked(signs_run, home, tmp_path / "dark.csv", "dark") == 0
    assert WHY not in capsys.readouterr().err  # as in training: nothing is changed
    assert asked(signs_run, home, tmp_path / "light.csv", "light") == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(WHY)]
    assert len(said) == 1
    assert "of 6 pictures 6 were inverted" in said[0]
    assert answers(tmp_path / "light.csv") == answers(tmp_path / "dark.csv")


def test_a_fitted_classifier_keeps_the_ink(signs_run, home, tmp_path, capsys):
    kept = tmp_path / "signs.fewshot"
    support = ("--support", str(home / "things"))
    assert main(["fit", "--run", str(signs_run.path), *support, "--out", str(kept), "-q"]) == 0
    assert (
        file.load(kept, RUNTIME).embedder.preparation.ink
        == embedder_of_run(signs_run.path, RUNTIME).preparation.ink
    )
    for ink in ("dark", "light"):
        assert asked(None, home, tmp_path / f"{ink}.csv", ink, "--classifier", str(kept)) == 0
    assert answers(tmp_path / "light.csv") == answers(tmp_path / "dark.csv")
    assert WHY in capsys.readouterr().err
    told = about(file.load(kept, RUNTIME))["images"]
    assert told["ink"]["light"] is False
    assert any("invert" in step for step in told["prepare"])


def test_the_estimator_does_the_same(signs_run, home, caplog):
    support = sorted((home / "things").glob("*/*.png"))
    classifier = FewShotClassifier(signs_run.path, device="cpu").fit(
        support, [p.parent.name for p in support]
    )
    dark, light = (sorted((home / folder).iterdir()) for folder in ("dark", "light"))
    wanted = classifier.predict_proba(dark)
    with caplog.at_level(logging.WARNING):
        for images in (
            light,
            [Image.open(p) for p in light],
            np.stack([np.array(Image.open(p)) for p in light]),
        ):
            assert np.array_equal(classifier.predict_proba(images), wanted)
    assert sum(WHY in record.message for record in caplog.records) == 3
