"""Doing the jobs of a comparison, each by one process, which claims its run folder."""

import json
import time
from collections.abc import Callable
from functools import partial

from torch import Tensor

from mtl.compare.jobs import Job, Jobs, answers_file, score_file, score_of
from mtl.compare.runs import (
    arm_cells,
    judge,
    pretrained_cell,
    pretraining_cell,
    train_arm,
    validation_accuracy,
)
from mtl.config import Config, Log
from mtl.episodes.episode import EpisodeBatch
from mtl.errors import RunStopped, UserError
from mtl.evaluation.task_answers import Cell, save
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.failures import failure
from mtl.runtime.outputs import replace_text
from mtl.runtime.progress import tell
from mtl.runtime.run_folder import FolderHeld, RunFolder
from mtl.training.pretrain import pretrain
from mtl.training.run_data import RunData

STAGE = "compare"
POLL = 1.0  # seconds between two looks at jobs that other processes hold


def work(jobs: Jobs, do: Callable[[Job], None], log: Log, only: Job | None = None) -> None:
    """Does the jobs that are left, or `only` one; those that another process holds it waits for.

    A job that fails is noted, and the others go on.

    Raises:
        Interrupted: after Ctrl-C, with the checkpoint of the job written.
        Exception: an error of the program.
    """
    seed, said = None, ""
    while left := [job for job in jobs.left() if only in {None, job}]:
        held: dict[Job, str] = {}
        # Jobs of one seed share features: a process stays with its seed while it can.
        left.sort(key=lambda job: (job.kind != "pretraining", job.seed != seed))
        for job in filter(jobs.ready, left):
            try:
                with RunFolder.of(jobs.run(job)).held(STAGE, wait=0):
                    if not jobs.ready(job) or jobs.own_failure(job):  # another process was quicker
                        break
                    tell(f"{STAGE}: {job} ({_count(jobs)})", log)
                    seed = job.seed
                    _attempt(jobs, job, do, log)
                    break
            except FolderHeld as other:
                held[job] = other.holder
        else:
            if not held:  # what this one needs has failed, or was never begun
                return
            says = f"{STAGE}: waits for " + "; ".join(f"{job} ({by})" for job, by in held.items())
            if says != said:
                tell(says, log)
                said = says
            time.sleep(POLL)


def _count(jobs: Jobs) -> str:
    return f"{sum(map(jobs.done, jobs.all))} of {len(jobs.all)} jobs are done"


def _attempt(jobs: Jobs, job: Job, do: Callable[[Job], None], log: Log) -> None:
    try:
        do(job)
    except FolderHeld:
        raise  # of a part of the folder
    except Exception as error:
        known = isinstance(error, UserError | RunStopped)
        reason = str(error) if known else failure(error, resumable=True)
        if reason is None:
            raise
        jobs.note_failure(job, reason)
        tell(f"{STAGE}: {job} failed: {reason}; the others go on", log)
    else:
        if not jobs.done(job):
            raise RuntimeError(f"{job} left no result")


class JobRunner:
    """Does jobs one after the other; those of one seed share features and the tasks that are drawn hard."""

    def __init__(self, jobs: Jobs, run_data: RunData) -> None:
        self.jobs, self.run_data = jobs, run_data
        self.device = choose_device(jobs.config.runtime)
        self.seed: int | None = None
        self.tables: dict[str, Tensor] = {}
        self.judged: dict[str, EpisodeBatch] | None = None

    def __call__(self, job: Job) -> None:
        """Trains and scores what the job says; goes on from its checkpoint where there is one."""
        if job.seed != self.seed:
            self.seed, self.tables, self.judged = job.seed, {}, None
        one = self.jobs.run(job)
        if job.kind == "trial":
            accuracy = self._trial_score(job, one)
            noted = {"accuracy": accuracy, "of": score_of(self.jobs.config)}
            replace_text(score_file(one), json.dumps(noted))
        elif job.kind == "arm" and not self.jobs.own_pretraining:
            self._arm(job, one)
        else:
            pretrain(one, resume=True, run_data=self.run_data)
            if job.kind == "arm":
                self._answer(one, partial(pretraining_cell, one, job.arm, self.run_data, self.device))
            elif job.kind == "beside":
                given = one, job.arm, self.run_data, self.device, self._judged(job)
                self._answer(one, partial(pretrained_cell, *given))

    def _trial_score(self, job: Job, one: Config) -> float:
        """Trains one trial; its accuracy on the validation tasks."""
        if self.jobs.own_pretraining:
            pretrain(one, resume=True, run_data=self.run_data)
            return float(checkpoints.read(RunFolder.of(one).pretrain)["mean"])
        train_arm(one, RunFolder.of(self._base(job)).pretrain, self.run_data, self.tables)
        self._drop_ledger(one)
        return validation_accuracy(one, self.jobs.config.seed, self.run_data, self.device, self.tables)

    def _arm(self, job: Job, one: Config) -> None:
        train_arm(one, RunFolder.of(self._base(job)).pretrain, self.run_data, self.tables)
        if not answers_file(one).exists():
            given = one, job.arm, self.run_data, self.device, self._judged(job), self.tables
            first, *votes = arm_cells(*given)
            for number, cell in enumerate(votes):
                save(answers_file(one).with_name(f"answers-{number}.pt"), cell)
            save(answers_file(one), first)  # last: it says that all are there
        self._drop_ledger(one)

    def _base(self, job: Job) -> Config:
        return self.jobs.run(Job("pretraining", job.seed))

    def _judged(self, job: Job) -> dict[str, EpisodeBatch]:
        if self.judged is None:
            self.judged = judge(self._base(job), self.run_data, self.device)
        return self.judged

    def _answer(self, one: Config, score: Callable[[], Cell]) -> None:
        if not answers_file(one).exists():
            save(answers_file(one), score())

    def _drop_ledger(self, one: Config) -> None:
        """Removes the ledger of an arm that has ended, unless the comparison keeps them."""
        if not self.jobs.config.compare.keep_ledgers:
            RunFolder.of(one).ledger.unlink(missing_ok=True)
