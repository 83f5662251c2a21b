"""Meta-training, with hard tasks found and resampled on the way.

    python run_meta.py meta-train --config configs/omniglot.yaml

Starts from checkpoints/<run>/pretrain.pt. Writes meta.pt, the learner that did best on fixed tasks of the
validation classes, and hard_tasks.sqlite, the record of every episode and round.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mtl.config import Augment, Config
from mtl.episodes.episode import EpisodeBatch, EpisodeShape, Outcome, Round
from mtl.learners.learner import Learner
from mtl.ledger.rows import HARD_ORIGINS
from mtl.ledger.store import Ledger
from mtl.losses import CrossEntropy
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device, choose_device
from mtl.runtime.events import require_tensorboard
from mtl.runtime.interrupt import StopRequest
from mtl.runtime.precision import recorded_precision, settle_precision
from mtl.runtime.progress import Means
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.samplers import build_sampler, meta_steps
from mtl.samplers.objectives import build_objective
from mtl.training.pretrain_batches import image_level
from mtl.training.restore import learner_from_pretrained, read_pretrained
from mtl.training.run_data import RunData, load_run_data
from mtl.training.solve import (
    SplitImages,
    episode_images,
    measure,
    meta_step,
    solve_episodes,
    with_table,
)
from mtl.training.stage import (
    StageLog,
    bridge_gap,
    has_ended,
    record_round,
    register,
    require_finite,
    require_same_images,
    round_numbers,
    set_rate,
    warm_up_cosine,
    weights_of,
)

STAGE = "meta-train"


def meta_train(
    config: Config,
    resume: bool = False,
    run_data: RunData | None = None,
    tables: dict[str, Tensor] | None = None,
) -> None:
    """Trains what `meta.train` names, episode by episode, and resamples the tasks that fail.

    Args:
        config: of the run.
        resume: go on from the last checkpoint of the run; a stage that has ended is left as it is.
        run_data: the image set, where the caller has it already.
        tables: features (M, D) by a frozen backbone, by split and levels. Missing ones are added, for the
            next call with the same pretrained backbone.

    Raises:
        UserError: before anything is written, for what the user can mend.
        RunStopped: the loss is no longer finite.
        Interrupted: after Ctrl-C, with checkpoint and ledger written.
    """
    folder = RunFolder.of(config)
    with folder.held(STAGE):
        if has_ended(folder, STAGE, config, resume):
            return

        # Whatever can be refused is refused here, before the ledger is made.
        require_tensorboard(config.log)
        setup = Setup.of(folder, config, run_data, tables)
        state = MetaTrainState(setup)

        with Ledger.open(folder.ledger) as ledger, StopRequest() as stop:
            state.load_or_begin(folder, ledger)
            folder.write_config(setup.config)
            with StageLog.opened(folder, STAGE, setup.config, setup.steps, state) as log:
                # The start is a candidate as well: training has to beat it.
                if state.best is None:
                    validate(state, log)

                while state.step < setup.steps:
                    # Some samplers choose by the learner as it is now. They request tasks to be solved, which
                    # ends a round, or the features of images.
                    request = state.sampler.request(state.step)
                    if request is not None:
                        measured = measure(state.learner, setup.train, request)
                        ended = state.sampler.receive(request, measured)
                        if isinstance(request, EpisodeBatch) and isinstance(measured, Outcome):
                            assert ended is not None  # solved tasks end a round
                            ledger.append(STAGE, ended.number, state.step, request, measured, "train")
                            note_round(state, ended, ledger, log)

                    # Everything random depends on the step alone, so that a resumed run draws the same.
                    batch = state.sampler.draw(config.meta.tasks)
                    set_rate(state.optimizer, config.meta.lr * warm_up_cosine(state.step, setup.steps, 0.0))
                    state.learner.train(noise=generator(config.seed, "noise", state.step))
                    images = episode_images(
                        batch,
                        setup.train,
                        setup.changes,
                        generator(config.seed, "episode images", state.step),
                    )
                    outcome = meta_step(
                        state.learner,
                        state.optimizer,
                        images,
                        batch,
                        setup.train.at_once,
                        state.task_weights if state.has_task_weights else None,
                        state.query_loss,
                    )

                    # A diverged step must not reach the ledger or a checkpoint.
                    require_finite(float(outcome.loss.mean()), STAGE, state.step, "meta.lr", state.optimizer)

                    # The sampler learns from the outcome. A round that ends counts from the next step on.
                    ended = state.sampler.update(batch, outcome)
                    ledger.append(STAGE, state.round, state.step, batch, outcome, "train")
                    if ended is not None:
                        note_round(state, ended, ledger, log)
                    state.step += 1
                    note_step(state, batch, outcome, log)

                    if state.step % config.meta.validate_every == 0 or state.step == setup.steps:
                        validate(state, log, **state.means.take())

                    # Checkpoint and ledger are saved as one, so that a kill leaves them at the same step.
                    if stop.wanted or log.clock.due():
                        state.save(folder, log, ledger)
                    stop.here(STAGE, state.step, setup.steps)
            state.save(folder, log, ledger)
        folder.finish(STAGE, state.result(log))


@dataclass(frozen=True)
class Setup:
    """What meta-training works with and, but for the learner, does not change."""

    config: Config  # with the precision of pretraining
    device: Device
    run_data: RunData
    pretrained: Mapping[str, Any]  # pretrain.pt
    learner: Learner  # as meta-training starts with it
    train: SplitImages
    changes: Augment  # made to the training images
    val: SplitImages
    val_episodes: EpisodeBatch
    steps: int

    @staticmethod
    def of(
        folder: RunFolder, config: Config, run_data: RunData | None, tables: dict[str, Tensor] | None
    ) -> "Setup":
        """Reads what pretraining left; where the backbone is frozen, `tables` are used and completed."""
        pretrained = read_pretrained(folder, config, checkpoints.DECIDING["pretrain"])
        config = settle_precision(config, recorded_precision(pretrained))
        device, meta = choose_device(config.runtime), config.meta
        run_data = run_data or load_run_data(config)
        learner = learner_from_pretrained(pretrained, config, run_data.splits.train, device)
        train, val = (run_data.split_images(split, device) for split in ("train", "val"))
        changes = config.data.augment if meta.augment else Augment()
        episodes = run_data.fixed_episodes(
            "val",
            EpisodeShape(meta.way, meta.shot, meta.queries),
            meta.validate_tasks,
            config.seed,
            "validate",
            meta.validate_within_group,
        )
        if learner.backbone_frozen:
            tables = {} if tables is None else tables
            val = with_table(learner, val, tables, f"val {meta.head.levels}")
            if changes == Augment():
                train = with_table(learner, train, tables, f"train {meta.head.levels}")
        steps = meta_steps(config)
        return Setup(config, device, run_data, pretrained, learner, train, changes, val, episodes, steps)


class MetaTrainState:
    """What meta-training changes, all of which a checkpoint holds. A new one is at the start of training."""

    def __init__(self, setup: Setup) -> None:
        config, train = setup.config, setup.run_data.splits.train
        self.setup, self.header = setup, checkpoints.header(config, STAGE, train.class_names)
        self.learner, index = setup.learner, setup.run_data.index("train")
        self.sampler = build_sampler(config, index, train.groups, train.domain_ids())
        self.objective = build_objective(config.hard_tasks.objective, config.hard_tasks.tail)
        examples = config.meta.examples
        self.query_loss = None if examples.by == "all" else image_level(examples, CrossEntropy(), 1, None)
        self.optimizer = torch.optim.Adam(
            self.learner.meta_parameters(),
            lr=config.meta.lr,
            weight_decay=config.meta.weight_decay,
            fused=True,
        )
        self.step, self.round = 0, 0
        self.best: dict[str, Any] | None = None  # score, step and learner of the best validation
        self.snapshots: list[dict[str, Any]] = []  # the learners of the last rounds
        self.means, self.hard = Means(), 0  # since the last line of metrics.jsonl; hard episodes so far
        self.elapsed = 0.0
        self.metrics_size: int | None = None

    def load_or_begin(self, folder: RunFolder, ledger: Ledger) -> None:
        """Goes on with the last checkpoint of the stage; or clears the ledger of an earlier start.

        Raises:
            UserError: the checkpoint, its ledger or the images do not fit.
        """
        config, train = self.setup.config, self.setup.run_data.splits.train
        saved = folder.unfinished(STAGE, ledger, config.log.allow_gaps)
        if saved is None:
            ledger.clear(STAGE)
            register(ledger, "train", train)
            return
        checkpoints.require_fit(folder.last, saved, config, checkpoints.DECIDING[STAGE])
        require_same_images(ledger, "train", train)
        bridge_gap(ledger, STAGE, saved, train)
        checkpoints.tell_other_rounding(saved, self.setup.device.computed_on())
        with checkpoints.restoring(folder.last):
            self.learner.load_state_dict(saved["learner"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.sampler.load_state_dict(saved["sampler"])
            if self.objective is not None:
                self.objective.load_state_dict(saved["objective"])
            self.step, self.round, self.best = int(saved["step"]), saved["round"], saved["best"]
            self.snapshots, self.means, self.hard = saved["snapshots"], Means(saved["means"]), saved["hard"]
            self.elapsed, self.metrics_size = saved["elapsed"], saved["metrics"]

    def save(self, folder: RunFolder, log: StageLog, ledger: Ledger) -> None:
        """Writes a checkpoint and commits the ledger, as one."""
        payload = {
            **self.header,
            "computed_on": self.setup.device.computed_on(),
            "step": self.step,
            "round": self.round,
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sampler": self.sampler.state_dict(),
            "objective": None if self.objective is None else self.objective.state_dict(),
            "best": self.best,
            "snapshots": self.snapshots,
            "means": self.means.state_dict(),
            "hard": self.hard,
            **log.position(),
        }
        folder.save(payload, ledger)

    def result(self, log: StageLog) -> dict[str, Any]:
        """meta.pt: the best learner."""
        assert self.best is not None  # the start is validated
        done = {"snapshots": self.snapshots, "normalise": self.setup.pretrained["normalise"]}
        return {**self.header, **self.best, **done, "seconds": log.clock.elapsed}

    @property
    def has_task_weights(self) -> bool:
        """True if the tasks of a meta-batch can have different weights."""
        return self.sampler.has_task_weights or self.objective is not None

    def task_weights(self, losses: Tensor) -> Tensor:
        """The weight of each task of a meta-batch (T,), from its loss (T,)."""
        weights = self.sampler.task_weights(losses)
        return weights if self.objective is None else weights * self.objective.task_weights(losses)


def note_round(state: MetaTrainState, ended: Round, ledger: Ledger, log: StageLog) -> None:
    """Records a round, and keeps a copy of the learner where it may vote later."""
    state.round = ended.number
    record_round(ledger, STAGE, "train", state.step, ended)
    log.events.write(state.step + 1, round_numbers(ended))  # counted with the update under way
    wanted = state.setup.config.hard_tasks.snapshots
    if wanted:
        snapshot = {"step": state.step, "alpha": ended.alpha, "learner": weights_of(state.learner)}
        state.snapshots = [*state.snapshots, snapshot][-wanted:]


def note_step(state: MetaTrainState, batch: EpisodeBatch, outcome: Outcome, log: StageLog) -> None:
    """Adds a step to the means of the next line of metrics.jsonl, and shows it."""
    loss, accuracy = float(outcome.loss.mean()), float(outcome.accuracy.mean())
    hard = sum(origin in HARD_ORIGINS for origin in batch.origin)
    state.hard += hard
    state.means.add(loss=loss, accuracy=accuracy)
    log.progress.step(
        images=batch.image_indices().numel(),
        loss=loss,
        accuracy=accuracy,
        hard=f"{state.hard} (+{hard})",
        round=state.round,
    )


def validate(state: MetaTrainState, log: StageLog, **numbers: float) -> None:
    """Scores the learner on the validation tasks, and keeps it where it is the best so far.

    `numbers` go into the same line of metrics.jsonl.
    """
    setup, meta = state.setup, state.setup.config.meta
    score = float(solve_episodes(state.learner, setup.val, setup.val_episodes).accuracy.mean())
    log.measured(
        state.step,
        {**numbers, "val": score, "seconds": log.clock.elapsed},
        f"step {state.step}/{setup.steps}: val {meta.way}-way {meta.shot}-shot {100 * score:.2f}",
    )
    if state.best is None or not score <= state.best["score"]:
        state.best = {"score": score, "step": state.step, "learner": weights_of(state.learner)}
