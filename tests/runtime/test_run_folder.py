"""The folder of a run: a checkpoint and its record move together, wherever the process dies."""

import contextlib
import json
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch

from mtl.config import Config, load_config
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.errors import UserError
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints, run_folder
from mtl.runtime.run_folder import Clock, Metrics, RunFolder

STAGE = "meta-train"


class Record:
    """A ledger of one number, which is what `commit` last made durable."""

    committed = ""

    def commit(self, token):
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
    with pytest.raises(UserError, match=r"things\.fewshot: is a file; .* --classifier"):
        RunFolder(tmp_path / "things.fewshot").read_config()


def test_what_was_saved_is_what_goes_on(folder):
    record = Record()
    folder.save(_state(5), record)
    folder.save(_state(9), record)
    assert folder.unfinished(STAGE, record)["step"] == 9
    assert record.token() == checkpoints.token(_state(9))
    assert not folder.next.exists()


def test_nothing_saved_or_the_checkpoint_of_another_stage_starts_afresh(folder):
    assert folder.unfinished(STAGE, Record()) is None
    folder.save(_state(5, "pretrain"))
    assert folder.unfinished(STAGE, Record()) is None
    assert folder.unfinished("pretrain")["step"] == 5


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


def test_the_folder_is_held_by_one_process_alone(folder):
    with folder.held("run"), folder.held("pretrain"):
        refused = _in_a_thread(lambda: folder.held("evaluate").__enter__())
    assert isinstance(refused, UserError)
    for part in (str(folder.path), f"process {os.getpid()}", "(run, "):
        assert part in str(refused)
    with folder.held("evaluate"):
        pass


def _in_a_thread(enter):
    """The error of a call in another thread, to which a lock is as it is to another process."""
    errors = []

    def call():
        try:
            enter()
        except UserError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(30)
    return errors[0]


def test_a_folder_into_which_nothing_came_is_not_left_behind(tmp_path):
    for make in (False, True):
        folder = RunFolder(tmp_path / "checkpoints" / "run")
        with contextlib.suppress(UserError), folder.held("pretrain"):
            assert folder.path.is_dir()
            if make:
                folder.config.touch()
            raise UserError("no such image set")
        assert (tmp_path / "checkpoints").exists() == make
    assert folder.config.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    refused = RunFolder(tmp_path / "file" / "run")
    with pytest.raises(UserError, match="can be written"), refused.held("run"):
        pass


def test_what_kills_left_is_removed_by_whoever_holds_the_folder_next(folder):
    folder.save(_state(8), Record())
    folder.report.with_name(".report.html.12345678.tmp").touch()  # of a report that is being written
    checkpoints.write(folder.meta, _state(8))  # as `finish` does, killed before it removes last.pt
    for left in (".last.pt.next.12345678.tmp", ".config.yaml.12345678.tmp"):
        (folder.path / left).touch()
    with folder.held("evaluate"):
        pass
    assert {p.name for p in folder.path.iterdir()} == {"meta.pt", ".report.html.12345678.tmp"}


def test_the_checkpoint_of_a_stage_that_has_not_ended_stays(folder):
    checkpoints.write(folder.pretrain, _state(9, "pretrain"))
    folder.save(_state(8), Record())
    with folder.held("run"):
        assert folder.unfinished(STAGE)["step"] == 8
    folder.last.write_bytes(b"damaged")
    with folder.held("run"):
        assert folder.last.exists()


@pytest.mark.parametrize(
    "token", ["", "meta-train 5", checkpoints.token(_state(5)), checkpoints.token(_state(9))]
)
def test_a_record_that_is_not_the_one_of_the_checkpoint_is_refused_and_left_as_it_is(folder, token):
    record = Record()
    folder.save(_state(7), record)
    record.committed = token
    checkpoints.write(folder.next, {**_state(8), "token": "meta-train 8"})
    before = sorted(p.name for p in folder.path.iterdir())
    with pytest.raises(UserError) as caught:
        folder.unfinished(STAGE, record)
    saved = checkpoints.token(_state(7))
    for part in ("hard_tasks.sqlite", f'"{token}"', saved, "log.allow_gaps=true", "last.pt"):
        assert part in str(caught.value)
    assert sorted(p.name for p in folder.path.iterdir()) == before
    assert folder.unfinished(STAGE, record, gaps=True)["step"] == 7


def test_a_token_tells_runs_apart_that_compute_different_things_and_no_others():
    def token(*overrides):
        return checkpoints.token({**_state(5), **checkpoints.header(load_config(None, overrides), STAGE, ())})

    assert token() == token("run=other", "data.root=elsewhere", "log.quiet=true", "evaluate.tasks=7")
    assert len({token(), token("seed=1"), token("data.rotations=true"), token("meta.lr=0.5")}) == 4


@pytest.mark.parametrize("keep", [None, 0, 30])
def test_metrics_that_lost_lines_are_refused(folder, keep):
    metrics = Metrics(folder.metrics, STAGE, None)
    metrics.write(step=5, val=0.5)
    folder.save({**_state(5), "metrics": metrics.size})
    assert folder.unfinished(STAGE)["step"] == 5
    text = folder.metrics.read_bytes()
    folder.metrics.unlink() if keep is None else folder.metrics.write_bytes(text[:keep])
    with pytest.raises(UserError, match=rf"metrics\.jsonl: .*{keep or 0} of {len(text)} bytes.*allow_gaps"):
        folder.unfinished(STAGE)
    assert folder.unfinished(STAGE, gaps=True)["step"] == 5


