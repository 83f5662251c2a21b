"""The folder of a run: a checkpoint and its record move together, wherever the process dies."""

import json

import pytest

from mtl.config import Config, load_config
from mtl.errors import UserError
from mtl.runtime import checkpoints, run_folder
from mtl.runtime.atomic import replace_text
from mtl.runtime.run_folder import Clock, Metrics, RunFolder

STAGE = "meta-train"


class Killed(Exception):
    """Stands for a kill -9: nothing after it happens."""


class Record:
    """A ledger of one number, which is what `commit` last made durable."""

    def __init__(self, dies=""):
        self.committed, self.dies = "", dies

    def commit(self, token):
        if self.dies == "before commit":
            raise Killed
        self.committed = token

    def token(self):
        return self.committed


def _state(step, stage=STAGE):
    return {**checkpoints.header(Config(), stage, ()), "step": step}


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "run")
    made.path.mkdir()
    return made


def test_a_run_lives_below_the_folder_of_checkpoints(tmp_path):
    config = load_config(None, [f"checkpoints={tmp_path}", "run=mine"])
    folder = RunFolder.of(config)
    assert folder.path == tmp_path / "mine"
    folder.write_config(config)
    assert load_config(folder.config) == config


def test_a_file_is_no_folder_of_a_run(tmp_path):
    (tmp_path / "things.fewshot").touch()
    with pytest.raises(
        UserError, match=r"things\.fewshot: is a file; a fitted classifier goes with --classif"
    ):
        RunFolder(tmp_path / "things.fewshot").read_config()


def test_what_was_saved_is_what_goes_on(folder):
    record = Record()
    folder.save(_state(5), record)
    folder.save(_state(9), record)
    assert folder.unfinished(STAGE, record)["step"] == 9
    assert record.token() == checkpoints.token(_state(9))
    assert not folder.next.exists()


def test_nothing_saved_starts_afresh(folder):
    assert folder.unfinished(STAGE, Record()) is None
    assert folder.unfinished("pretrain") is None


def test_the_checkpoint_of_another_stage_starts_afresh(folder):
    folder.save(_state(5, "pretrain"))
    assert folder.unfinished(STAGE, Record()) is None
    assert folder.unfinished("pretrain")["step"] == 5


def test_a_kill_after_the_commit_is_completed(folder, monkeypatch):
    record = Record()
    folder.save(_state(5), record)
    with monkeypatch.context() as patch:
        real = run_folder.os.replace

        def dies(source, target):
            if target == folder.last:
                raise Killed
            real(source, target)

        patch.setattr(run_folder.os, "replace", dies)
        with pytest.raises(Killed):
            folder.save(_state(9), record)
    assert record.token() == checkpoints.token(_state(9))
    assert checkpoints.read(folder.last)["step"] == 5
    assert folder.unfinished(STAGE, record)["step"] == 9
    assert checkpoints.read(folder.last)["step"] == 9
    assert not folder.next.exists()


def test_a_kill_before_the_commit_goes_back_to_the_step_of_the_record(folder):
    record = Record()
    folder.save(_state(5), record)
    record.dies = "before commit"
    with pytest.raises(Killed):
        folder.save(_state(9), record)
    assert folder.next.exists()
    assert folder.unfinished(STAGE, record)["step"] == 5
    assert not folder.next.exists()


def test_a_kill_before_the_first_commit_starts_afresh(folder):
    record = Record("before commit")
    with pytest.raises(Killed):
        folder.save(_state(5), record)
    assert folder.unfinished(STAGE, record) is None
    assert not folder.next.exists()


def test_without_a_record_a_checkpoint_counts_once_it_has_its_name(folder):
    folder.save(_state(5, "pretrain"))
    checkpoints.write(folder.next, {**_state(9, "pretrain"), "token": "pretrain 9"})
    assert folder.unfinished("pretrain")["step"] == 5
    assert not folder.next.exists()


def test_a_finished_stage_leaves_its_result_alone(folder):
    folder.save(_state(5), Record())
    folder.finish(STAGE, _state(9))
    assert [p.name for p in folder.path.iterdir()] == ["meta.pt"]
    assert folder.result_of(STAGE) == folder.meta
    assert folder.result_of("pretrain") == folder.pretrain


