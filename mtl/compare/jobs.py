"""The jobs of a comparison: which trainings there are, where each has its run, and what it needs first."""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mtl.compare.runs import arm_config, images_passed
from mtl.config import Config
from mtl.config.comparison import LONGER, PRETRAINED, Arm, slug
from mtl.runtime import checkpoints
from mtl.runtime.outputs import replace_text
from mtl.runtime.run_folder import RunFolder

FAILED = "failed.txt"  # in the run folder of a job that could not be done: why
LOG = "job.log"  # in the run folder of a job that a worker does


@dataclass(frozen=True)
class Job:
    """The smallest part of a comparison that one process does; done if its files are there.

    - pretraining: of all arms of a seed
    - beside: the answers of the pretrained backbone, and of one pretrained longer
    - trial: an arm trained with one of its trials and a seed that is not compared, and its score
    - arm: an arm trained with a seed, and its answers
    """

    kind: Literal["pretraining", "beside", "trial", "arm"]
    seed: int
    arm: str = ""  # or what is shown beside the arms
    trial: int | None = None

    def __str__(self) -> str:
        trial = "" if self.trial is None else f", trial {self.trial + 1}"
        return f"seed {self.seed}, {self.arm or self.kind}{trial}"


class Jobs:
    """All jobs of a comparison. What is done is read from the run folders: others may have done it."""

    def __init__(self, config: Config, pretrain_images: int, seeds: Sequence[int] | None = None) -> None:
        """`pretrain_images`: that an epoch of pretraining sees; `seeds`: only these are compared."""
        self.config, self.pretrain_images = config, pretrain_images
        self.seeds = all_seeds(config) if seeds is None else list(seeds)
        self.home = RunFolder.of(config)
        self.own_pretraining = config.compare.stage == "pretrain"  # of each arm
        self.all = self._all()
        self.failed: dict[Job, str] = {}  # with the reason; `failure` knows those of other processes
        self._done: set[Job] = set()  # stays done
        self._fit: set[Job] = set()
        self._runs: dict[tuple[Job, int | None], Config] = {}

    def _all(self) -> list[Job]:
        """In an order in which one process can do them: what others need, and what is long, first."""
        compare, trials, jobs = self.config.compare, trial_seeds(self.config), list[Job]()
        if not self.own_pretraining:
            tried = trials if any(arm.trials for arm in compare.arms) else []
            jobs += [Job("pretraining", seed) for seed in (*tried, *self.seeds)]
        if compare.longer:
            jobs += [Job("beside", seed, name) for name in (LONGER, PRETRAINED) for seed in self.seeds]
        for seed in trials:
            jobs += [Job("trial", seed, arm.name, n) for arm in compare.arms for n in range(len(arm.trials))]
        return jobs + [Job("arm", seed, arm.name) for seed in self.seeds for arm in compare.arms]

    def needs(self, job: Job) -> list[Job]:
        """The jobs that have to be done before this one can begin."""
        first = [] if job.kind == "pretraining" or self.own_pretraining else [Job("pretraining", job.seed)]
        return first + (self.trials(job.arm) if job.kind == "arm" else [])

    def trials(self, arm: str) -> list[Job]:
        """Those of an arm, seed by seed for each; none if the comparison makes none."""
        numbers = range(len(self.config.compare.arm(arm).trials))
        return [Job("trial", seed, arm, number) for number in numbers for seed in trial_seeds(self.config)]

    def run(self, job: Job) -> Config:
        """The run of a job; of an arm that makes trials, with the chosen one, in a folder for each."""
        trial = self.chosen(job.arm) if job.kind == "arm" else job.trial
        if (job, trial) not in self._runs:
            self._runs[job, trial] = self._run(job, trial)
        return self._runs[job, trial]

    def _run(self, job: Job, trial: int | None) -> Config:
        home, compare = self.home.path, self.config.compare
        if job.kind in {"pretraining", "beside"}:
            apart = job.seed in trial_seeds(self.config)
            base = pretraining_run(self.config, job.seed, home / "trials" if apart else home)
            return self._longer(base) if job.arm == LONGER else base
        run = trial_run if job.kind == "trial" else arm_run
        return run(self.config, compare.arm(job.arm), job.seed, trial)

    def _longer(self, base: Config) -> Config:
        """A pretraining that is longer by as many images as the reference meta-trains on."""
        reference = self.config.compare.arm(self.config.compare.reference)
        images = images_passed(arm_config(self.config, reference, base.seed), self.pretrain_images)
        extra = math.ceil(images / self.pretrain_images)
        more = replace(base.pretrain, epochs=base.pretrain.epochs + extra)
        return replace(base, pretrain=more, run=slug(LONGER))

    def chosen(self, arm: str) -> int | None:
        """The number of the arm's trial with the best mean accuracy; None if it makes no trials.

        None of the trials' seeds is compared: a trial that chance favoured would take its luck along.
        """
        means = self.trial_means(arm)
        return max(range(len(means)), key=means.__getitem__) if means else None

    def trial_means(self, arm: str) -> list[float]:
        """The accuracy of each trial of an arm on validation tasks: the mean over the trials' seeds."""
        scores, seeds = [self.score(job) for job in self.trials(arm)], len(trial_seeds(self.config))
        firsts = range(0, len(scores), max(seeds, 1))
        return [sum((score or 0.0) / seeds for score in scores[i : i + seeds]) for i in firsts]

    def score(self, trial: Job) -> float | None:
        """The accuracy of a trial; None if it is not known, or was taken on other tasks."""
        try:
            noted = json.loads(score_file(self.run(trial)).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return float(noted["accuracy"]) if noted["of"] == score_of(self.config) else None

    def done(self, job: Job) -> bool:
        """True if the files that the job makes are there."""
        if job not in self._done and self._files_are_there(job):
            self._done.add(job)
        return job in self._done

    def _files_are_there(self, job: Job) -> bool:
        if not all(map(self.done, self.trials(job.arm) if job.kind == "arm" else ())):
            return False  # it is not known which run the arm will have
        one = self.run(job)
        if not RunFolder.of(one).result_of(self._stage(job)).exists():
            return False
        if job.kind == "trial":
            return self.score(job) is not None
        return job.kind == "pretraining" or answers_file(one).exists()

    def ready(self, job: Job) -> bool:
        """True if the job is not done, and can begin."""
        return not self.done(job) and all(map(self.done, self.needs(job)))

    def own_failure(self, job: Job) -> str | None:
        """Why the job has failed since the command began, here or in another process."""
        if job not in self.failed and all(map(self.done, self.needs(job))):
            with suppress(OSError):
                return (RunFolder.of(self.run(job)).path / FAILED).read_text(encoding="utf-8").strip()
        return self.failed.get(job)

    def failure(self, job: Job) -> str | None:
        """Why the job has failed, or one that it needs."""
        return self.own_failure(job) or next(filter(None, map(self.failure, self.needs(job))), None)

    def note_failure(self, job: Job, reason: str) -> None:
        """Notes for all processes that a job failed."""
        self.failed[job] = reason
        with suppress(OSError):
            replace_text(RunFolder.of(self.run(job)).path / FAILED, reason)

    def log(self, job: Job) -> Path:
        """The log of a job that was done in a process for jobs."""
        return RunFolder.of(self.run(job)).path / LOG

    def left(self) -> list[Job]:
        """What is not done yet, and has not failed."""
        return [job for job in self.all if not self.done(job) and self.failure(job) is None]

    def require_fit(self, job: Job) -> None:
        """UserError if a job that is done was done with another config; looked at once."""
        if job in self._fit:
            return
        one, stage = self.run(job), self._stage(job)
        result = RunFolder.of(one).result_of(stage)
        checkpoints.require_fit(result, checkpoints.read(result), one, checkpoints.DECIDING[stage])
        self._fit.add(job)

    def _stage(self, job: Job) -> str:
        meta_trains = job.kind in {"trial", "arm"} and not self.own_pretraining
        return "meta-train" if meta_trains else "pretrain"

    def images(self, job: Job) -> int:
        """Images that pass the backbone in the training of a job: roughly how long it is."""
        if job.arm == PRETRAINED:
            return 1
        one = self._run(job, 0 if job.kind == "arm" and self.trials(job.arm) else job.trial)
        if self._stage(job) == "meta-train":
            return images_passed(one, self.pretrain_images)
        return max(1, one.pretrain.epochs * self.pretrain_images)


def all_seeds(config: Config) -> list[int]:
    """The seeds that are compared."""
    return [config.seed + i for i in range(config.compare.seeds)]


def trial_seeds(config: Config) -> list[int]:
    """Those after the last seed that is compared."""
    first = config.seed + config.compare.seeds
    return [first + i for i in range(config.compare.trial_seeds)]


def pretraining_run(config: Config, seed: int, below: Path) -> Config:
    """The pretraining that all arms of a seed start from."""
    return _run_at(replace(config, seed=seed), below / f"seed-{seed}", PRETRAINED)


def arm_run(config: Config, arm: Arm, seed: int, trial: int | None = None) -> Config:
    """The run of an arm as it is, or with one of its trials."""
    below = RunFolder.of(config).path / f"seed-{seed}"
    if trial is None:
        return _run_at(arm_config(config, arm, seed), below, slug(arm.name))
    return _run_at(arm_config(config, arm, seed, arm.trials[trial]), below / slug(arm.name), str(trial))


def trial_run(config: Config, arm: Arm, seed: int, trial: int | None) -> Config:
    """The run that tries one trial of an arm."""
    assert trial is not None
    below = RunFolder.of(config).path / "trials" / f"seed-{seed}" / slug(arm.name)
    return _run_at(arm_config(config, arm, seed, arm.trials[trial]), below, str(trial))


def _run_at(config: Config, folder: Path, run: str) -> Config:
    return replace(config, checkpoints=str(folder), run=run)


def answers_file(config: Config) -> Path:
    return RunFolder.of(config).path / "answers.pt"


def score_file(config: Config) -> Path:
    return RunFolder.of(config).path / "trial.json"


def score_of(config: Config) -> list[int]:
    """What the score of a trial depends on beside its training: the seed and the number of its tasks."""
    return [config.seed, config.compare.trial_tasks]
