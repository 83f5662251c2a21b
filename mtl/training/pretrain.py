"""Pretraining: ordinary classification of the base classes.

    python run_meta.py pretrain --config configs/omniglot.yaml

Writes checkpoints/<run>/pretrain.pt: the backbone whose few-shot accuracy on the validation classes was best.
With `pretrain.epochs: 0` it is the backbone as it is, with the weights of `backbone.weights` or random ones.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtl.config import Config
from mtl.data.fingerprint import fingerprint
from mtl.data.ink import as_plain, file_sides, ink_of_set
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.learners.learner import episode_labels
from mtl.losses import ImageLoss, SelfPacedLoss
from mtl.models.backbones import load_weights
from mtl.models.classifiers import build_classifier, within_domain
from mtl.models.heads import prototype_logits
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device, choose_device
from mtl.runtime.events import require_tensorboard
from mtl.runtime.interrupt import StopRequest
from mtl.runtime.precision import recorded_precision, settle_precision
from mtl.runtime.progress import Means
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.training import curriculum
from mtl.training.pretrain_batches import Batch, Batches, pretraining_loss
from mtl.training.restore import fresh_backbone
from mtl.training.run_data import RunData, load_run_data
from mtl.training.solve import extract, solve_table
from mtl.training.stage import (
    StageLog,
    has_ended,
    require_finite,
    require_same_training_images,
    set_rate,
    warm_up_cosine,
    weights_of,
)

STAGE = "pretrain"


def pretrain(config: Config, resume: bool = False, run_data: RunData | None = None) -> None:
    """Trains the backbone and a classifier of all base classes with SGD.

    Args:
        config: of the run.
        resume: go on from the last checkpoint of the run; a stage that has ended is left as it is.
        run_data: the image set, where the caller has it already.

    Raises:
        UserError: before anything is written, for what the user can mend.
        RunStopped: the loss is no longer finite.
        Interrupted: after Ctrl-C, with the checkpoint written.
    """
    folder = RunFolder.of(config)
    with folder.held(STAGE):
        if has_ended(folder, STAGE, config, resume):
            return

        # Whatever can be refused is refused here, before anything is written.
        require_tensorboard(config.log)
        saved = folder.unfinished(STAGE, gaps=config.log.allow_gaps)
        config = settle_precision(config, recorded_precision(saved) if saved else None)
        device = choose_device(config.runtime)
        run_data = run_data or load_run_data(config)
        state = PretrainState.load_or_new(folder, saved, config, run_data, device)
        batches, cfg = Batches(config, run_data, device), config.pretrain
        folder.write_config(config)

        with StageLog.opened(folder, STAGE, config, batches.steps, state) as log, StopRequest() as stop:
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
                loss, accuracy = pretrain_step(
                    state.network, device, state.optimizer, state.criterion, batch, state.domains
                )

                # A diverged step must not reach a checkpoint.
                require_finite(loss, STAGE, state.step, "pretrain.lr", state.optimizer)
                state.step += 1
                state.means.add(loss=loss, accuracy=accuracy)
                log.progress.step(images=len(batch.rows), loss=loss, accuracy=accuracy, epoch=epoch + 1)

                # The curriculum of self-paced learning: what each image weighed in the epoch that ends.
                if state.step % batches.per_epoch == 0 and isinstance(state.criterion, SelfPacedLoss):
                    counted = state.criterion.weights_now[run_data.pretrain_images]
                    state.admitted.append(curriculum.percent(counted))

                if state.step % (batches.per_epoch * cfg.validate_every) == 0 or state.step == batches.steps:
                    validate(state, log, epoch + 1, **state.means.take())

                # The checkpoint of a stop comes first: `here` raises Interrupted.
                if stop.wanted or log.clock.due():
                    state.save(folder, log)
                stop.here(STAGE, state.step, batches.steps)
        state.save(folder, log)
        if state.admitted:
            curriculum.write(folder.curriculum, state.header, run_data, state.admitted)
        folder.finish(STAGE, state.result(log))


class PretrainState:
    """What pretraining changes, all of which a checkpoint holds."""

    def __init__(self, config: Config, run_data: RunData, device: Device, backbone: nn.Module) -> None:
        """The start of training, but for the weights of the backbone."""
        cfg, train = config.pretrain, run_data.splits.train
        self.config, self.run_data, self.device = config, run_data, device
        self.header = checkpoints.header(config, STAGE, train.class_names)
        self.fingerprint = fingerprint(train)
        features = int(backbone.out_features)  # type: ignore[arg-type]
        classifier = build_classifier(cfg, features, train.num_classes, generator(config.seed, "classifier"))
        self.network = nn.ModuleDict({"backbone": backbone, "classifier": classifier})
        device.place(self.network)
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
        self.domains = train.domain_ids() if cfg.sets.heads == "per_set" and train.domains else None
        self.validation = Validation(config, run_data, device)
        self.step = 0
        self.best: dict[str, Any] | None = None  # scores and weights of the best validation
        self.means = Means()  # since the last line of metrics.jsonl
        self.admitted: list[Tensor] = []  # self-paced learning: what each image weighed in each epoch
        self.elapsed = 0.0
        self.metrics_size: int | None = None

    @staticmethod
    def load_or_new(
        folder: RunFolder,
        saved: Mapping[str, Any] | None,
        config: Config,
        run_data: RunData,
        device: Device,
    ) -> "PretrainState":
        """The state of the last checkpoint, if there is one; else the start of training.

        Raises:
            UserError: the checkpoint is of another config or other images; or `backbone.weights` do not fit.
        """
        backbone = fresh_backbone(config, run_data.splits.train)
        if saved is None:
            load_weights(backbone, config.backbone)
            return PretrainState(config, run_data, device, backbone)
        checkpoints.require_fit(folder.last, saved, config, checkpoints.DECIDING[STAGE])
        require_same_training_images(folder.last, saved, run_data.splits.train)
        checkpoints.tell_other_rounding(saved, device.computed_on())
        state = PretrainState(config, run_data, device, backbone)
        with checkpoints.restoring(folder.last):
            state.network.load_state_dict(saved["network"])
            state.optimizer.load_state_dict(saved["optimizer"])
            state.criterion.load_state_dict(saved["loss"])
            state.step, state.best, state.admitted = int(saved["step"]), saved["best"], saved["admitted"]
            state.means = Means(saved["means"])
            state.elapsed, state.metrics_size = saved["elapsed"], saved["metrics"]
        return state

    def save(self, folder: RunFolder, log: StageLog) -> None:
        """Writes a checkpoint."""
        payload = {
            **self.header,
            "fingerprint": self.fingerprint,
            "computed_on": self.device.computed_on(),
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss": self.criterion.state_dict(),
            "admitted": self.admitted,
            "best": self.best,
            "means": self.means.state_dict(),
            **log.position(),
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
    network: nn.ModuleDict,
    device: Device,
    optimizer: Optimizer,
    criterion: ImageLoss,
    batch: Batch,
    domains: Tensor | None,
) -> tuple[float, float]:
    """Updates backbone and classifier; loss and accuracy of the batch before the update.

    `domains` (C,) is the image set of each class, where each set has a head of its own; else None.
    """
    labels = batch.labels.to(device.torch_device)
    features = device.forward(network["backbone"], batch.images)
    logits = network["classifier"](features, labels)
    if domains is not None:
        logits = within_domain(logits, labels, domains)
    loss = criterion(logits, labels, features, batch.rows)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    correct = (logits.argmax(-1) == labels).float().mean()
    # read last, and both at once: a GPU is waited for when all of the step is on its way
    value, accuracy = torch.stack([loss.detach(), correct]).tolist()
    return value, accuracy


def validate(state: PretrainState, log: StageLog, epoch: int, **means: float) -> None:
    """Scores the backbone on the validation tasks, and keeps the weights unless earlier ones were better.

    `means` of loss and accuracy since the last validation go into the same line of metrics.jsonl.
    """
    scores = state.validation.scores(state.network["backbone"])
    start = "the backbone as it is: "
    if means:
        of_all = f"{epoch}/{state.config.pretrain.epochs}"
        start = f"epoch {of_all}: loss {means['loss']:.3f}, base accuracy {means['accuracy']:.3f}, "
    line = {"epoch": epoch, **means, "seconds": log.clock.elapsed, **scores}
    log.measured(state.step, line, start + ", ".join(f"{_words(k)} {100 * v:.1f}" for k, v in scores.items()))
    mean = sum(scores.values()) / len(scores)
    if state.best is not None and mean < state.best["mean"]:
        return
    # A classifier that has learned nothing is left out.
    parts = state.network.items() if state.step else [("backbone", state.network["backbone"])]
    weights = {name: weights_of(part) for name, part in parts}
    state.best = {"mean": mean, "step": state.step, "scores": scores, **weights}


def _words(setting: str) -> str:
    """val_5way_1shot as val 5-way 1-shot."""
    return setting.replace("_", " ").replace("way", "-way").replace("shot", "-shot")


class Validation:
    """Fixed tasks of the validation classes, with one and five shots, solved by cosine prototypes."""

    def __init__(self, config: Config, run_data: RunData, device: Device) -> None:
        val = run_data.splits.val
        self.device, self.images = device, run_data.split_images("val", device)
        index = ClassIndex.of(val.labels, torch.arange(len(val.labels)), val.group_ids())
        way = min(5, int(torch.bincount(val.domain_ids()).max()))  # a task is of one set
        self.episodes = {}
        for shot in (1, 5):
            queries = min(15, int(index.most_queries(shot).min()))
            if queries > 0:
                self.episodes[f"val_{way}way_{shot}shot"] = run_data.fixed_episodes(
                    "val",
                    EpisodeShape(way, shot, queries),
                    config.pretrain.validate_tasks,
                    config.seed,
                    "validate",
                )

    def scores(self, backbone: nn.Module) -> dict[str, float]:
        """Accuracy by setting."""
        backbone.eval()
        everything = torch.arange(len(self.images.images))
        table = extract(lambda x: self.device.forward(backbone, x), self.images, everything)
        found = {}
        for name, episodes in self.episodes.items():
            outcome = solve_table(cosine_prototypes, table, episodes.image_indices(), episodes)
            found[name] = float(outcome.accuracy.mean())
        return found


def cosine_prototypes(features: Tensor, way: int, shot: int) -> Tensor:
    """Query logits (T, N·Q, N) of features (T, N·K + N·Q, D) by cosine with the prototypes, times 10."""
    support, query = features[:, : way * shot], features[:, way * shot :]
    labels = episode_labels(len(features), way, shot, features.device)
    return 10 * prototype_logits(support, labels, query, way, "cosine")
