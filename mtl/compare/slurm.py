"""`compare --slurm key=value,...`: every job of a comparison is a job of Slurm, submitted through submitit.

What needs nothing, the trials, the arms and the report are one array each, which begins when the one before
has ended. A job that is preempted, or takes longer than its time, is queued again and goes on from its
checkpoint.
"""

import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtl.compare.differences import Study
from mtl.compare.fan_out import THREADS, python_path
from mtl.compare.jobs import Job, Jobs
from mtl.compare.study import begin, check, report
from mtl.compare.work import STAGE, JobRunner, work
from mtl.compare.worker import Logged
from mtl.config import Config, Log
from mtl.errors import UserError, counted, did_you_mean, one_line
from mtl.runtime.process import Interrupted
from mtl.runtime.progress import tell

if TYPE_CHECKING:
    import submitit

_TIMEOUTS = 50  # how often a job that takes longer than its time is queued again
_LAST_SECONDS = 300.0  # that a stopped job waits for Slurm to end it
_DAY = 24 * 60  # minutes
_HERE = ("local", "debug")  # clusters that are this machine, to try out
_CLUSTERS = ("slurm", *_HERE)


def submit(
    config: Config, resume: bool, seeds: Sequence[int] | None, text: str, dry_run: bool = False
) -> Study | None:
    """Submits the jobs that are left, and one that reports; the study where all are done.

    Args:
        config, resume, seeds: as of `compare`.
        text: the options of the jobs, as "partition=gpu,time=120,gpus_per_node=1".
        dry_run: only print what would be submitted.

    Raises:
        UserError: an option is wrong, or submitit or Slurm is missing.
    """
    options = read_options(text)
    cluster = str(options.pop("cluster", "slurm"))
    if cluster == "slurm" and not dry_run and shutil.which("sbatch") is None:
        raise UserError(
            "--slurm: Slurm is not available here (no sbatch); --dry-run only prints what would be "
            "submitted, --jobs N shares the cores of this machine"
        )
    if dry_run:
        config, run_data, mine = check(config, resume, seeds)
        jobs = Jobs(config, len(run_data.pretrain_images), mine)
    else:
        jobs, _ = begin(config, resume, seeds, computes=cluster in _HERE)
    arrays = arrays_of(jobs)
    if dry_run:
        for line in listed(arrays, options):
            tell(line, stream=sys.stdout)
        return None
    if arrays == [[None]]:
        return report(jobs)
    return _submitted(jobs, arrays, options, cluster)


def read_options(text: str) -> dict[str, Any]:
    """Options as submitit takes them; a value may have commas: "exclude=a,b,time=60".

    Raises:
        UserError: submitit is missing, or an option is none of its own.
    """
    try:
        from submitit import AutoExecutor, SlurmExecutor
    except ModuleNotFoundError:
        raise UserError("--slurm: needs the package submitit: pip install submitit") from None
    general = AutoExecutor._typed_parameters()
    known = {*general, *SlurmExecutor._valid_parameters(), "cluster"}
    options: dict[str, Any] = {}
    for part in re.split(r",(?=\s*\w+\s*=)", text):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise UserError(f"--slurm: {one_line(part)!r} is no key=value, as in partition=gpu,time=120")
        if key not in known:
            raise UserError(f"--slurm: {one_line(key)} is no option of a job{did_you_mean(key, known)}")
        number = re.fullmatch(r"\d+(\.\d+)?", value)
        options[key] = (float(value) if "." in value else int(value)) if number else value
        kind = {**general, "time": int}.get(key)
        if (kind is float and not number) or (kind is int and not isinstance(options[key], int)):
            what = "a number" if kind is float else "a whole number"
            raise UserError(f"--slurm: {key}={one_line(value)} is not allowed; it must be {what}")
    if options.get("cluster", "slurm") not in _CLUSTERS:
        raise UserError(f"--slurm: cluster={options['cluster']} is not allowed; {', '.join(_CLUSTERS)} are")
    if not {"time", "timeout_min", "cluster"} & options.keys():
        raise UserError("--slurm: time is missing: the minutes that one job may take, as in time=120")
    return options


