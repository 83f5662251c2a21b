"""What a step of pretraining minimises: the loss of the classes, and what else teaches the backbone."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Config, read_config
from mtl.errors import UserError
from mtl.losses import ImageLoss, distillation_loss
from mtl.models.classifiers import parts, within_domain, without_margin
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device
from mtl.runtime.run_folder import RunFolder
from mtl.training.pretrain_batches import Batch
from mtl.training.restore import pretrained_network
from mtl.training.run_data import RunData


@dataclass(frozen=True)
class Teacher:
    """A trained network whose answers are learned beside the labels."""

    network: nn.ModuleDict  # fixed
    digest: str  # of its file
    weight: float  # of the distance to its answers; the labels have the rest
    temperature: float

    @torch.no_grad()
    def answers(self, device: Device, images: Tensor) -> Tensor:
        """(B, C) logits for normalised images (B, ...)."""
        logits: Tensor = self.network["classifier"](device.forward(self.network["backbone"], images))
        return logits


@dataclass(frozen=True)
class Objective:
    """The loss of the classes, plus those of rotation prediction and of distillation where there are any.

    Of several networks it is the sum of what each would have by itself, so that rates mean the same.
    """

    criterion: ImageLoss
    domains: Tensor | None = None  # (C,) the image set of each class, if each set has its own head
    rotation_weight: float = 1.0
    teacher: Teacher | None = None

    def __call__(
        self, network: nn.ModuleDict, features: Tensor, batch: Batch, taught: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and its logits (B, C) as they are without a margin.

        Args:
            network: the parts `classifier` and, with rotation prediction, `angles`.
            features: (B, D).
            batch: with labels on the device of the features.
            taught: (B, C) logits of the teacher, where there is one.
        """
        each = [
            self._of_classes(one, part, batch, taught) for one, part in parts(network["classifier"], features)
        ]
        losses, answers = [loss for loss, _ in each], torch.stack([logits for _, logits in each]).mean(0)
        if batch.angles is not None:
            losses += [
                self.rotation_weight * F.cross_entropy(one(part), batch.angles)
                for one, part in parts(network["angles"], features)
            ]
        return torch.stack(losses).sum(), answers

    def _of_classes(
        self, classifier: nn.Module, features: Tensor, batch: Batch, taught: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The same of one classifier, rotation prediction aside."""
        labels = batch.labels
        logits: Tensor = classifier(features, labels)
        if self.domains is not None:
            logits = within_domain(logits, labels, self.domains)
        loss: Tensor = self.criterion(logits, labels, features, batch.rows)
        # The teacher answers without a margin, and so must what is compared with it.
        answers = without_margin(classifier, logits, labels)
        if self.teacher is not None and taught is not None:
            weight = self.teacher.weight
            distilled = distillation_loss(answers, taught, self.teacher.temperature)
            loss = (1 - weight) * loss + weight * distilled
        return loss, answers


def load_teacher(config: Config, run_data: RunData, device: Device) -> Teacher | None:
    """The network that `pretrain.distillation.teacher` names; None where it names none.

    Raises:
        UserError: there is no such checkpoint, it has no classifier, or its classes or images are others.
    """
    key, cfg = "pretrain.distillation.teacher", config.pretrain.distillation
    if cfg.teacher is None:
        return None
    path = Path(cfg.teacher)
    path = RunFolder(path).pretrain if path.is_dir() else path
    payload = checkpoints.read(path, f"{key} must be a run that has been pretrained")
    if "classifier" not in payload:
        raise UserError(f"{key}: {path} has no classifier; its run must be pretrained on the same classes")
    train, own = run_data.splits.train, run_data.normalise
    found = {**payload["images"], **payload["normalise"]}
    wanted = {"size": train.size, "channels": train.channels, "mean": list(own.mean), "std": list(own.std)}
    for name, value in wanted.items():
        if found[name] != value:
            raise UserError(f"{key}: {path} takes images with {name} {found[name]}, this run {value}")
    network = pretrained_network(payload, read_config(payload["config"], f"{path}: its config"), train)
    device.place(network).eval().requires_grad_(False)
    digest = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    return Teacher(network, digest, cfg.weight, cfg.temperature)
