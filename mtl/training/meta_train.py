"""Meta-training, with hard tasks found and resampled on the way.

    python run_meta.py meta-train --config configs/omniglot.yaml

Starts from checkpoints/<run>/pretrain.pt. Writes meta.pt, the learner that did best on fixed tasks of the
validation classes, and hard_tasks.sqlite, the record of every episode and round.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from mtl.config import Augment, Config, Meta
from mtl.episodes.episode import EpisodeBatch, EpisodeShape, Outcome, Round
from mtl.learners import Learner, MetaTransfer
from mtl.ledger.rows import HARD_ORIGINS
from mtl.ledger.store import Ledger
from mtl.losses import CrossEntropy
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device, recorded_precision, settle_precision
from mtl.runtime.events import require_tensorboard
from mtl.runtime.process import StopRequest
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.samplers import build_sampler, learner_steps, meta_steps
from mtl.samplers.objectives import build_objective
from mtl.training.pretrain_batches import image_level
from mtl.training.restore import learner_from_pretrained, read_pretrained, voting
from mtl.training.run_data import RunData, load_run_data
from mtl.training.solve import episode_images, measure, meta_step, solve_episodes, with_table
from mtl.training.stage import (
    StageLog,
    StageState,
    bridge_gap,
    has_ended,
    record_round,
    register,
    require_finite,
    require_same_images,
    set_rate,
    warm_up_cosine,
    weights_of,
)

STAGE = "meta-train"

#: A learner that votes later: the step that it is of, its weights, and the α of its round.
Snapshot = dict[str, Any]


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

        # Whatever can be refused is refused before anything is written.
        require_tensorboard(config.log)
        state = MetaTrainState(folder, config, run_data, tables)

        with Ledger.open(folder.ledger) as ledger, StopRequest() as stop:
            state.load_or_begin(folder, ledger)
            folder.write_config(state.config)
            with StageLog.opened(folder, STAGE, state.steps, state) as log:
                # The start is a candidate as well: training has to beat it.
                if state.best is None:
                    validate(state, log)

                while not state.ended:
                    # Some samplers choose by the learner as it is now: they ask for a meta-test, which ends
                    # a round. Of several learners, one that has ended joins the vote with the α of its round,
                    # and the next begins afresh, on the tasks that those before it failed.
                    if state.learner_ended:
                        state.take_best()
                        meta_test(state, ledger, log)
                        state.next_learner()
                        if state.ended:
                            break
                        validate(state, log)
                    else:
                        meta_test(state, ledger, log)

                    # Randomness follows from step and sampler state: a resumed run draws the same.
                    batch = state.sampler.draw(config.meta.tasks)
                    random = generator(config.seed, "episode images", state.step)
                    state.learner.train(noise=generator(config.seed, "noise", state.step))
                    set_rate(state.optimizer, config.meta.lr * state.rate_factor())
                    outcome = meta_step(
                        state.learner,
                        state.optimizer,
                        episode_images(batch, state.train_images, state.changes, random),
                        batch,
                        state.train_images.at_once,
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
                    if state.step % config.meta.validate_every == 0 or state.step % state.steps_each == 0:
                        validate(state, log, **state.means.take())

                    # Checkpoint and ledger are saved as one, so that a kill leaves them at the same step.
                    if stop.wanted or log.clock.due():
                        state.save(folder, log, ledger)
                    stop.here(STAGE, state.step, state.steps)
                if state.members:
                    validate_vote(state, log)
            state.save(folder, log, ledger)
        folder.finish(STAGE, state.result(log))


class MetaTrainState(StageState):
    """What meta-training works with, and what it changes. A new one is at the start of training."""

    def __init__(
        self,
        folder: RunFolder,
        config: Config,
        run_data: RunData | None,
        tables: dict[str, Tensor] | None,
    ) -> None:
        pretrained = read_pretrained(folder, config, checkpoints.DECIDING["pretrain"])
        config = settle_precision(config, recorded_precision(pretrained))
        device, meta = choose_device(config.runtime), config.meta
        run_data = run_data or load_run_data(config)
        super().__init__(config, STAGE, run_data.splits.train, device)

        # What stays as it is.
        self.steps, self.steps_each = meta_steps(config), learner_steps(config)
        self.pretrained, self.normalise = pretrained, pretrained["normalise"]
        self.train, index = run_data.splits.train, run_data.index("train")
        self.objective = build_objective(config.hard_tasks.objective, config.hard_tasks.tail)
        examples = meta.examples
        self.query_loss = None if examples.by == "all" else image_level(examples, CrossEntropy(), 1, None)
        self.changes = config.data.augment if meta.augment else Augment()  # of training images
        self.train_images = run_data.split_images("train", device)
        self.val_images = run_data.split_images("val", device)
        shape, within = EpisodeShape(meta.way, meta.shot, meta.queries), meta.validate_within_group
        self.val_episodes = run_data.fixed_episodes(
            "val", shape, meta.validate_tasks, config.seed, "validate", within
        )

        # What training changes; checkpoints hold all of it.
        self.sampler = build_sampler(config, index, self.train.groups, self.train.domain_ids())
        self.round, self.hard = 0, 0  # the last round; hard episodes so far
        self.alpha: float | None = None  # of the last round; None where the sampler has no error
        self.snapshots: list[Snapshot] = []  # the learners of the last rounds
        self.members: list[Snapshot] = []  # of several learners those that have ended
        self.begin_learner()

        # A frozen backbone gives an unchanged image the same features throughout: computed once.
        if self.learner.backbone_frozen:
            tables, levels = {} if tables is None else tables, meta.head.levels
            self.val_images = with_table(self.learner, self.val_images, tables, f"val {levels}")
            if self.changes == Augment():
                self.train_images = with_table(self.learner, self.train_images, tables, f"train {levels}")

    def begin_learner(self) -> None:
        """A learner as it is without meta-training."""
        meta = self.config.meta
        self.learner = learner_from_pretrained(self.pretrained, self.config, self.train, self.device)
        groups = parameter_groups(self.learner, meta)
        self.optimizer = torch.optim.Adam(groups, lr=meta.lr, weight_decay=meta.weight_decay, fused=True)

    @property
    def ended(self) -> bool:
        """True after all steps, when the last of several learners has joined the vote."""
        return self.step == self.steps and not self.learner_ended

    @property
    def learner_ended(self) -> bool:
        """True if one of several learners has made all of its steps, and has not joined the vote yet."""
        several = self.config.meta.learners > 1
        return several and self.step == (len(self.members) + 1) * self.steps_each

    def take_best(self) -> None:
        """The learner as validation liked it best."""
        assert self.best is not None  # the start is validated
        self.learner.load_state_dict(self.best["learner"])

    def next_learner(self) -> None:
        """The learner joins those that vote, with the α of the round that it ends with; the next begins."""
        assert self.best is not None
        self.members = [*self.members, {**self.best, "alpha": self.alpha}]
        if not self.ended:
            self.best = None
            self.begin_learner()

    def rate_factor(self) -> float:
        """Factor of the learning rate at this step: half a cosine to 0 for each learner."""
        return warm_up_cosine(self.step % self.steps_each, self.steps_each, 0.0)

    def load_or_begin(self, folder: RunFolder, ledger: Ledger) -> None:
        """Goes on from the last checkpoint of the stage; where there is none, clears its part of the ledger.

        Raises:
            UserError: the checkpoint, the ledger or the images do not fit.
        """
        saved = folder.unfinished(STAGE, ledger, self.config.log.allow_gaps)
        if saved is None:
            ledger.clear(STAGE)
            register(ledger, "train", self.train)
            return
        checkpoints.require_fit(folder.last, saved, self.config, checkpoints.DECIDING[STAGE])
        require_same_images(ledger.path, ledger.images().get("train"), "train", self.train)
        bridge_gap(ledger, STAGE, saved, self.train)
        checkpoints.tell_other_rounding(saved, self.device.computed_on())
        with checkpoints.restoring(folder.last):
            self._load(saved)
            self.learner.load_state_dict(saved["learner"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.sampler.load_state_dict(saved["sampler"])
            if self.objective is not None:
                self.objective.load_state_dict(saved["objective"])
            for name in ("round", "alpha", "hard", "snapshots", "members"):
                setattr(self, name, saved[name])

    def save(self, folder: RunFolder, log: StageLog, ledger: Ledger) -> None:
        """Writes a checkpoint and commits the ledger, as one."""
        payload = {
            **self._payload(log),
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sampler": self.sampler.state_dict(),
            "objective": None if self.objective is None else self.objective.state_dict(),
            "round": self.round,
            "alpha": self.alpha,
            "hard": self.hard,
            "snapshots": self.snapshots,
            "members": self.members,
        }
        folder.save(payload, ledger)

    def result(self, log: StageLog) -> dict[str, Any]:
        """meta.pt: the best learner; of several all, with what validation says of their vote."""
        assert self.best is not None  # the start is validated
        done = {"normalise": self.normalise, "seconds": log.clock.elapsed}
        kept = {"snapshots": self.snapshots, "members": self.members}
        return {**self.header, **self.best, **kept, **done}

    @property
    def has_task_weights(self) -> bool:
        """True if the tasks of a meta-batch can have different weights."""
        return self.sampler.has_task_weights or self.objective is not None

    def task_weights(self, losses: Tensor) -> Tensor:
        """The weight of each task of a meta-batch (T,), from its loss (T,)."""
        weights = self.sampler.task_weights(losses)
        return weights if self.objective is None else weights * self.objective.task_weights(losses)


def parameter_groups(learner: Learner, meta: Meta) -> list[dict[str, Any]]:
    """What the optimizer changes; the head's parameters apart where they have another learning rate."""
    learned = learner.meta_parameters()
    if meta.head_lr is None or not isinstance(learner, MetaTransfer):
        return [{"params": learned}]
    head = set(learner.base_learner.parameters())
    return [
        {"params": [p for p in learned if p not in head]},
        {"params": [p for p in learned if p in head], "times": meta.head_lr / meta.lr},
    ]