def arrays_of(jobs: Jobs) -> list[list[Job | None]]:
    """The jobs that are left, those that can run at the same time together; the last is the report."""
    kinds = ("pretraining",), ("trial", "beside"), ("arm",)
    arrays = [[job for job in jobs.left() if job.kind in together] for together in kinds]
    filled: list[list[Job | None]] = [[*array] for array in arrays if array]
    return [*filled, [None]]


def listed(arrays: Sequence[Sequence[Job | None]], options: Mapping[str, Any]) -> Iterator[str]:
    """The sbatch command of each array, and its jobs."""
    from submitit import SlurmExecutor

    names: dict[str, Any] = dict(SlurmExecutor._equivalence_dict() or {})
    flags = [f"--{names.get(k, k).replace('_', '-')}={shlex.quote(str(v))}" for k, v in options.items()]
    for number, array in enumerate(arrays):
        after = [f"--dependency=afterany:ARRAY_{number}"] if number else []
        yield " ".join(["sbatch", f"--job-name={STAGE}", f"--array=0-{len(array) - 1}", *after, *flags])
        for place, job in enumerate(array):
            yield f"  ARRAY_{number + 1}, {place}: {job or 'the report'}"


def _submitted(
    jobs: Jobs, arrays: Sequence[Sequence[Job | None]], options: Mapping[str, Any], cluster: str
) -> Study | None:
    import submitit

    if cluster in _HERE:  # this process makes the report
        options, arrays = {"timeout_min": _DAY, **options}, arrays[:-1]
    folder, ids = jobs.home.path / "slurm", list[str]()
    executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=_TIMEOUTS)
    general = submitit.AutoExecutor._typed_parameters()
    executor.update_parameters(
        **{"name": STAGE, **{k if k in general else f"slurm_{k}": v for k, v in options.items()}}
    )
    with _surroundings(options):
        for array in arrays:
            if ids:
                executor.update_parameters(slurm_dependency=f"afterany:{ids[-1]}")
            tasks = [Task(jobs.config, tuple(jobs.seeds), job) for job in array]
            submitted = executor.map_array(Task.__call__, tasks)
            if cluster in _HERE:  # without dependencies
                _results(submitted)
            ids.append(submitted[0].job_id.split("_")[0])
    if cluster in _HERE:
        return report(jobs)
    count = sum(map(len, arrays)) - 1
    tell(f"{STAGE}: submitted {counted(count, 'job')} and the report, as {', '.join(ids)}; logs: {folder}")
    tell(
        f"{STAGE}: {jobs.home.path}/comparison.md will be the table; the same command shows it, with --resume"
    )
    return None


def _results(submitted: "Sequence[submitit.Job[None]]") -> None:
    for one in submitted:
        one.result()


@contextmanager
def _surroundings(options: Mapping[str, Any]) -> Iterator[None]:
    """Sets the variables that jobs take along: where this package is, and the number of threads."""
    threads = dict.fromkeys(THREADS, str(options["cpus_per_task"])) if "cpus_per_task" in options else {}
    before = dict(os.environ)
    os.environ.update({"PYTHONPATH": python_path(), **threads})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class Task:
    """What one job of Slurm does: a job of the comparison, or its report."""

    config: Config
    seeds: tuple[int, ...]
    job: Job | None

    def __call__(self) -> None:
        """Does it, as far as no other process has; goes on from the checkpoint where there is one."""
        jobs, run_data = begin(self.config, True, self.seeds, anew=False)
        if self.job is None:
            report(jobs)
            return
        try:
            work(jobs, Logged(JobRunner(jobs, run_data)), Log(), only=self.job)
        except Interrupted:
            if "SLURM_JOB_ID" not in os.environ:
                raise
            time.sleep(
                _LAST_SECONDS
            )  # preempted: Slurm ends a job that it queues again; one that left is over

    def checkpoint(self) -> "submitit.helpers.DelayedSubmission":
        """What submitit queues again after a preemption: the same, since checkpoints are on disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
