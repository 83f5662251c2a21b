"""What the loops write beside checkpoint and ledger: means in metrics.jsonl, events, lines for a person."""

import dataclasses
import json
import re
import sys

import numpy as np
import pytest
import torch

from mtl import cli
from mtl.config import Log, to_yaml
from mtl.ledger.store import Ledger
from mtl.runtime.process import Interrupted
from mtl.runtime.progress import Progress
from mtl.runtime.run_folder import RunFolder
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain

STAGES = {"pretrain": pretrain, "meta-train": meta_train}


@pytest.fixture
def steps(monkeypatch):
    """The numbers of each step, as the loops tell them."""
    seen, plain = [], Progress.step

    def step(self, **numbers):
        seen.append(numbers)
        plain(self, **numbers)

    monkeypatch.setattr(Progress, "step", step)
    return seen


@pytest.fixture
def ready(tiny, from_pretrained):
    """Makes the config of a tiny run that a stage can start with."""

    def make(stage, **sections):
        log = Log(**sections.pop("log", {}))
        config = dataclasses.replace(tiny(run=sections.pop("run", stage), **sections), log=log)
        if stage == "meta-train":
            from_pretrained(config)
        return config

    return make


def _lines(config):
    return [json.loads(line) for line in RunFolder.of(config).metrics.read_text().splitlines()]