def test_an_empty_folder_is_not_refused(folder):
    folder.refuse_existing("pretrain")
    folder.refuse_existing(STAGE)
    RunFolder(folder.path / "not there").refuse_existing(STAGE)


def test_a_stage_that_has_ended_is_refused(folder):
    folder.finish("pretrain", _state(9, "pretrain"))
    with pytest.raises(UserError, match=r"run: pretrain has ended there already; --resume .* run=NAME"):
        folder.refuse_existing("pretrain")
    folder.refuse_existing(STAGE)


def test_a_stage_that_was_begun_is_refused(folder):
    folder.save(_state(5), Record())
    with pytest.raises(UserError, match=r"run: meta-train was begun there already; --resume .* run=NAME"):
        folder.refuse_existing(STAGE)
    folder.refuse_existing("pretrain")


def test_a_stage_killed_within_its_first_checkpoint_is_refused(folder):
    checkpoints.write(folder.next, {**_state(5), "token": "meta-train 5"})
    with pytest.raises(UserError, match="meta-train was begun there already"):
        folder.refuse_existing(STAGE)


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_are_a_line_each(tmp_path):
    metrics = Metrics(tmp_path / "m.jsonl", "pretrain", None)
    metrics.write(step=1, val=0.5)
    metrics.write(step=2, val=0.75)
    assert _lines(metrics.path) == [
        {"stage": "pretrain", "step": 1, "val": 0.5},
        {"stage": "pretrain", "step": 2, "val": 0.75},
    ]


def test_metrics_of_a_stage_that_goes_on_drop_what_came_after_its_checkpoint(tmp_path):
    before = Metrics(tmp_path / "m.jsonl", "pretrain", None)
    before.write(step=1)
    noted = before.size
    before.write(step=2)
    after = Metrics(tmp_path / "m.jsonl", "pretrain", noted)
    after.write(step=3)
    assert [line["step"] for line in _lines(after.path)] == [1, 3]


def test_metrics_that_are_shorter_than_noted_are_not_padded(tmp_path):
    Metrics(tmp_path / "m.jsonl", "pretrain", None).write(step=1)
    assert _lines(Metrics(tmp_path / "m.jsonl", "pretrain", 10_000).path) == [
        {"stage": "pretrain", "step": 1}
    ]


def test_metrics_of_a_new_stage_follow_those_of_the_last(tmp_path):
    Metrics(tmp_path / "m.jsonl", "pretrain", None).write(step=1)
    Metrics(tmp_path / "m.jsonl", "meta-train", None).write(step=1)
    assert [line["stage"] for line in _lines(tmp_path / "m.jsonl")] == ["pretrain", "meta-train"]


def test_a_clock_says_when_and_adds_up_earlier_sittings(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(run_folder.time, "monotonic", lambda: now[0])
    clock = Clock(60, elapsed=1000)
    now[0] = 159.0
    assert not clock.due()
    assert clock.elapsed == 1059
    now[0] = 160.0
    assert clock.due()
    assert not clock.due()
    now[0] = 220.0
    assert clock.due()
    assert clock.elapsed == 1120


def test_a_clock_of_no_interval_is_always_due():
    clock = Clock(0)
    assert clock.due()
    assert clock.due()


def test_a_text_is_replaced_whole(tmp_path):
    path = tmp_path / "a.txt"
    replace_text(path, "first, and long")
    replace_text(path, "ä")
    assert path.read_text(encoding="utf-8") == "ä"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_stage_that_starts_afresh_drops_the_lines_of_one_that_left_no_checkpoint(tmp_path):
    Metrics(tmp_path / "m.jsonl", "pretrain", None).write(step=1)
    Metrics(tmp_path / "m.jsonl", "meta-train", None).write(step=1)
    Metrics(tmp_path / "m.jsonl", "meta-train", None).write(step=2)
    lines = _lines(tmp_path / "m.jsonl")
    assert lines == [{"stage": "pretrain", "step": 1}, {"stage": "meta-train", "step": 2}]
