"""What meta-training works with, what it changes, and how that goes into a checkpoint."""

from typing import Any

import torch
from torch import Tensor

from mtl.config import Augment, Config, Meta
from mtl.episodes.episode import EpisodeBatch, EpisodeShape
from mtl.learners import Learner, MetaTransfer
from mtl.ledger.store import Ledger
from mtl.losses import CrossEntropy
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device, recorded_precision, settle_precision
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import Draws, generator
from mtl.runtime.world import World
from mtl.samplers import build_sampler, learner_steps, meta_steps
from mtl.samplers.objectives import build_objective
from mtl.training.pretrain_batches import image_level
from mtl.training.restore import learner_from_pretrained, read_pretrained
from mtl.training.run_data import RunData, load_run_data
from mtl.training.solve import tasks_here, with_table
from mtl.training.stage import (
    StageLog,
    StageState,
    bridge_gap,
    register,
    require_same_images,
    warm_up_cosine,
)

STAGE = "meta-train"

#: A learner that votes later: the step that it is of, its weights, and the α of its round.
Snapshot = dict[str, Any]


class MetaTrainState(StageState):
    """What meta-training works with, and what it changes. A new one is at the start of training."""

    def __init__(
        self,
        folder: RunFolder,
        config: Config,
        run_data: RunData | None,
        tables: dict[str, Tensor] | None,
        world: World,
    ) -> None:
        deciding = checkpoints.DECIDING["pretrain"]
        pretrained = world.from_first(lambda: read_pretrained(folder, config, deciding))
        config = settle_precision(config, recorded_precision(pretrained))
        device, meta = choose_device(config.runtime, world), config.meta
        run_data = run_data or load_run_data(config, world)
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
        world, gaps = self.device.world, self.config.log.allow_gaps
        saved = world.from_first(lambda: folder.unfinished(STAGE, ledger, gaps))
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
        """Writes a checkpoint and commits the ledger, as one; of several processes the first does."""
        if not self.device.world.first:
            return
        self.device.world.note_begun()
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

    def noise(self, batch: EpisodeBatch) -> Draws:
        """What the noise of a step is drawn from: for each image the same, whichever process has it."""
        random, world = generator(self.config.seed, "noise", self.step), self.device.world
        rows = torch.arange(batch.image_indices().numel()).view(len(batch), -1)
        if world.size == 1:
            return Draws(random, count=rows.numel())
        return Draws(random, rows[tasks_here(world, len(batch))].flatten(), rows.numel())

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