@pytest.mark.parametrize("stage", STAGES)
def test_metrics_hold_the_means_since_the_line_before(ready, steps, stage):
    config = ready(stage)
    STAGES[stage](config)
    before = 0
    lines = [line for line in _lines(config) if line["step"]]
    assert len(lines) == 2
    for line in lines:
        since = steps[before : line["step"]]
        for name in ("loss", "accuracy"):
            values = [numbers[name] for numbers in since]
            assert len(set(values)) > 1
            assert line[name] == pytest.approx(np.mean(values), rel=1e-12)
        before = line["step"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_image_of_a_step_counts(ready, steps, stage):
    config = ready(stage)
    STAGES[stage](config)
    meta = config.meta
    if stage == "meta-train":
        assert {numbers["images"] for numbers in steps} == {
            meta.tasks * meta.way * (meta.shot + meta.queries)
        }
    else:
        assert {numbers["images"] for numbers in steps} == {config.pretrain.batch_size}


def test_hard_episodes_are_counted_over_interruptions(ready, steps, interrupt_at):
    config = ready("meta-train")
    interrupt_at({3, 6})
    for _ in range(2):
        with pytest.raises(Interrupted):
            meta_train(config, resume=True)
    meta_train(config, resume=True)
    with Ledger.read(RunFolder.of(config).ledger) as ledger:
        drawn = ledger.sql.execute(
            "SELECT step, total(origin = 'hard') FROM episode WHERE origin != 'meta-test' GROUP BY step"
        ).fetchall()
    total = 0
    for numbers, (_, hard) in zip(steps, drawn, strict=True):
        total += int(hard)
        assert numbers["hard"] == f"{total} (+{int(hard)})"
    assert 0 < total < 2 * len(steps)


def test_how_a_run_is_logged_may_change_while_it_goes_on(ready, interrupt_at):
    interrupt_at({2})
    with pytest.raises(Interrupted):
        pretrain(ready("pretrain"))
    pretrain(ready("pretrain", log={"quiet": True, "every_seconds": 0.5}), resume=True)


@pytest.mark.parametrize("stage", STAGES)
def test_quiet_stages_say_nothing(ready, stage, capfd):
    config = ready(stage, log={"quiet": True, "every_seconds": 0.0})
    STAGES[stage](config)
    STAGES[stage](config, resume=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stage", STAGES)
def test_stages_tell_how_they_fare(ready, stage, capfd):
    config = ready(stage, log={"every_seconds": 0.0})
    STAGES[stage](config)
    out, told = capfd.readouterr()
    assert out == ""
    hard, last = (r", hard \d+ \(\+\d\)", "round 0") if stage == "meta-train" else ("", "epoch 1")
    numbers = r"loss \d\.\d{3}, accuracy \d\.\d{3}, 0:\d\d left"
    assert re.search(rf"^{stage}: 2/8, {numbers}{hard}, {last}, [\d,]+ images/s$", told, re.M)
    for line in _lines(config) if stage == "pretrain" else ():
        assert f"loss {line['loss']:.3f}, base accuracy {line['accuracy']:.3f}, " in told


@pytest.fixture
def events(monkeypatch):
    """(step, value) of each scalar of a run, by its name, as TensorBoard reads them."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.summary.writer import event_file_writer as module

    monkeypatch.setattr(module, "_global_uid", type(module._global_uid)(0))  # files are read by name

    def read(config, stage):
        found = EventAccumulator(str(RunFolder.of(config).path / "tensorboard" / stage)).Reload()
        tags = found.Tags()["scalars"]
        assert all(tag.startswith(f"{stage}/") for tag in tags)
        return {
            tag.removeprefix(f"{stage}/"): [(e.step, e.value) for e in found.Scalars(tag)] for tag in tags
        }

    return read


def _single(value):
    """As float32, which event files hold."""
    return float(torch.tensor(value, dtype=torch.float32))


def _of_metrics(config):
    """(step, value) of each number of metrics.jsonl, by its name."""
    found = {}
    for line in _lines(config):
        for name in line.keys() - {"stage", "step"}:
            found.setdefault(name, []).append((line["step"], _single(line[name])))
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_event_files_hold_what_metrics_hold(ready, events, stage):
    config = ready(stage, log={"tensorboard": True})
    STAGES[stage](config)
    found = events(config, stage)
    wanted = _of_metrics(config)
    assert {name: found.pop(name) for name in wanted} == wanted
    of_rounds = {"epsilon", "alpha", "pool_accuracy", "hard_share"}
    assert found.keys() == (of_rounds if stage == "meta-train" else set())


def test_event_files_hold_every_round(ready, events):
    config = ready("meta-train", log={"tensorboard": True})
    meta_train(config)
    with Ledger.read(RunFolder.of(config).ledger) as ledger:
        rounds = ledger.sql.execute("SELECT step + 1, epsilon, alpha, accuracy, hard_share FROM round")
        wanted = zip(*([(row[0], _single(value)) for value in row[1:]] for row in rounds), strict=True)
    found = events(config, "meta-train")
    names = ("epsilon", "alpha", "pool_accuracy", "hard_share")
    assert [found[name] for name in names] == [list(one) for one in wanted]


def test_a_sampler_without_an_error_has_neither_error_nor_weight_in_event_files(ready, events):
    config = ready("meta-train", log={"tensorboard": True}, hard_tasks={"sampler": "posterior"})
    meta_train(config)
    found = events(config, "meta-train")
    assert found.keys() >= {"pool_accuracy", "hard_share"}
    assert not found.keys() & {"epsilon", "alpha"}


class Killed(BaseException):
    """Ends a process without a checkpoint."""


@pytest.mark.parametrize("stage", STAGES)
def test_event_files_of_a_resumed_run_are_those_of_one_that_never_stopped(
    ready, events, interrupt_at, monkeypatch, stage
):
    """Stopped with a checkpoint at step 3, then killed at steps 5 and 7: what came in between is dropped."""
    whole, stopped = (ready(stage, run=run, log={"tensorboard": True}) for run in ("whole", "stopped"))
    STAGES[stage](whole)
    interrupt_at({3})
    with pytest.raises(Interrupted):
        STAGES[stage](stopped)
    plain = Progress.step
    for end in (5, 7):

        def step(self, *, end=end, **numbers):
            plain(self, **numbers)
            if self.done == end:
                raise Killed

        monkeypatch.setattr(Progress, "step", step)
        with pytest.raises(Killed):
            STAGES[stage](stopped, resume=True)
    monkeypatch.setattr(Progress, "step", plain)
    STAGES[stage](stopped, resume=True)
    one, other = events(whole, stage), events(stopped, stage)
    assert one.pop("seconds") != other.pop("seconds")
    assert one == other
    assert _metrics(whole) == _metrics(stopped)


def _metrics(config):
    return [{key: value for key, value in line.items() if key != "seconds"} for line in _lines(config)]


@pytest.fixture
def not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)


@pytest.mark.parametrize("command", ["run", "pretrain", "meta-train", "compare"])
def test_a_missing_package_is_told_before_anything_is_written(command, tiny, not_installed, tmp_path, capsys):
    path = tmp_path / "some.yaml"
    path.write_text(to_yaml(tiny()))
    assert cli.main([command, "--config", str(path), "log.tensorboard=true"]) == 2
    assert capsys.readouterr().err == (
        "error: log.tensorboard: true: needs the package tensorboard, which is not installed; "
        "pip install tensorboard\n"
    )
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet_on_the_command_line_shows_results_and_errors_alone(flag, tiny, tmp_path, capfd):
    path = tmp_path / "some.yaml"
    path.write_text(to_yaml(tiny()))
    assert cli.main(["run", flag, "--config", str(path), "log.every_seconds=0"]) == 0
    out, told = capfd.readouterr()
    assert "3-way 1-shot" in out
    assert told == ""
    assert cli.main(["run", "--config", str(path), flag]) == 2
    assert "has ended there already" in capfd.readouterr().err
