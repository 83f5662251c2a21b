"""What both stages share: whether they have ended, what they resume from, what they write in training."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtl.config import Config
from mtl.data import ImageSet
from mtl.data.image_set import fingerprint
from mtl.episodes.episode import Round
from mtl.errors import RunStopped, UserError
from mtl.ledger import store as ledgers
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device
from mtl.runtime.events import Events
from mtl.runtime.progress import Means, Progress, tell
from mtl.runtime.run_folder import Clock, Metrics, RunFolder
from mtl.runtime.world import World


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


class StageState:
    """What the states of both stages have in common."""

    def __init__(self, config: Config, stage: str, train: ImageSet, device: Device) -> None:
        self.config, self.device = config, device
        self.header = checkpoints.header(config, stage, train.class_names)
        self.step = 0
        self.best: dict[str, Any] | None = None  # the best validation: its step, scores and weights
        self.means = Means()  # since the last line of metrics.jsonl
        self.elapsed = 0.0  # seconds of training before this sitting
        self.metrics_size: int | None = None  # bytes of metrics.jsonl to keep; None: no line of the stage

    def _load(self, saved: Mapping[str, Any]) -> None:
        self.step, self.best, self.means = int(saved["step"]), saved["best"], Means(saved["means"])
        self.elapsed, self.metrics_size = saved["elapsed"], saved["metrics"]

    def _payload(self, log: "StageLog") -> dict[str, Any]:
        return {
            **self.header,
            "computed_on": self.device.computed_on(),
            "step": self.step,
            "best": self.best,
            "means": self.means.state_dict(),
            "elapsed": log.clock.elapsed,
            "metrics": log.metrics.size,
        }


@dataclass(frozen=True)
class StageLog:
    """What a stage writes and shows as it trains, and its clock."""

    metrics: Metrics
    clock: Clock
    progress: Progress
    events: Events

    @staticmethod
    @contextmanager
    def opened(folder: RunFolder, stage: str, steps: int, state: StageState) -> Iterator["StageLog"]:
        """The log of a stage that goes on from `state`; what it wrote of later steps is dropped."""
        config = state.config
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


def open_ledger(folder: RunFolder, world: World) -> ledgers.Ledger:
    """The ledger of the run; of several processes all but the first write into one that is not kept."""
    return (ledgers.Ledger if world.first else ledgers.Unwritten).open(folder.ledger)


def require_same_images(where: Path, recorded: str | None, split: str, images: ImageSet) -> None:
    """Checks that a stage goes on with the images that it began with, by their recorded fingerprint."""
    if recorded is not None and recorded != fingerprint(images):
        raise UserError(
            f"{where}: the images of the {split} split are not those that the run began with; restore them, "
            "or begin another run with run=NAME"
        )


def register(ledger: ledgers.Ledger, split: str, images: ImageSet) -> None:
    """Records which images and classes the ids of a split refer to.

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
    row = ledgers.RoundRow(
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
    if ended.neighbourhoods is not None:
        ledger.add_neighbourhoods(phase, split, ended.number, ended.neighbourhoods)
    if ended.unit == "task" and ended.weights is not None and ended.members is not None:
        tasks = ended.members(torch.arange(len(ended.weights)))
        ledger.set_task_weights(phase, tasks, ended.weights)


def warm_up_cosine(step: int, steps: int, warm_up: float) -> float:
    """Factor of the learning rate: climbs over the share `warm_up` of the steps, then half a cosine to 0."""
    climb = warm_up * steps
    if step < climb:
        return (step + 1) / (climb + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - climb) / max(1.0, steps - climb)))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Sets the learning rate of all parameters; of a group with `times`, that many times as high."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("times", 1.0)


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