def test_a_result_made_with_another_config_than_the_recorded_one_is_refused(folder):
    folder.write_config(Config(seed=5))
    payload = checkpoints.header(Config(seed=3), "pretrain", ())
    with pytest.raises(UserError, match=r"pretrain\.pt: was made with seed = 3, but .*config\.yaml says 5"):
        folder.require_recorded(payload)
    folder.require_recorded(checkpoints.header(load_config(None, ["seed=5", "meta.lr=0.7"]), "pretrain", ()))


@pytest.fixture
def states(folder, tmp_path, monkeypatch):
    """Copies of the folder before each change of a file, as a kill would leave it; a call that ends them."""
    seen = []

    def shot():
        copy = tmp_path / f"state {len(seen)}"
        shutil.copytree(folder.path, copy)
        seen.append(RunFolder(copy))

    def noting(real):
        def call(*given, **more):
            shot()
            return real(*given, **more)

        return call

    for place, name in ((os, "replace"), (os, "fsync"), (os, "unlink"), (Path, "unlink"), (Ledger, "commit")):
        monkeypatch.setattr(place, name, noting(getattr(place, name)))

    def end():
        monkeypatch.undo()
        shot()
        return list(seen)

    return seen, end


def test_killed_at_any_moment_checkpoint_and_ledger_are_at_one_step(folder, states):
    _, end = states
    with Ledger.open(folder.ledger) as ledger:
        for step in (1, 2, 3):
            _append(ledger, step)
            folder.save(_state(step), ledger)
    steps = []
    for left in end():
        with left.held("meta-train"), Ledger.open(left.ledger) as ledger:
            found = left.unfinished(STAGE, ledger)
            steps.append(0 if found is None else found["step"])
            if found is not None:
                assert ledger.token() == found["token"]
                assert ledger.phase(STAGE).episodes == found["step"]
                assert ledger.last_step(STAGE) == found["step"] - 1
            assert {p.name for p in left.path.iterdir()} <= {
                *(".lock", ".lock.by", "last.pt"),
                *(left.ledger.name + ending for ending in ("", "-wal", "-shm")),
            }
    assert steps == sorted(steps)
    assert set(steps) == {0, 1, 2, 3}
    assert len(steps) > 15


def test_killed_while_a_stage_ends_it_has_ended_or_goes_on(folder, states):
    seen, end = states
    record = Record()
    folder.save(_state(9), record)
    before = len(seen)
    folder.finish(STAGE, _state(9))
    ends = end()[before:]
    for left in ends:
        with left.held("run"):
            assert left.meta.exists() != left.last.exists()
            assert left.meta.exists() or left.unfinished(STAGE, record)["step"] == 9
    assert [left.meta.exists() for left in ends] == sorted(left.meta.exists() for left in ends)
    assert {left.meta.exists() for left in ends} == {False, True}


def _append(ledger, step):
    images = torch.arange(4).reshape(1, 2, 2)
    batch = EpisodeBatch(torch.tensor([[0, 1]]), images[..., :1], images[..., 1:], ("uniform",), (0,))
    ledger.append(STAGE, 0, step - 1, batch, Outcome.of(torch.eye(2)[None], 2, 1), "train")


def test_a_stage_that_has_ended_or_was_begun_is_refused(folder):
    RunFolder(folder.path / "not there").refuse_existing(STAGE)
    folder.refuse_existing("pretrain")
    folder.finish("pretrain", _state(9, "pretrain"))
    with pytest.raises(UserError, match=r"run: pretrain has ended there already; --resume .* run=NAME"):
        folder.refuse_existing("pretrain")
    folder.refuse_existing(STAGE)
    checkpoints.write(folder.next, {**_state(5), "token": "meta-train 5"})  # killed within its first
    for _ in range(2):
        with pytest.raises(UserError, match=r"run: meta-train was begun there already; --resume .* run=NAME"):
            folder.refuse_existing(STAGE)
        folder.save(_state(5), Record())


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_of_a_stage_that_goes_on_drop_what_came_after_its_checkpoint(tmp_path):
    before = Metrics(tmp_path / "m.jsonl", "pretrain", None)
    before.write(step=1)
    noted = before.size
    before.write(step=2)
    after = Metrics(tmp_path / "m.jsonl", "pretrain", noted)
    after.write(step=3, val=0.5)
    lines = [{"stage": "pretrain", "step": 1}, {"stage": "pretrain", "step": 3, "val": 0.5}]
    assert _lines(after.path) == lines
    assert _lines(Metrics(after.path, "pretrain", 10_000).path) == lines  # not padded to what was noted


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
    always = Clock(0)
    assert always.due()
    assert always.due()


def test_a_stage_that_starts_afresh_drops_the_lines_of_one_that_left_no_checkpoint(tmp_path):
    Metrics(tmp_path / "m.jsonl", "pretrain", None).write(step=1)
    Metrics(tmp_path / "m.jsonl", "meta-train", None).write(step=1)
    Metrics(tmp_path / "m.jsonl", "meta-train", None).write(step=2)
    lines = _lines(tmp_path / "m.jsonl")
    assert lines == [{"stage": "pretrain", "step": 1}, {"stage": "meta-train", "step": 2}]
