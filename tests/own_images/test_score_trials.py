"""A run's error in one-shot trials, and where it is told."""

import json
import shutil
from dataclasses import replace

import pytest
from made_trials import made_trials, zipped
from PIL import ImageChops

from mtl import cli
from mtl.config import load_config
from mtl.data.ink import Ink
from mtl.data.one_shot_trials import read_trials
from mtl.errors import UserError
from mtl.evaluation.evaluate import evaluate
from mtl.own_images.embedder import embedder_of_run
from mtl.own_images.score_trials import error_in, score_trials
from mtl.report.write_report import report
from mtl.runtime.run_folder import RunFolder
from mtl.stats import mean_interval


@pytest.fixture
def run(whole_run, tmp_path):
    """A copy of the whole run, and its config."""
    shutil.copytree(whole_run.path, tmp_path / "runs" / "tiny")
    config = replace(whole_run.read_config(), checkpoints=str(tmp_path / "runs"))
    return RunFolder.of(config), config


def test_errors_are_counted_over_runs(run, tmp_path):
    folder, config = run
    files = made_trials(shake=0)  # every test drawing is its training drawing
    assert score_trials(config, zipped(tmp_path / "same.zip", files)).error == 0
    name = "run02/class_labels.txt"
    files[name] = files[name].replace(b"class0", b"class 0")  # each item gets the next training drawing
    for i in range(1, 6):
        files[name] = files[name].replace(b"class 0%d" % i, b"class0%d" % (i % 5 + 1))
    found = score_trials(config, zipped(tmp_path / "wrong.zip", files))
    assert found.runs == {"run01": 0, "run02": 1, "run03": 0}
    assert (found.error, found.interval) == mean_interval([0, 1, 0])
    assert (found.trials, found.way) == (15, 5)
    assert json.loads(folder.results.read_text())["trials"]["runs"] == found.runs


def test_drawings_get_the_ink_of_the_training_images(run, tmp_path):
    embedder = embedder_of_run(run[0].path)
    first = read_trials(zipped(tmp_path / "x.zip", made_trials()))[0]
    spread = (100.0, 120.0, 140.0)
    ink = Ink(True, (0.0, 0.0, 0.0), spread, 5.0, (0.5, 0.7, 0.9), 0.0, (16, 105))
    inked, changes = replace(embedder, preparation=replace(embedder.preparation, ink=ink)), []
    error_in(first, inked, changes)
    assert [change.inverted for change in changes] == [True] * 10
    white = replace(first, training=tuple(map(ImageChops.invert, first.training)))
    assert error_in(white, inked, []) == error_in(first, inked, [])


def test_results_and_report_keep_them_beside_the_settings(run, tmp_path, capsys):
    folder, config = run
    before = json.loads(folder.results.read_text())
    place = zipped(tmp_path / "all_runs.zip", made_trials())
    options = ["--config", str(folder.config), "--trials", str(place), f"checkpoints={config.checkpoints}"]
    assert cli.main(["evaluate", *options]) == 0
    shown = capsys.readouterr().out
    assert all(fact in shown for fact in ("15 in 3 runs, 5-way", "people 4.5 %", "3.3 %"))
    after = json.loads(folder.results.read_text())
    assert after == before | {"trials": after["trials"]}
    evaluate(replace(load_config(folder.config), checkpoints=config.checkpoints))
    assert json.loads(folder.results.read_text()) == after
    assert shown.strip() in report([folder.path]).read_text("utf-8")


def test_nothing_pretrained_is_said_first(tiny, tmp_path, capsys):
    with pytest.raises(UserError, match="pretrain comes first"):
        score_trials(tiny(), tmp_path / "no.zip")
    assert not (tmp_path / "checkpoints").exists()
