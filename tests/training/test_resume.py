"""Stopping and going on gives what never stopping gives: weights and ledger, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from elsewhere import in_another_thread
from ledger_digest import dump
from PIL import Image, ImageOps

from mtl.config import to_yaml
from mtl.errors import RunStopped, UserError
from mtl.evaluation.evaluate import evaluate
from mtl.evaluation.evaluate import run as all_stages
from mtl.ledger.store import Ledger
from mtl.own_images.embedder import embedder_of_run
from mtl.runtime import checkpoints
from mtl.runtime.process import Interrupted
from mtl.runtime.run_folder import RunFolder
from mtl.training.curriculum import read
from mtl.training.meta_train import meta_train
from mtl.training.pretrain import pretrain

ENTRY = Path(__file__).parents[2] / "run_meta.py"


def _result(path: Path) -> dict:
    """A stage's result without what may differ: how long it took, and what the run is called."""
    payload = checkpoints.read(path)
    return {k: v for k, v in payload.items() if k not in {"seconds", "config"}}


def _ledger(folder: RunFolder) -> list[str]:
    with Ledger.read(folder.ledger) as ledger:
        return list(dump(ledger))


def _metrics(folder: RunFolder) -> list[str]:
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


SELF_PACED = {"pretrain": {"batch_size": 24, "examples": {"by": "self_paced", "part": 0.4, "growth": 0.2}}}


@pytest.mark.parametrize(
    ("sections", "stops"), [({}, set(range(1, 9))), (SELF_PACED, {2, 5, 9})], ids=["plain", "self-paced"]
)
def test_pretraining_goes_on_exactly(tiny, interrupt_at, same, sections, stops):
    """At every step, the last included; and in mid-epoch where the loss and a record remember the epoch."""
    whole, stopped = (tiny(run=run, **sections) for run in ("whole", "stopped"))
    pretrain(whole)
    interrupt_at(stops)
    assert _until_done(pretrain, stopped) == len(stops)
    one, other = RunFolder.of(whole), RunFolder.of(stopped)
    assert same(_result(one.pretrain), _result(other.pretrain))
    assert _metrics(one) == _metrics(other)
    assert not other.last.exists()
    assert one.curriculum.exists() == other.curriculum.exists() == (sections is SELF_PACED)
    if sections:
        assert torch.equal(read(one.curriculum).weights, read(other.curriculum).weights)


