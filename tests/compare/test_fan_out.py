"""Several processes share a comparison: signals, kills and failures change nothing that they compute."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_comparison import FIRST, OHEM, SECOND, SETTINGS, UNTRIED, timeless

from mtl import cli
from mtl.compare import work as stage
from mtl.compare.fan_out import environment, threads
from mtl.compare.jobs import Job, Jobs
from mtl.compare.study import compare
from mtl.compare.table import to_dict
from mtl.config import to_yaml
from mtl.runtime.process import Interrupted
from mtl.runtime.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
DIVERGES = {"name": "diverges", "change": [*OHEM, "meta.lr=1.0e+30"]}
LONG = {
    "meta": {"steps": 40, "validate_every": 20},
    "hard_tasks": {"every": 20},
    "runtime": {"checkpoint_seconds": 0.05},
}


def _shared(config_of, below, arms=UNTRIED):
    """A comparison whose jobs take about a second each."""
    return config_of(below, **LONG, compare={"arms": arms, "longer": False})


@pytest.fixture(autouse=True)
def _without_plots(quick):
    """`quick` leaves them out."""


@pytest.fixture(scope="module")
def alone(config_of, tmp_path_factory):
    """The numbers of one process that nothing disturbs."""
    return timeless(to_dict(compare(_shared(config_of, tmp_path_factory.mktemp("alone")))))


@contextmanager
def _when(there, act):
    """Calls `act` once with what `there` finds, from another thread, within the block."""
    ended = threading.Event()

    def watch():
        while not (found := there()) and not ended.wait(0.02):
            pass
        if found:
            act(found)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _workers(home):
    """The processes of the workers by the run folder of the job that they began last."""
    logs = {path.parent: path.read_text() for path in home.glob("seed-*/*/job.log")}
    found = {folder: re.findall(r": process (\d+) on ", text) for folder, text in logs.items()}
    return {folder: int(numbers[-1]) for folder, numbers in found.items() if numbers}


def test_workers_that_are_stopped_and_killed_give_the_numbers_of_one_process(
    config_of, alone, tmp_path, capfd
):
    arms = [*UNTRIED, DIVERGES]
    config, home = _shared(config_of, tmp_path, arms), tmp_path / "study"

    def training():
        return [pid for folder, pid in _workers(home).items() if (folder / "last.pt").exists()]

    says = pytest.raises(Interrupted, match=r"stopped, \d of 8 jobs are done; --resume goes on")
    with says, _when(training, lambda _: signal.raise_signal(signal.SIGINT)):
        compare(config, processes=2)
    capfd.readouterr()
    stopped = set(_workers(home).values())
    with RunFolder(next(iter(_workers(home)))).held("test"):  # claims ended with the workers
        pass

    def meta_training():
        new = {f: pid for f, pid in _workers(home).items() if pid not in stopped}
        return [pid for folder, pid in new.items() if (folder / "hard_tasks.sqlite").exists()]

    with _when(meta_training, lambda pids: os.kill(pids[0], signal.SIGKILL)):
        study = compare(config, resume=True, processes=2)
    told = capfd.readouterr().err
    assert "its process ended with signal 9; it goes on from its checkpoint" in told
    for seed in (FIRST, SECOND):
        name, log = f"seed {seed}, diverges", home / f"seed-{seed}" / "diverges" / "job.log"
        assert re.search(f"{name} failed: .*loss.* its log is {re.escape(str(log))}", told)
        assert str(log) in study.missing[name]
        assert "loss" in log.read_text()
    numbers = timeless(to_dict(study))
    assert numbers["missing"].keys() == {f"seed {seed}, diverges" for seed in (FIRST, SECOND)}
    assert {**numbers, "missing": {}} == alone
    assert "seed 8, diverges" in (home / "comparison.md").read_text()


def test_two_terminals_that_are_killed_share_all_jobs_and_agree(config_of, alone, tmp_path, capfd):
    config, home = _shared(config_of, tmp_path), tmp_path / "study"
    path = tmp_path / "study.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    command = [sys.executable, ROOT / "run_meta.py", "compare", "--config", path, "--resume"]
    capfd.readouterr()

    def start():
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    first, later = start(), []

    def kill_and_start_again():
        time.sleep(random.random())
        first.kill()
        later.append(start())

    while not list(home.glob("seed-*/*/last.pt")):
        time.sleep(0.02)
    terminal = threading.Thread(target=kill_and_start_again)
    terminal.start()
    study = compare(config, resume=True)
    terminal.join()
    killed = first.communicate()[1]
    shown, told = later[0].communicate(timeout=120)
    assert later[0].returncode == 0, told
    assert shown.count("ohem") == len(SETTINGS)
    told += killed + capfd.readouterr().err
    assert timeless(to_dict(study)) == alone
    assert timeless(json.loads((home / "comparison.json").read_text())) == alone
    begun = re.findall(r"^compare: (seed .*?) \(", told, re.M)
    assert len(set(begun)) == 6
    assert len(begun) <= 7  # once each, but for the one that was killed
    for metrics in home.glob("seed-*/*/metrics.jsonl"):
        steps = [(one["stage"], one["step"]) for one in map(json.loads, metrics.read_text().splitlines())]
        assert len(steps) == len(set(steps))


def test_a_job_that_fails_is_said_and_the_others_go_on(config_of, tmp_path, capsys):
    config = config_of(tmp_path, compare={"arms": [*UNTRIED, DIVERGES], "seeds": 1, "longer": False})
    path = tmp_path / "study.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert cli.main(["compare", "--config", str(path), "-q"]) == 1
    out, told = capsys.readouterr()
    assert f"Missing, as they failed: seed {FIRST}, diverges" in " ".join(out.split())
    assert re.search(rf"^stopped: compare: 1 job failed.*\n  seed {FIRST}, diverges: .*loss", told)
    healed = [*UNTRIED, {**DIVERGES, "change": OHEM}]
    study = compare(config_of(tmp_path, compare={"arms": healed, "seeds": 1, "longer": False}), resume=True)
    assert not study.missing  # it is tried again


def test_what_an_arm_needs_and_cannot_have_is_named(config_of, tmp_path):
    arms = [
        {"name": "uniform", "change": OHEM, "trials": [[]]},
        {**DIVERGES, "trials": [["meta.lr=1.0e+30"]]},
    ]
    config = config_of(tmp_path, compare={"arms": arms, "seeds": 1, "longer": False, "trial_seeds": 1})
    study = compare(config)
    assert list(study.missing) == ["seed 8, diverges, trial 1", "seed 7, diverges"]
    assert len(set(study.missing.values())) == 1


def test_a_job_that_another_process_holds_is_waited_for(config_of, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stage, "POLL", 0.05)
    config = config_of(tmp_path, compare={"arms": UNTRIED[:1], "seeds": 1, "longer": False})
    jobs = Jobs(config, 144)
    held, release = threading.Event(), threading.Event()

    def hold():
        with RunFolder.of(jobs.run(Job("pretraining", FIRST))).held("compare"):
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    waits = f"compare: waits for seed {FIRST}, pretraining (process {os.getpid()} on "
    told = []

    def says_so():
        told.append(capsys.readouterr().err)
        return waits in "".join(told)

    with _when(says_so, lambda _: release.set()):
        compare(config, resume=True)
    thread.join()
    assert "".join(told).count(waits) == 1


def test_a_worker_has_its_share_of_the_cores_and_one_of_several_gpus(config_of, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(9), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    config = config_of(tmp_path, runtime={"threads": 0})
    given = [environment(config, number, 4) for number in range(4)]
    assert [one["OMP_NUM_THREADS"] for one in given] == ["2"] * 4
    assert [one["CUDA_VISIBLE_DEVICES"] for one in given] == ["3", "5", "3", "5"]
    assert environment(config_of(tmp_path, runtime={"threads": 3}), 0, 4)["MKL_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads(config, 4) == 1
