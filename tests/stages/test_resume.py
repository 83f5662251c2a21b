"""Stopping and going on gives what never stopping gives: weights and ledger, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtl.config import to_yaml
from mtl.errors import UserError
from mtl.hard_tasks.canonical import dump
from mtl.hard_tasks.ledger import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.interrupt import Interrupted
from mtl.runtime.run_folder import RunFolder
from mtl.stages.meta_train import meta_train
from mtl.stages.pretrain import pretrain

ENTRY = Path(__file__).parents[2] / "run_meta.py"


def _result(path: Path) -> dict:
    """A stage's result without what may differ: how long it took, and what the run is called."""
    payload = checkpoints.read(path)
    return {k: v for k, v in payload.items() if k not in {"seconds", "config"}}


def _ledger(folder: RunFolder) -> list[str]:
    with Ledger.read(folder.ledger) as ledger:
        return list(dump(ledger))


def _metrics(folder: RunFolder) -> list[str]:
    import json

    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    return [json.dumps({k: v for k, v in row.items() if k != "seconds"}) for row in rows]


def _until_done(stage, config) -> int:
    """Runs a stage, resuming after every interruption; how often it was interrupted."""
    interrupted = 0
    while True:
        try:
            stage(config, resume=True)
        except Interrupted:
            interrupted += 1
        else:
            return interrupted


@pytest.mark.parametrize("stops", [{1}, {2, 3}, {8}, {1, 2, 3, 4, 5, 6, 7, 8}])
def test_pretraining_goes_on_exactly(tiny, interrupt_at, same, stops):
    whole, stopped = tiny(run="whole"), tiny(run="stopped")
    pretrain(whole)
    interrupt_at(stops)
    assert _until_done(pretrain, stopped) == len(stops)
    one, other = RunFolder.of(whole), RunFolder.of(stopped)
    assert same(_result(one.pretrain), _result(other.pretrain))
    assert _metrics(one) == _metrics(other)
    assert not other.last.exists()


SAMPLERS = [
    {"sampler": "boosted", "unit": "task"},
    {"sampler": "boosted", "unit": "class"},
    {"sampler": "boosted", "unit": "pair"},
    {"sampler": "meta_batch", "collect": 2, "hard": 3},
    {"sampler": "uniform"},
]


@pytest.mark.parametrize("hard_tasks", SAMPLERS, ids=lambda h: "-".join(map(str, h.values())))
def test_meta_training_goes_on_exactly(tiny, from_pretrained, interrupt_at, same, hard_tasks):
    whole, stopped = (tiny(run=r, hard_tasks=hard_tasks) for r in ("whole", "stopped"))
    for config in (whole, stopped):
        from_pretrained(config)
    meta_train(whole)
    interrupt_at({1, 3, 4, 7})
    assert _until_done(meta_train, stopped) == 4
    one, other = RunFolder.of(whole), RunFolder.of(stopped)
    assert same(_result(one.meta), _result(other.meta))
    assert _ledger(one) == _ledger(other)
    assert _metrics(one) == _metrics(other)


def test_weights_of_units_go_on_exactly(tiny, from_pretrained, saved, interrupt_at, same):
    whole, stopped = tiny(run="whole"), tiny(run="stopped")
    for config in (whole, stopped):
        from_pretrained(config)
    meta_train(whole)
    interrupt_at({2, 5})
    _until_done(meta_train, stopped)
    last = [p for p in saved if p["step"] == 8]
    assert len(last) == 2
    assert same(last[0]["sampler"], last[1]["sampler"])
    assert same(last[0]["optimizer"], last[1]["optimizer"])


@pytest.mark.parametrize("algorithm", ["maml", "anil", "meta_sgd"])
def test_other_algorithms_go_on_exactly(tiny, from_pretrained, interrupt_at, same, algorithm):
    pytest.importorskip("learn2learn", reason="learn2learn is not installed", exc_type=ImportError)
    meta = {"algorithm": algorithm, "steps": 4, "inner_steps": 2, "batch_norm": "episode"}
    settings = {"settings": [[3, 1]]}
    whole, stopped = (tiny(run=r, meta=meta, evaluate=settings) for r in ("whole", "stopped"))
    for config in (whole, stopped):
        from_pretrained(config)
    meta_train(whole)
    interrupt_at({2})
    assert _until_done(meta_train, stopped) == 1
    assert same(_result(RunFolder.of(whole).meta), _result(RunFolder.of(stopped).meta))
    assert _ledger(RunFolder.of(whole)) == _ledger(RunFolder.of(stopped))


def test_a_run_is_not_overwritten_and_not_resumed_under_another_config(tiny, interrupt_at):
    config = tiny()
    pretrain(config)
    with pytest.raises(UserError, match="pretrain has ended there already; --resume goes on"):
        pretrain(config)
    before = RunFolder.of(config).pretrain.read_bytes()
    pretrain(config, resume=True)
    assert RunFolder.of(config).pretrain.read_bytes() == before
    with pytest.raises(UserError, match=r"made with pretrain\.epochs = 2, but the config now says 3"):
        pretrain(tiny(pretrain={"epochs": 3}), resume=True)
    interrupt_at({2})
    with pytest.raises(Interrupted, match="after step 2 of 8"):
        meta_train(config)
    with pytest.raises(UserError, match="meta-train was begun there already"):
        meta_train(config)
    with pytest.raises(UserError, match=r"made with meta\.lr = 0\.001"):
        meta_train(tiny(meta={"lr": 0.5}), resume=True)


def test_kill_9_at_any_moment_loses_nothing_that_was_saved(tiny, tmp_path, same):
    """The run that goes on after kills ends bit-identical to one that was never killed, ledger included."""
    sections = {"pretrain": {"epochs": 6}, "meta": {"steps": 60}, "runtime": {"checkpoint_seconds": 0.05}}
    files = {}
    for run in ("whole", "killed"):
        files[run] = tmp_path / f"{run}.yaml"
        files[run].write_text(to_yaml(tiny(run=run, **sections)))

    def start(run: str) -> subprocess.Popen:
        command = [sys.executable, str(ENTRY), "run", "--config", str(files[run]), "--resume"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    with start("whole") as process:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    folder = RunFolder(tmp_path / "checkpoints" / "killed")
    wait_for = [folder.last, folder.last, folder.pretrain, folder.ledger, folder.ledger]
    delays = [0.0, 0.07, 0.2, 0.4, 0.9]
    kills = 0
    for awaited, delay in zip(wait_for, delays, strict=True):
        with start("killed") as process:
            limit = time.monotonic() + 120
            while not awaited.exists() and process.poll() is None and time.monotonic() < limit:
                time.sleep(0.005)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
        for path in (folder.last, folder.pretrain, folder.meta):
            if path.exists():
                checkpoints.read(path)
    assert kills >= 3
    with start("killed") as process:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    one, other = RunFolder(tmp_path / "checkpoints" / "whole"), folder
    assert same(_result(one.pretrain), _result(other.pretrain))
    assert same(_result(one.meta), _result(other.meta))
    assert _ledger(one) == _ledger(other)
    assert _metrics(one) == _metrics(other)
    assert not [p for p in os.listdir(other.path) if p.endswith((".tmp", ".next"))]


def test_a_loss_that_is_not_finite_stops_with_a_sentence(tiny):
    from mtl.errors import RunStopped

    config = tiny(pretrain={"lr": 1e30, "warm_up": 0.0})
    with pytest.raises(
        RunStopped, match=r"pretrain: the loss is .* at step \d+; the likely cause .*pretrain\.lr"
    ):
        pretrain(config)
    assert not RunFolder.of(config).pretrain.exists()
