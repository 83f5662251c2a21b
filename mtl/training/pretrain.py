"""Pretraining: ordinary classification of the base classes.

    python run_meta.py pretrain --config configs/omniglot.yaml

Writes checkpoints/<run>/pretrain.pt: the backbone whose few-shot accuracy on the validation classes was best.
With `pretrain.epochs: 0` it is the backbone as it is, with the weights of `backbone.weights` or random ones.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtl.config import Config
from mtl.data.image_set import fingerprint
from mtl.data.ink import as_plain, file_sides, ink_of_set
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape
from mtl.errors import UserError
from mtl.learners.learner import episode_labels
from mtl.losses import SelfPacedLoss
from mtl.models.backbones import load_weights
from mtl.models.batch_norm import share_statistics
from mtl.models.classifiers import angle_classifier, build_classifier
from mtl.models.heads import prototype_logits
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device, choose_device, recorded_precision, settle_precision
from mtl.runtime.events import require_tensorboard
from mtl.runtime.process import StopRequest
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.runtime.world import ALONE, World, digest
from mtl.training import curriculum
from mtl.training.pretrain_batches import Batch, Batches, pretraining_loss
from mtl.training.pretrain_objective import Objective, load_teacher
from mtl.training.restore import fresh_backbone
from mtl.training.run_data import RunData, load_run_data
from mtl.training.solve import extract, solve_table
from mtl.training.stage import (
    StageLog,
    StageState,
    has_ended,
    require_finite,
    require_same_images,
    set_rate,
    warm_up_cosine,
    weights_of,
)

STAGE = "pretrain"


def pretrain(
    config: Config, resume: bool = False, run_data: RunData | None = None, world: World = ALONE
) -> None:
    """Trains the backbone and a classifier of all base classes with SGD.

    Args:
        config: of the run.
        resume: go on from the last checkpoint of the run; a stage that has ended is left as it is.
        run_data: the image set, where the caller has it already.
        world: the processes that train together.

    Raises:
        UserError: before anything is written, for what the user can mend.
        RunStopped: the loss is no longer finite.
        Interrupted: after Ctrl-C, with the checkpoint written.
    """
    folder = RunFolder.of(config)
    with folder.held(STAGE):
        if world.from_first(lambda: has_ended(folder, STAGE, config, resume)):
            return

        # Whatever can be refused is refused here, before anything is written.
        require_tensorboard(config.log)
        saved = world.from_first(lambda: folder.unfinished(STAGE, gaps=config.log.allow_gaps))
        before = recorded_precision(saved) if saved else None
        precision = world.from_first(lambda: settle_precision(config, before).runtime.precision)
        config = replace(config, runtime=replace(config.runtime, precision=precision))
        device = choose_device(config.runtime, world)
        run_data = run_data or load_run_data(config, world)
        state = PretrainState(config, run_data, device)
        state.load_or_begin(folder, saved)
        batches, cfg = Batches(config, run_data, device), config.pretrain
        folder.write_config(config)

        with StageLog.opened(folder, STAGE, batches.steps, state) as log, StopRequest() as stop:
            # Without any training the result is the backbone as it is.
            if not batches.steps and state.best is None:
                validate(state, log, epoch=0)

            while state.step < batches.steps:
                # Everything random depends on the step alone, so that a resumed run draws the same.
                epoch = state.step // batches.per_epoch
                batch = batches.at(state.step)
                set_rate(state.optimizer, cfg.lr * warm_up_cosine(state.step, batches.steps, cfg.warm_up))
                state.criterion.begin_epoch(epoch)
                state.network.train()
                loss, accuracy = pretrain_step(state.network, device, state.optimizer, state.objective, batch)

                # A diverged step must not reach a checkpoint.
                require_finite(loss, STAGE, state.step, "pretrain.lr", state.optimizer)
                state.step += 1
                state.means.add(loss=loss, accuracy=accuracy)
                log.progress.step(images=len(batch.rows), loss=loss, accuracy=accuracy, epoch=epoch + 1)

                # The curriculum of self-paced learning: what each image weighed in the epoch that ends.
                if state.step % batches.per_epoch == 0 and isinstance(state.criterion, SelfPacedLoss):
                    state.admitted.append(
                        curriculum.percent(state.criterion.weights_now[run_data.pretrain_images])
                    )

                if state.step % (batches.per_epoch * cfg.validate_every) == 0 or state.step == batches.steps:
                    validate(state, log, epoch + 1, **state.means.take())

                # The checkpoint of a stop comes first: `here` raises Interrupted.
                stopping = world.agree(stop.wanted, digest(batch.rows))
                if stopping or log.clock.due():
                    state.save(folder, log)
                stop.here(stopping, STAGE, state.step, batches.steps)
        state.save(folder, log)
        if state.admitted:
            curriculum.write(folder.curriculum, state.header, run_data, state.admitted)
        folder.finish(STAGE, state.result(log))


class PretrainState(StageState):
    """What pretraining works with, and what it changes."""

    def __init__(self, config: Config, run_data: RunData, device: Device) -> None:
        """The start of training, with a random backbone."""
        cfg, train = config.pretrain, run_data.splits.train
        super().__init__(config, STAGE, train, device)

        # What stays as it is.
        self.run_data, self.fingerprint = run_data, fingerprint(train)
        self.val_images = run_data.split_images("val", device)
        self.val_episodes = validation_episodes(config, run_data)

        # What training changes; checkpoints hold all of it.
        backbone = fresh_backbone(config, train)
        features = int(backbone.out_features)  # type: ignore[arg-type]
        networks, classes = config.backbone.networks, train.num_classes
        drawn = generator(config.seed, "classifier")
        classifier = build_classifier(cfg, features, classes, drawn, networks)
        self.network = nn.ModuleDict({"backbone": backbone, "classifier": classifier})
        if cfg.rotation.share:
            self.network["angles"] = angle_classifier(features, generator(config.seed, "angles"), networks)
        device.place(self.network)
        if cfg.epochs:
            share_statistics(self.network, device.world)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=cfg.lr,
            momentum=cfg.momentum,
            weight_decay=cfg.weight_decay,
            nesterov=cfg.momentum > 0,
            fused=True,
        )
        counts = torch.bincount(train.labels[run_data.pretrain_images], minlength=train.num_classes)
        self.criterion = pretraining_loss(cfg, counts, len(train)).to(device.torch_device)
        self.objective = Objective(
            self.criterion,
            train.domain_ids() if cfg.sets.heads == "per_set" and train.domains else None,
            cfg.rotation.weight,
            load_teacher(config, run_data, device),
        )
        self.admitted: list[Tensor] = []  # self-paced learning: what each image weighed in each epoch

    def load_or_begin(self, folder: RunFolder, saved: Mapping[str, Any] | None) -> None:
        """Goes on from the last checkpoint of the stage; where there is none, loads `backbone.weights`.

        Raises:
            UserError: the checkpoint or the images do not fit, or the weights are not available.
        """
        if saved is None:
            with self.device.world.after_first_here():
                load_weights(self.network["backbone"], self.config.backbone)
            return
        checkpoints.require_fit(folder.last, saved, self.config, checkpoints.DECIDING[STAGE])
        require_same_images(folder.last, saved["fingerprint"], "train", self.run_data.splits.train)
        teacher = self.objective.teacher
        if teacher is not None and saved.get("teacher") != teacher.digest:
            raise UserError(
                f"{folder.last}: pretrain.distillation.teacher has changed since the stage began; put the "
                "teacher's checkpoint back, or train another run with run=NAME"
            )
        checkpoints.tell_other_rounding(saved, self.device.computed_on())
        with checkpoints.restoring(folder.last):
            self._load(saved)
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.criterion.load_state_dict(saved["loss"])
            self.admitted = saved["admitted"]

    def save(self, folder: RunFolder, log: StageLog) -> None:
        """Writes a checkpoint; of several processes the first does."""
        if not self.device.world.first:
            return
        self.device.world.note_begun()
        payload = {
            **self._payload(log),
            "fingerprint": self.fingerprint,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss": self.criterion.state_dict(),
            "admitted": self.admitted,
            "teacher": self.objective.teacher and self.objective.teacher.digest,
        }
        folder.save(payload)

    def result(self, log: StageLog) -> dict[str, Any]:
        """pretrain.pt: the best weights, and how images have to be prepared for them."""
        assert self.best is not None  # the last step validates, or the start where there is none
        train, normalise = self.run_data.splits.train, self.run_data.normalise
        images = {
            "size": train.size,
            "channels": train.channels,
            "levels": self.run_data.splits.levels,
            "ink": as_plain(ink_of_set(train.images, file_sides(self.config.data, train.size))),
        }
        return {
            **self.header,
            **self.best,
            "normalise": {"mean": list(normalise.mean), "std": list(normalise.std)},
            "images": images,
            "seconds": log.clock.elapsed,
        }


def pretrain_step(
    network: nn.ModuleDict, device: Device, optimizer: Optimizer, objective: Objective, batch: Batch
) -> tuple[float, float]:
    """Updates backbone and classifier; loss and accuracy of the batch before the update.

    Of several processes each passes its share through the backbone; the loss is of the whole batch in all.
    """
    world, count = device.world, len(batch.labels)
    batch = batch.labelled_on(device.torch_device)
    features = world.joined(device.forward(network["backbone"], batch.images), count)
    taught = None
    if objective.teacher is not None:
        taught = world.joined(objective.teacher.answers(device, batch.images), count)
    loss, answers = objective(network, features, batch, taught)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if world.size > 1:
        # Classifiers have seen the whole batch in every process: the mean is their gradient.
        for name, part in network.items():
            for parameter in part.parameters() if name != "backbone" else ():
                if parameter.grad is not None:
                    parameter.grad /= world.size
        world.add_up([p.grad for p in network.parameters() if p.grad is not None])
    optimizer.step()
    correct = (answers.argmax(-1) == batch.labels).float().mean()
    # read last, and both at once: a GPU is waited for when all of the step is on its way
    value, accuracy = torch.stack([loss.detach(), correct]).tolist()
    return value, accuracy


def validate(state: PretrainState, log: StageLog, epoch: int, **means: float) -> None:
    """Solves the validation tasks by cosine prototypes; keeps the weights unless earlier ones were better.

    `means` of loss and accuracy since the last validation go into the same line of metrics.jsonl.
    """
    scores, backbone = {}, state.network["backbone"].eval()
    everything = torch.arange(len(state.val_images.images))
    table = extract(lambda x: state.device.forward(backbone, x), state.val_images, everything)
    for setting, episodes in state.val_episodes.items():
        place = episodes.image_indices()
        outcome = solve_table(cosine_prototypes, table, place, episodes, state.device.world)
        scores[setting] = float(outcome.accuracy.mean())
    words = "the backbone as it is: "
    if means:
        words = f"epoch {epoch}/{state.config.pretrain.epochs}: loss {means['loss']:.3f}, "
        words += f"base accuracy {means['accuracy']:.3f}, "
    words += ", ".join(f"{name} {100 * score:.1f}" for name, score in scores.items())
    words = words.replace("_", " ").replace("way", "-way").replace("shot", "-shot")
    log.measured(state.step, {"epoch": epoch, **means, "seconds": log.clock.elapsed, **scores}, words)
    mean = sum(scores.values()) / len(scores)
    if state.best is not None and mean < state.best["mean"]:
        return
    # A classifier that has learned nothing is left out.
    parts = ("backbone", "classifier") if state.step else ("backbone",)
    weights = {name: weights_of(state.network[name]) for name in parts}
    state.best = {"mean": mean, "step": state.step, "scores": scores, **weights}


def cosine_prototypes(features: Tensor, way: int, shot: int) -> Tensor:
    """Query logits (T, N·Q, N) of features (T, N·K + N·Q, D) by cosine with the prototypes, times 10."""
    support, query = features[:, : way * shot], features[:, way * shot :]
    labels = episode_labels(len(features), way, shot, features.device)
    return 10 * prototype_logits(support, labels, query, way, "cosine")


def validation_episodes(config: Config, run_data: RunData) -> dict[str, EpisodeBatch]:
    """Fixed one-shot and five-shot tasks of the validation classes, as large as these allow, by setting."""
    val, cfg = run_data.splits.val, config.pretrain
    index = ClassIndex.of(val.labels, torch.arange(len(val.labels)), val.group_ids())
    way = min(5, int(torch.bincount(val.domain_ids()).max()))  # a task is of one set
    found = {}
    for shot in (1, 5):
        queries = min(15, int(index.most_queries(shot).min()))
        if queries > 0:
            shape = EpisodeShape(way, shot, queries)
            episodes = run_data.fixed_episodes("val", shape, cfg.validate_tasks, config.seed, "validate")
            found[f"val_{way}way_{shot}shot"] = episodes
    return found