def meta_test(state: MetaTrainState, ledger: Ledger, log: StageLog) -> None:
    """Solves the tasks, or takes the features of the images, that the sampler requests before a step."""
    request = state.sampler.request(state.step)
    if request is None:
        return
    measured = measure(state.learner, state.train_images, request)
    ended = state.sampler.receive(request, measured)
    if ended is not None:
        if isinstance(request, EpisodeBatch) and isinstance(measured, Outcome):
            ledger.append(STAGE, ended.number, state.step, request, measured, "train")
        note_round(state, ended, ledger, log)


def note_round(state: MetaTrainState, ended: Round, ledger: Ledger, log: StageLog) -> None:
    """Records a round, and keeps a copy of the learner where it may vote later."""
    state.round, state.alpha = ended.number, None if ended.epsilon is None else ended.alpha
    record_round(ledger, STAGE, "train", state.step, ended)
    numbers = {
        "epsilon": ended.epsilon,
        "alpha": state.alpha,  # neither, where the sampler has no error
        "pool_accuracy": ended.accuracy,
        "hard_share": ended.hard_share,
    }
    log.events.write(state.step + 1, numbers)  # counted with the update under way
    wanted = state.config.hard_tasks.snapshots
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


def validate(state: MetaTrainState, log: StageLog, **means: float) -> None:
    """Scores the learner on the validation tasks, and keeps it where it is the best so far.

    `means` of loss and accuracy since the last validation go into the same line of metrics.jsonl.
    """
    score = _score(state, state.learner)
    line = {**means, "val": score, "seconds": log.clock.elapsed}
    log.measured(state.step, line, f"step {state.step}/{state.steps}: {_in_words(state, score)}")
    if state.best is None or score > state.best["score"]:
        state.best = {"score": score, "step": state.step, "learner": weights_of(state.learner)}


def validate_vote(state: MetaTrainState, log: StageLog) -> None:
    """Scores the vote of several learners on the validation tasks."""
    start = partial(learner_from_pretrained, state.pretrained, state.config, state.train, state.device)
    score = _score(state, voting(state.members, start))
    words = f"vote of {len(state.members)} learners: {_in_words(state, score)}"
    log.measured(state.step, {"vote": score, "seconds": log.clock.elapsed}, words)
    assert state.best is not None
    state.best = {**state.best, "score": score, "step": state.step}


def _score(state: MetaTrainState, learner: Learner) -> float:
    """Mean accuracy on the validation tasks."""
    return float(solve_episodes(learner, state.val_images, state.val_episodes).accuracy.mean())


def _in_words(state: MetaTrainState, score: float) -> str:
    return f"val {state.config.meta.way}-way {state.config.meta.shot}-shot {100 * score:.2f}"