WAYS = {
    "boosted tasks": {"hard_tasks": {"boosted_pool": {"unit": "task"}, "objective": "cvar", "snapshots": 2}},
    "meta-batches": {"hard_tasks": {"sampler": "meta_batch", "meta_batch": {"collect": 2, "hard": 3}}},
    "features": {"hard_tasks": {"sampler": "neighbours", "every": 2}},
    "learners": {"meta": {"steps": 2, "learners": 4}, "hard_tasks": {"sampler": "boosted"}},
    "maml": {
        "meta": {"algorithm": "maml", "steps": 8, "inner_steps": 2, "batch_norm": "episode"},
        "evaluate": {"settings": [[3, 1]]},
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_meta_training_goes_on_exactly(tiny, from_pretrained, interrupt_at, saved, same, way):
    if way == "maml":
        pytest.importorskip("learn2learn", reason="learn2learn is not installed", exc_type=ImportError)
    whole, stopped = (tiny(run=r, **WAYS[way]) for r in ("whole", "stopped"))
    for config in (whole, stopped):
        from_pretrained(config)
    meta_train(whole)
    interrupt_at({1, 3, 4, 7})
    assert _until_done(meta_train, stopped) == 4
    one, other = RunFolder.of(whole), RunFolder.of(stopped)
    assert same(_result(one.meta), _result(other.meta))
    assert _ledger(one) == _ledger(other)
    assert _metrics(one) == _metrics(other)
    first, last = (payload for payload in saved if payload["step"] == 8)
    for part in (
        "learner",
        "optimizer",
        "sampler",
        "objective",
        "best",
        "alpha",
        "snapshots",
        "members",
        "hard",
    ):
        assert same(first[part], last[part]), part


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
    whole, file = tiny(run="whole", **sections), tmp_path / "killed.yaml"
    all_stages(whole)
    file.write_text(to_yaml(tiny(run="killed", **sections)))
    folder = RunFolder(tmp_path / "checkpoints" / "killed")

    def start() -> subprocess.Popen:
        command = [sys.executable, str(ENTRY), "run", "--config", str(file), "--resume"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def when_written(path: Path) -> int | None:
        with suppress(FileNotFoundError):
            return path.stat().st_mtime_ns
        return None

    # after a checkpoint of pretraining, between the stages, and after a checkpoint of meta-training
    for awaited, delay in ((folder.last, 0.0), (folder.pretrain, 0.03), (folder.last, 0.02)):
        before = when_written(awaited)
        with start() as process:
            limit = time.monotonic() + 120
            while when_written(awaited) == before and process.poll() is None and time.monotonic() < limit:
                time.sleep(0.005)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        for path in (folder.last, folder.pretrain, folder.meta):
            if path.exists():
                checkpoints.read(path)
    with start() as process:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    one, other = RunFolder.of(whole), folder
    assert same(_result(one.pretrain), _result(other.pretrain))
    assert same(_result(one.meta), _result(other.meta))
    assert _ledger(one) == _ledger(other)
    assert _metrics(one) == _metrics(other)
    assert not [p for p in os.listdir(other.path) if p.endswith((".tmp", ".next"))]


def test_a_loss_that_is_not_finite_stops_with_a_sentence(tiny):
    config = tiny(pretrain={"lr": 1e30, "warm_up": 0.0})
    with pytest.raises(
        RunStopped, match=r"pretrain: the loss is .* at step \d+; the likely cause .*pretrain\.lr"
    ):
        pretrain(config)
    assert not RunFolder.of(config).pretrain.exists()


@pytest.mark.parametrize(
    "stage", [all_stages, pretrain, meta_train, evaluate], ids=lambda stage: stage.__name__
)
def test_a_second_process_in_the_folder_of_a_run_is_refused_and_writes_nothing(tiny, from_pretrained, stage):
    config = tiny()
    folder = from_pretrained(config)
    with in_another_thread(lambda: folder.held("run")):
        before = sorted(folder.path.iterdir())
        with pytest.raises(
            UserError, match=rf"tiny: process {os.getpid()} on .* is writing into this folder"
        ):
            stage(tiny(seed=5))
        assert sorted(folder.path.iterdir()) == before


def _begun(stage, config, interrupt_at):
    interrupt_at({3})
    with pytest.raises(Interrupted):
        stage(config)
    return RunFolder.of(config)


def _changed(root: Path, to: Path, change: str) -> str:
    shutil.copytree(root, to, ignore=shutil.ignore_patterns(".cache"))
    first = to / "train" / "train 00"
    if change == "class renamed":
        first.rename(first.with_name("zzz"))  # the last by its name: all labels shift by one
    elif change == "class gone":
        shutil.rmtree(first)
    elif change == "image gone":
        (first / "00.png").unlink()
    else:
        ImageOps.invert(Image.open(first / "00.png")).save(first / "00.png")
    return str(to)


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        (pretrain, "class renamed"),
        (pretrain, "image changed"),
        (meta_train, "class gone"),
        (meta_train, "image gone"),
    ],
)
def test_other_images_than_those_begun_with_are_refused(
    tiny, from_pretrained, interrupt_at, image_root, tmp_path, stage, change
):
    config = tiny()
    if stage is meta_train:
        from_pretrained(config)
    folder = _begun(stage, config, interrupt_at)
    before = {p: p.read_bytes() for p in folder.path.iterdir()}
    root = _changed(image_root, tmp_path / "other", change)
    with pytest.raises(UserError, match="run=NAME"):
        stage(tiny(data={"root": root}), resume=True)
    assert {p: p.read_bytes() for p in folder.path.iterdir()} == before
    stage(config, resume=True)


LOSSES = {
    "ledger gone": lambda folder: folder.ledger.unlink(),
    "ledger of another run": lambda folder: _commit(folder, "meta-train 3 00000000"),
    "ledger ahead": lambda folder: _commit(folder, "meta-train 8 00000000"),
    "metrics gone": lambda folder: folder.metrics.unlink(),
}


def _commit(folder: RunFolder, token: str) -> None:
    with Ledger.open(folder.ledger) as ledger:
        ledger.commit(token)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_was_lost_is_refused_and_can_be_gone_on_without(
    tiny, from_pretrained, interrupt_at, same, capsys, loss
):
    whole = tiny(run="whole")
    from_pretrained(whole)
    meta_train(whole)
    config = tiny()
    from_pretrained(config)
    folder = _begun(meta_train, config, interrupt_at)
    LOSSES[loss](folder)
    with pytest.raises(UserError, match=r"log\.allow_gaps=true"):
        meta_train(config, resume=True)
    capsys.readouterr()
    meta_train(tiny(log={"allow_gaps": True, "quiet": True}), resume=True)
    assert "as log.allow_gaps says" in capsys.readouterr().err
    assert same(_result(folder.meta), _result(RunFolder.of(whole).meta))


def test_another_precision_is_gone_on_with_and_told(tiny, from_pretrained, interrupt_at, capsys):
    config = tiny(log={"quiet": True})
    from_pretrained(config)
    _begun(meta_train, config, interrupt_at)
    capsys.readouterr()
    interrupt_at({5})
    with pytest.raises(Interrupted):
        meta_train(config, resume=True)
    assert capsys.readouterr().err == ""
    meta_train(tiny(log={"quiet": True}, runtime={"precision": "bfloat16"}), resume=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert "bfloat16" in line
    assert "float32" in line


def test_a_backbone_of_another_training_than_the_recorded_one_is_noticed(tiny, from_pretrained):
    config = tiny()
    folder = from_pretrained(config)
    with pytest.raises(UserError, match=r"pretrain\.pt: was made with seed = 0, but the config now says 5"):
        meta_train(tiny(seed=5))
    with pytest.raises(UserError, match=r"made with pretrain\.lr"):
        meta_train(tiny(pretrain={"lr": 0.2}))
    assert not folder.config.exists()
    folder.write_config(tiny(seed=5))
    with pytest.raises(UserError, match=r"pretrain\.pt: was made with seed = 0, but .*config\.yaml says 5"):
        evaluate(config)
    with pytest.raises(UserError, match=r"pretrain\.pt: was made with seed = 0, but .*config\.yaml says 5"):
        embedder_of_run(folder.path)


def test_a_flipped_bit_in_a_checkpoint_is_never_answered_with(tiny, from_pretrained):
    config = tiny()
    folder = from_pretrained(config)
    with zipfile.ZipFile(folder.pretrain) as archive:
        tensors = [record for record in archive.infolist() if "/data/" in record.filename]
        weights = archive.read(max(tensors, key=lambda record: record.file_size))
    content = bytearray(folder.pretrain.read_bytes())
    content[content.index(weights) + 3] ^= 0x40  # an exponent
    folder.pretrain.write_bytes(content)
    for stage in (meta_train, evaluate):
        with pytest.raises(UserError, match=r"pretrain\.pt: is damaged .*record archive/data/\d+"):
            stage(config)
