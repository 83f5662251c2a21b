"""Jobs of Slurm through submitit, with its executors that are this machine."""

import json
import os
import re
import signal
import sys

import pytest
from small_comparison import FIRST, SECOND, UNTRIED, timeless

from mtl import cli
from mtl.compare.jobs import Job, Jobs
from mtl.compare.slurm import Task, arrays_of, read_options, submit
from mtl.compare.study import compare
from mtl.compare.table import to_dict
from mtl.config import to_yaml
from mtl.errors import UserError
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder

submitit = pytest.importorskip("submitit")
pytestmark = pytest.mark.usefixtures("quick")
COMPARED = {"arms": UNTRIED, "longer": False, "judged_tasks": 0}


@pytest.fixture
def command(config_of, tmp_path):
    """The words of a command that submits."""
    path = tmp_path / "study.yaml"
    path.write_text(to_yaml(config_of(tmp_path, compare=COMPARED)), encoding="utf-8")
    return ["compare", "--config", str(path), "--slurm"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves files open
def test_jobs_that_are_submitted_give_the_numbers_of_one_process(config_of, tmp_path):
    """By submitit's local executor: each job is a process that reads its task from a file, as with Slurm."""
    compared = {**COMPARED, "seeds": 1}
    study = submit(config_of(tmp_path / "jobs", compare=compared), False, None, "cluster=local")
    alone = compare(config_of(tmp_path / "alone", compare=compared))
    home = tmp_path / "jobs" / "study"
    written = json.loads((home / "comparison.json").read_text())
    assert timeless(written) == timeless(to_dict(study)) == timeless(to_dict(alone))
    logs = set((home / "slurm").iterdir())
    assert sum(path.name.endswith("_result.pkl") for path in logs) == 1 + 2  # pretraining, arms
    again = submit(config_of(tmp_path / "jobs", compare=compared), True, None, "cluster=local")
    assert to_dict(again) == to_dict(study)
    assert set((home / "slurm").iterdir()) == logs  # nothing was left to submit
    noted = [path.read_text() for path in home.glob("seed-*/*/job.log")]
    processes = {re.search(r": process (\d+) on ", text)[1] for text in noted}
    assert len(processes) == 3
    assert str(os.getpid()) not in processes


def test_a_job_that_is_preempted_is_queued_again_and_goes_on(config_of, tmp_path, interrupt_at):
    """As submitit does it: on a signal it stores what `checkpoint` returns, and leaves; Slurm starts that."""
    config, job = config_of(tmp_path, runtime={"checkpoint_seconds": 0.0}), Job("pretraining", FIRST)
    task, stored = Task(config, (FIRST,), job), tmp_path / "job.pkl"

    def preempted(*_):
        task.checkpoint().dump(stored)
        sys.exit(-1)

    before = signal.signal(signal.SIGUSR2, preempted)
    try:
        interrupt_at({5}, signal.SIGUSR2)
        with pytest.raises(SystemExit):
            task()
    finally:
        signal.signal(signal.SIGUSR2, before)
    folder = RunFolder.of(Jobs(config, 1).run(job))
    assert checkpoints.read(folder.last)["step"] == 4
    submitit.helpers.DelayedSubmission.load(stored).result()
    assert checkpoints.read(folder.pretrain)["step"] == 6
    assert (folder.path / "job.log").read_text().count(f"seed {FIRST}, pretraining: process") == 2


def test_what_would_be_submitted_is_printed_and_nothing_is_written(command, tmp_path, capsys):
    assert cli.main([*command, "partition=gpu,time=60,mem_gb=8", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    arrays = [line for line in lines if line.startswith("sbatch ")]
    assert ["--array=0-1 " in arrays[0], "--array=0-3 " in arrays[1], "--array=0-0 " in arrays[2]] == [
        True
    ] * 3
    assert all("--partition=gpu --time=60 --mem=8" in array for array in arrays)
    assert "--dependency=afterany:ARRAY_2" in arrays[2]
    assert f"  ARRAY_2, 3: seed {SECOND}, ohem" in lines
    assert {p.name for p in tmp_path.iterdir()} == {"study.yaml"}


def test_slurm_is_given_arrays_that_begin_one_after_the_other(command, tmp_path, monkeypatch, capsys):
    """By stand-ins of its programs, which note what they are given."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "srun"):
        (programs / name).write_text(
            f"#!/bin/sh\ncat $1 >> {tmp_path}/given\nn=$(grep -c '#!/bin/bash' {tmp_path}/given)\n"
            'echo "Submitted batch job $((70 + n))"\n'
        )
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    before = dict(os.environ)
    assert cli.main([*command, "partition=gpu,time=60,cpus_per_task=2"]) == 0
    assert dict(os.environ) == before
    given = (tmp_path / "given").read_text()
    assert re.findall("--array=(.*)%", given) == ["0-1", "0-3"]
    assert re.findall("--dependency=(.*)", given) == ["afterany:71", "afterany:72"]
    assert given.count("--partition=gpu") == given.count("--time=60") == 3
    assert "submitted 6 jobs and the report, as 71, 72, 73" in capsys.readouterr().err


def test_arrays_hold_what_can_run_at_the_same_time(config_of, tmp_path):
    arrays = arrays_of(Jobs(config_of(tmp_path), 144, [FIRST]))
    kinds = [{job.kind if job else "report" for job in array} for array in arrays]
    assert kinds == [{"pretraining"}, {"trial", "beside"}, {"arm"}, {"report"}]
    assert [len(array) for array in arrays] == [1 + 2, 2 + 3 * 2 * 2, 3, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("patition=x,time=1", "did you mean partition?"),
        ("time", "is no key=value"),
        ("time=soon", "time=soon is not allowed"),
        ("time=1,cpus_per_task=1.5", "must be a whole number"),
        ("cluster=moon", "slurm, local, debug are"),
        ("partition=x", "time is missing"),
    ],
)
def test_options_that_are_wrong_are_refused(options, words):
    with pytest.raises(UserError, match=r"^--slurm: ") as caught:
        read_options(options)
    assert words in str(caught.value)


def test_values_may_have_commas():
    assert read_options("exclude=a,b,time=60,mem_gb=1.5") == {"exclude": "a,b", "time": 60, "mem_gb": 1.5}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["time=1"], "no sbatch"),
        (["time=1", "--jobs", "2"], "--jobs: does not go with --slurm"),
    ],
)
def test_what_cannot_be_submitted_is_said_in_a_sentence(command, more, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main([*command, *more]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert not (tmp_path / "study").exists()


def test_dry_run_alone_is_refused(command, capsys):
    assert cli.main([*command[:-1], "--dry-run"]) == 2
    assert "--dry-run: is for --slurm" in capsys.readouterr().err


def test_without_submitit_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match="pip install submitit"):
        read_options("time=1")
