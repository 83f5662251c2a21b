import dataclasses
import json

import pytest
import torch
import yaml

from mtl.config import Config, Data, Meta
from mtl.errors import UserError
from mtl.report.run_files import at_home, config_text, environment, facts, progress, read_run
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder

SETTING = {
    "set": None,
    "split": "test",
    "way": 5,
    "shot": 1,
    "queries": 15,
    "tasks": 2,
    "scores": [],
    "resampled": None,
    "recall_intervals": "over tasks",
}
SCORE = {
    "name": "meta-trained (mtl)",
    "accuracy": 0.5,
    "interval": 0.1,
    "percentile_5": 0.3,
    "difference": None,
    "difference_interval": None,
    "class_recall": {"ant": [0.5, 0.4, 0.6]},
    "task_accuracy": [0.4, 0.6],
}


@pytest.fixture
def folder(tmp_path):
    config = Config(run="a", checkpoints=str(tmp_path), meta=Meta(steps=300))
    folder = RunFolder.of(config)
    folder.write_config(config)
    return folder, config


def _ends(folder, config, stage):
    payload = {**checkpoints.header(config, stage, ("x",)), "step": 12, "seconds": 75.4}
    checkpoints.write(folder.result_of(stage), payload)


def test_a_run_that_has_only_begun_says_so(folder):
    run = read_run(folder[0].path)
    assert progress(run) == "No stage has ended."
    assert (run.metrics, run.results, run.base) == ([], [], None)
    assert dict(facts(run))["Image set"] == "glyphs"


def test_an_interrupted_run_says_where_it_stands(folder):
    files, config = folder
    _ends(files, config, "pretrain")
    checkpoints.write(files.last, {**checkpoints.header(config, "meta-train", ("x",)), "step": 120})
    run = read_run(files.path)
    assert progress(run) == ("Pretrained. Meta-train is at step 120 of 300: interrupted, or still going on.")
    assert dict(facts(run))["Time of pretrain"] == "1 min 15 s, best at step 12"
    assert dict(environment(run))["Torch"] == str(torch.__version__)


def test_a_whole_run_is_told_in_one_sentence(folder):
    files, config = folder
    for stage in ("pretrain", "meta-train"):
        _ends(files, config, stage)
    files.results.write_text(json.dumps({"run": "a", "settings": [SETTING], "base": None}))
    assert progress(read_run(files.path)) == "Pretrained, meta-trained, evaluated."


@pytest.mark.parametrize(
    "results",
    [
        {"settings": [{"way": 5}]},
        {"settings": {"way": 5}},
        {"settings": [SETTING | {"scores": [{"name": "meta-trained"}]}]},
        *(
            {"settings": [SETTING | {"scores": [SCORE | {"task_accuracy": a}]}]}
            for a in ([], [None], [10**400])
        ),
        {"settings": 3},
        {"settings": [{k: v for k, v in SETTING.items() if k != "recall_intervals"}]},
        [],
    ],
)
def test_results_that_are_none_are_named(folder, results):
    files, _ = folder
    files.results.write_text(json.dumps(results))
    with pytest.raises(UserError, match=r"results\.json: is damaged \("):
        read_run(files.path)


@pytest.mark.parametrize(
    ("sampler", "told_of"),
    [("uniform", "none: tasks are drawn evenly"), ("boosted_pool", "boosted pool, share 0.5")],
)
def test_what_was_done_about_hard_tasks_is_progress(folder, sampler, told_of):
    run = read_run(folder[0].path)
    hard = dataclasses.replace(run.config.hard_tasks, sampler=sampler, share=0.5)
    changed = dataclasses.replace(run, config=dataclasses.replace(run.config, hard_tasks=hard))
    assert dict(facts(changed))["Hard tasks"] == told_of


def test_lines_of_metrics_that_are_unfinished_or_no_measurement_are_skipped(folder):
    files, _ = folder
    line = b'{"stage": "pretrain", "step": 1}\n'
    files.metrics.write_bytes(line + b'\xff\xfe bad\n[1, 2]\n{"stage": "pre')
    assert read_run(files.path).metrics == [{"stage": "pretrain", "step": 1}]


def test_the_config_is_shown_without_what_other_commands_use(folder):
    tree = yaml.safe_load(config_text(read_run(folder[0].path).config))
    assert tree["meta"]["steps"] == 300
    assert "compare" not in tree


def test_a_folder_that_is_no_run_is_refused_and_its_neighbours_named(folder):
    files, _ = folder
    for other in (files.path.with_name("b"), files.path.parent):
        with pytest.raises(UserError, match=f"holds: {files.path.name}$"):
            read_run(other)


def test_damaged_results_are_named(folder):
    files, _ = folder
    files.results.write_text("{")
    with pytest.raises(UserError, match=r"results.json: cannot be read"):
        read_run(files.path)


def test_relative_images_are_found_from_where_the_run_was_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config(run="a", checkpoints="runs/mine", data=Data(root="photos"))
    folder = tmp_path / "runs" / "mine" / "a"
    folder.mkdir(parents=True)
    assert at_home(config, folder) == config  # no such images
    (tmp_path / "photos").mkdir()
    assert at_home(config, folder).data.root == str(tmp_path / "photos")
    moved = tmp_path / "elsewhere" / "a"
    moved.mkdir(parents=True)
    assert at_home(config, moved) == config
    assert at_home(config, moved, ["", str(tmp_path)]).data.root == str(tmp_path / "photos")
    assert checkpoints.header(config, "pretrain", ())["made_in"] == str(tmp_path)
    absolute = dataclasses.replace(config, data=Data(root=str(tmp_path)))
    assert at_home(absolute, folder) == absolute


def test_the_checkpoint_that_a_kill_left_of_an_ended_stage_is_no_unfinished_one(folder):
    files, config = folder
    for stage in ("pretrain", "meta-train"):
        _ends(files, config, stage)
    checkpoints.write(files.last, {**checkpoints.header(config, "meta-train", ("x",)), "step": 300})
    assert progress(read_run(files.path)) == "Pretrained, meta-trained."
