"""`pretrain.epochs: 0`: the backbone as it is, validated, kept, and taken on by every later stage."""

import json

import pytest
import torch

from mtl.cli import main
from mtl.compare.runs import pretraining_cell
from mtl.errors import UserError
from mtl.evaluation.evaluate import evaluate
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain
from mtl.training.restore import fresh_backbone
from mtl.training.run_data import load_run_data

NONE = {"epochs": 0, "validate_tasks": 5}


def _lines(config, stage):
    lines = [json.loads(line) for line in RunFolder.of(config).metrics.read_text().splitlines()]
    return [line for line in lines if line["stage"] == stage]


@pytest.mark.parametrize("more", [{}, {"examples": {"by": "self_paced"}}, {"balance": {"by": "sampling"}}])
def test_the_checkpoint_is_the_backbone_as_it_is(tiny, more, capsys):
    config = tiny(pretrain={**NONE, **more})
    pretrain(config)
    folder = RunFolder.of(config)
    payload, run_data = checkpoints.read(folder.pretrain), load_run_data(config)
    fresh = fresh_backbone(config, run_data.splits.train).state_dict()
    assert payload["backbone"].keys() == fresh.keys()
    assert all(torch.equal(payload["backbone"][k], v) for k, v in fresh.items())
    assert "classifier" not in payload
    assert payload["step"] == 0
    assert payload["images"] == {"size": 16, "channels": 1, "ink": None, "levels": None}
    (line,) = _lines(config, "pretrain")
    assert (line["step"], line["epoch"]) == (0, 0)
    assert {k: line[k] for k in line if k.startswith("val_")} == payload["scores"]
    assert payload["mean"] == pytest.approx(sum(payload["scores"].values()) / 2)
    assert "pretrain: the backbone as it is: val 5-way 1-shot" in capsys.readouterr().err
    assert not folder.last.exists()
    assert not folder.curriculum.exists()


def test_it_is_left_and_refused_like_any_other(tiny, capsys):
    config = tiny(pretrain=NONE)
    pretrain(config)
    before = RunFolder.of(config).pretrain.read_bytes()
    pretrain(config, resume=True)
    assert "nothing is left to do" in capsys.readouterr().err
    assert RunFolder.of(config).pretrain.read_bytes() == before
    with pytest.raises(UserError, match="pretrain has ended there already"):
        pretrain(config)
    with pytest.raises(UserError, match=r"was made with pretrain\.epochs = 0, but the config now says 2"):
        pretrain(tiny(), resume=True)


def test_a_start_that_was_cut_off_writes_its_line_once(tiny, saved):
    config = tiny(pretrain=NONE)
    pretrain(config)
    folder = RunFolder.of(config)
    first = checkpoints.read(folder.pretrain)
    folder.pretrain.unlink()
    checkpoints.write(folder.last, {**saved[-1], "token": ""})
    pretrain(config, resume=True)
    assert len(_lines(config, "pretrain")) == 1
    assert checkpoints.read(folder.pretrain)["scores"] == first["scores"]


@pytest.mark.parametrize("algorithm", ["mtl", "maml"])
def test_meta_training_from_scratch(tiny, algorithm):
    if algorithm == "maml":
        pytest.importorskip("learn2learn")
    meta = {"algorithm": algorithm, "train": "all", "steps": 2, "inner_steps": 1}
    config = tiny(pretrain=NONE, meta=meta, evaluate={"settings": [[3, 1]], "tasks": 4})
    pretrain(config)
    meta_train(config)
    assert checkpoints.read(RunFolder.of(config).meta)["step"] in {0, 2}
    (setting,) = evaluate(config)
    assert setting.scores[0].name == f"meta-trained ({algorithm})"


def test_base_classes_are_not_scored_without_a_classifier(tiny):
    config = tiny(data={"probe_fraction": 0.5}, pretrain=NONE, evaluate={"tasks": 4})
    pretrain(config)
    evaluate(config)
    assert json.loads(RunFolder.of(config).results.read_text()).get("base_classes") is None
    cell = pretraining_cell(config, "none", load_run_data(config), choose_device(config.runtime))
    assert cell.seconds_per_step is None
    assert cell.images == 0
    assert not any(name.startswith("base classes") for name in cell.answers)
    assert [step for step, _ in cell.curve] == [0]


def test_the_report_of_such_a_run_is_written(tiny):
    config = tiny(pretrain=NONE, meta={"steps": 2}, evaluate={"settings": [[3, 1]], "tasks": 4})
    pretrain(config)
    assert main(["report", str(RunFolder.of(config).path)]) == 0
    assert RunFolder.of(config).report.exists()
