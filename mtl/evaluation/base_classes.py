"""Accuracy of the classifier of pretraining on held-out images of the base classes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtl.data import class_imbalance as long_tail
from mtl.evaluation.task_answers import Answers
from mtl.models.classifiers import within_domain
from mtl.runtime.devices import Device
from mtl.training.run_data import RunData
from mtl.training.solve import shared_out


@dataclass(frozen=True)
class BaseAccuracy:
    """Mean recalls in [0, 1]: every class has the same weight, however many images it has."""

    balanced: float  # over all base classes
    groups: dict[str, float]  # over the thirds with many, medium, few images in training; {} if equal
    images: int  # held out, over which they were measured

    def __str__(self) -> str:
        groups = "".join(f", {name} {100 * value:.1f}" for name, value in self.groups.items())
        return f"{self.images:,} held-out images: {100 * self.balanced:.1f} balanced{groups}"


def base_accuracy(network: nn.ModuleDict, run_data: RunData, device: Device) -> BaseAccuracy:
    """Scores backbone and classifier on the images that `data.probe_fraction` holds out.

    Raises:
        ValueError: no image is held out.
    """
    right = held_out_right(network, run_data, device)
    labels, classes = run_data.splits.train.labels[run_data.held_out], run_data.splits.train.num_classes
    shown = torch.bincount(labels, minlength=classes)
    recall = torch.zeros(classes).index_add_(0, labels, right.float()) / shown

    groups = {name: float(recall[of].mean()) for name, of in size_groups(run_data).items()}
    return BaseAccuracy(float(recall[shown > 0].mean()), groups, len(right))


def base_answers(network: nn.ModuleDict, run_data: RunData, device: Device) -> dict[str, Answers]:
    """The same as results of a comparison: of all base classes, and of those with many and few images.

    The queries of task t are the t-th held-out image of every class, so that accuracy is the mean recall, and
    differences are paired over images. Each class gives as many as the one with the fewest has.

    Raises:
        ValueError: no image is held out.
    """
    right = held_out_right(network, run_data, device)
    labels = run_data.splits.train.labels[run_data.held_out]
    rows = [(labels == c).nonzero().flatten() for c in labels.unique().tolist()]  # type: ignore[no-untyped-call]
    count = min(len(r) for r in rows)
    table = torch.stack([right[r[:count]] for r in rows], 1).float()  # (T, C')
    classes = torch.stack([labels[r[:count]] for r in rows], 1)

    def answers(of: Tensor) -> Answers:
        inside = torch.isin(classes[0], of)
        return Answers(classes[:, inside], table[:, inside], torch.empty(0), 1)

    groups = {f"base classes, {name} images": answers(of) for name, of in size_groups(run_data).items()}
    return {"base classes": answers(labels), **groups}


def size_groups(run_data: RunData) -> dict[str, Tensor]:
    """The base classes in thirds by the number of their images in pretraining; {} where about equal.

    Classes without held-out images are left out, and so is a third that has no others.
    """
    train = run_data.splits.train
    counts = torch.bincount(train.labels[run_data.pretrain_images], minlength=train.num_classes)
    shown = train.labels[run_data.held_out].unique()  # type: ignore[no-untyped-call]
    found = {name: of[torch.isin(of, shown)] for name, of in long_tail.size_groups(counts).items()}
    return {name: of for name, of in found.items() if len(of)}


@torch.no_grad()
def held_out_right(network: nn.ModuleDict, run_data: RunData, device: Device) -> Tensor:
    """(H,) bool: which of the held-out images are classified correctly.

    With several image sets only classes of the image's set compete, whether each set has a head or all
    share one.

    Raises:
        ValueError: no image is held out.
    """
    train, pictures = run_data.splits.train, run_data.split_images("train", device)
    if not len(run_data.held_out):
        raise ValueError("no images are held out")
    network.eval()
    domains = train.domain_ids()

    def right(rows: Tensor) -> Tensor:  # in batches: logits of all at once would be large
        logits = network["classifier"](device.forward(network["backbone"], pictures(rows))).cpu()
        labels = train.labels[rows]
        return (within_domain(logits, labels, domains).argmax(-1) == labels).byte()  # which can be sent

    return shared_out(right, run_data.held_out, pictures.batch, pictures.world).bool()
