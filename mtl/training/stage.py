"""What both stages share: when they have ended, what they go on with, and what they write as they train."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtl.config import Config
from mtl.data import ImageSet
from mtl.data.fingerprint import fingerprint
from mtl.episodes.episode import Round
from mtl.errors import RunStopped, UserError
from mtl.ledger import store as ledgers
from mtl.runtime import checkpoints
from mtl.runtime.events import Events
from mtl.runtime.progress import Progress, tell
from mtl.runtime.run_folder import Clock, Metrics, RunFolder


def has_ended(folder: RunFolder, stage: str, config: Config, resume: bool) -> bool:
    """True if the result of the stage is there already, made with this config.

    Raises:
        UserError: it was made with another config; or, without `resume`, the stage was begun before.
    """
    if not resume:
        folder.refuse_existing(stage)
    result = folder.result_of(stage)
    if not result.exists():
        return False
    checkpoints.require_fit(result, checkpoints.read(result), config, checkpoints.DECIDING[stage])
    tell(f"{stage}: {result} is there, nothing is left to do", config.log)
    return True


class Resumable(Protocol):
    """The state of a stage, as far as its log goes on with it."""

    step: int
    elapsed: float  # seconds of training before this sitting
    metrics_size: int | None  # bytes of metrics.jsonl to keep; None: no line of the stage


@dataclass(frozen=True)
class StageLog:
    """What a stage writes and shows as it trains, and its clock."""

    metrics: Metrics
    clock: Clock
    progress: Progress
    events: Events

    @staticmethod
    @contextmanager
    def opened(
        folder: RunFolder, stage: str, config: Config, steps: int, state: Resumable
    ) -> Iterator["StageLog"]:
        """The log of a stage that goes on from `state`; what it wrote of later steps is dropped."""
        metrics = Metrics(folder.metrics, stage, state.metrics_size)
        clock = Clock(config.runtime.checkpoint_seconds, state.elapsed)
        with (
            Progress(stage, steps, state.step, config.log) as progress,
            Events(folder.path, stage, state.step, config.log) as events,
        ):
            yield StageLog(metrics, clock, progress, events)

    def measured(self, step: int, numbers: Mapping[str, Any], sentence: str) -> None:
        """Writes the numbers measured after a step, and shows them as a sentence."""
        self.metrics.write(step=step, **numbers)
        self.events.write(step, numbers)
        self.progress.say(sentence)

    def position(self) -> dict[str, Any]:
        """What a checkpoint keeps of the log."""
        return {"elapsed": self.clock.elapsed, "metrics": self.metrics.size}


def require_same_training_images(path: Path, saved: Mapping[str, Any], train: ImageSet) -> None:
    """Checks that a stage without a ledger goes on with the images that it began with.

    Args:
        path: of its last checkpoint.
        saved: that checkpoint.
        train: the train split.

    Raises:
        UserError: the images are others.
    """
    if saved.get("fingerprint") != fingerprint(train):
        what = "images" if saved["classes"] == list(train.class_names) else "classes"
        raise UserError(f"{path}: the {what} of the train split are not those {_BEGUN_WITH}")


def require_same_images(ledger: ledgers.Ledger, split: str, images: ImageSet) -> None:
    """Checks that a stage with a ledger goes on with the images that it began with.

    Raises:
        UserError: the images are others.
    """
    now = fingerprint(images)
    if ledger.images().get(split, now) != now:
        raise UserError(f"{ledger.path}: the images of the {split} split are not those {_BEGUN_WITH}")


_BEGUN_WITH = "that the run began with; restore them, or begin another run with run=NAME"


def register(ledger: ledgers.Ledger, split: str, images: ImageSet) -> None:
    """Records which images and classes the numbers of a split stand for.

    Phases on other images of the same split are cleared: their numbers would be read as those of these.
    """
    now = fingerprint(images)
    if ledger.images().get(split, now) != now:
        for phase in ledger.phases():
            if phase.split == split:
                ledger.clear(phase.name)
    groups = None if images.groups is None else dict(enumerate(images.groups))
    ledger.register_classes(split, dict(enumerate(images.class_names)), groups)
    ledger.register_images(split, now)


def bridge_gap(ledger: ledgers.Ledger, phase: str, saved: Mapping[str, Any], train: ImageSet) -> None:
    """Prepares a ledger that was not saved with this checkpoint for going on with it.

    A ledger that lags behind keeps its rows. One that is ahead loses the phase: its sums cannot be taken back
    to an earlier step.
    """
    if ledger.token() == saved["token"]:
        return
    last = ledger.last_step(phase)
    if last is not None and last >= saved["step"]:
        ledger.clear(phase)
    register(ledger, "train", train)


def record_round(ledger: ledgers.Ledger, phase: str, split: str, step: int, ended: Round) -> None:
    """Records a round and its weights; where units are tasks, also the weight that each task has now."""
    row = ledgers.Round(
        ended.number,
        step,
        ended.unit,
        ended.pool,
        ended.epsilon,
        ended.alpha,
        ended.accuracy,
        ended.hard_share,
    )
    ledger.add_round(phase, split, row, ended.weights, ended.members)
    if ended.unit == "task" and ended.weights is not None and ended.members is not None:
        tasks = ended.members(torch.arange(len(ended.weights)))
        ledger.set_task_weights(phase, tasks, ended.weights)


def round_numbers(ended: Round) -> dict[str, float | None]:
    """The numbers of a round that are plotted over training; None where the sampler has no error."""
    return {
        "epsilon": ended.epsilon,
        "alpha": None if ended.epsilon is None else ended.alpha,
        "pool_accuracy": ended.accuracy,
        "hard_share": ended.hard_share,
    }


def warm_up_cosine(step: int, steps: int, warm_up: float) -> float:
    """Factor of the learning rate: climbs over the share `warm_up` of the steps, then half a cosine to 0."""
    climb = warm_up * steps
    if step < climb:
        return (step + 1) / (climb + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - climb) / max(1.0, steps - climb)))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Sets the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def require_finite(loss: float, stage: str, step: int, key: str, optimizer: Optimizer) -> None:
    """Raises RunStopped unless the loss is finite; to be called before the step is saved."""
    if not math.isfinite(loss):
        rate = optimizer.param_groups[0]["lr"]
        raise RunStopped(
            f"{stage}: the loss is {loss} at step {step}; the likely cause is too high a learning rate "
            f"({key} gave {rate:.3g} here). The last checkpoint is from before it"
        )


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the network's state, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
