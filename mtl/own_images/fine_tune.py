"""Fine-tuning a published network to a support set: scaling and shifting of its last block.

python run_meta.py fit --support my_things --fine-tune --out things.fewshot

The layers before the last block are frozen, so pictures and varied copies of them pass those once. Scaling
and shifting of the block (Sun et al., CVPR 2019) learns on what they give, with a cosine classifier (Chen et
al., ICLR 2019) that is dropped afterwards: the head of the support set takes its place.
"""

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Augment, Head, Log
from mtl.data.augment import Normalise, augment
from mtl.errors import UserError, one_line
from mtl.learners import MetaTransfer
from mtl.models.backbones import FromLibrary, last_block, maps_before
from mtl.models.heads import power_transform
from mtl.models.scale_shift import add_scale_shift, give_biases, scale_shift_parameters
from mtl.own_images.classifier import FittedClassifier, classifier_of
from mtl.own_images.embedder import Embedder
from mtl.own_images.leave_one_out import HeldOut, likenesses, open_set_of
from mtl.own_images.published import (
    DEFAULT,
    POWER,
    base_learner_of,
    difference_error,
    mean_recall,
    settled,
)
from mtl.own_images.support import Support
from mtl.runtime.progress import Count, tell
from mtl.runtime.seeds import generator

#: Views that each class needs.
LEAST = 5

_FOLDS = 5  # in each of which a fifth of the views is left out
_COPIES, _MOST = 8, 4_000  # varied copies of a picture, and of all; one of each at least
_EPOCHS, _BATCH = 6, 32
_LR = 0.01  # of Adam, falling to 0 along a cosine
_SCALE = 10.0  # of the cosines
_VARIED = Augment(
    flip=True, rotate=10, translate=0.1, scale=0.25, brightness=0.3, contrast=0.3, saturation=0.3
)


@dataclass(frozen=True, eq=False)
class FineTuned:
    """What fine-tuning came to."""

    classifier: FittedClassifier
    right: float  # share of left-out views that it classifies correctly, the mean of the classes
    right_before: float  # the same of the frozen network
    error: float  # standard error of their difference

    @property
    def helps(self) -> bool:
        """As far as the support set can tell: it is not worse by more than chance makes it.

        With five pictures of ten classes it gains three points, which 50 left-out pictures do not show surely
        (docs/own-images.md).
        """
        return self.right + self.error >= self.right_before


def require_trainable(embedder: Embedder) -> None:
    """Checks that a network can be fine-tuned, before any picture is read.

    Raises:
        UserError: it is that of a run, or its last block cannot be trained alone.
    """
    origin = embedder.origin
    if embedder.head_settled:
        raise UserError(
            f"fine-tuning: run {one_line(origin.network)} is meta-trained already; it is for "
            "published networks, without --run"
        )
    if _block(embedder.learner.backbone, embedder) is None:
        raise UserError(
            f"fine-tuning: the last block of {origin.backbone.name} cannot be trained alone; take a "
            f"convolutional network, as {DEFAULT.name}, or leave it out"
        )


def fine_tuned(
    embedder: Embedder, support: Support, images: Tensor, frozen: FittedClassifier, log: Log | None = None
) -> FineTuned:
    """Fine-tunes the network of a classifier to its support set.

    Left-out views are classified by the network as it is without a fifth of them, each fifth in turn.

    Args:
        embedder: of a published network, before a head was chosen.
        support: embedded by it.
        images: (S, 3, size, size) uint8, those of the support set.
        frozen: fitted to the same pictures; its head and views are taken.
        log: how progress is shown, if at all.

    Raises:
        UserError: a class has fewer than five views.
    """
    _require_enough(frozen.views)
    head, support = frozen.embedder.origin.head, support.with_views(frozen.support.views)
    network = deepcopy(embedder.learner.backbone)
    block = _block(network, embedder)
    assert block is not None
    maps = _maps(network, block, embedder, images, log)
    with Count("fine-tuning", _EPOCHS * (_FOLDS + 1), log) as epochs:
        left_out = _left_out_in_turn(block, maps, support, head, epochs)
        _train(block, maps, support.labels, generator(0, "fine-tune"), epochs)

    # `block` shares the layers of `network`, which has learned with it
    learner = MetaTransfer(give_biases(network), embedder.learner.config, embedder.device)
    origin = replace(embedder.origin, fine_tuned=True)
    raw = replace(Embedder.of(learner, embedder.preparation, origin), head_settled=False)
    made, learned = settled(raw, head, replace(support, features=raw(images)))
    open_set = open_set_of(learned.by_view(), *left_out.likenesses)
    held_out = HeldOut(torch.arange(len(left_out.logits)), left_out.logits)
    found = FineTuned(
        classifier_of(made, learned, held_out, open_set),
        mean_recall(left_out.logits, frozen.views.labels),
        mean_recall(left_out.frozen, frozen.views.labels),
        difference_error(left_out.logits, left_out.frozen, frozen.views.labels),
    )
    shares = f"{100 * found.right:.0f} % of left-out support pictures are right with it"
    without = f"{100 * found.right_before:.0f} % without"
    tell(f"fine-tuning: is {'kept' if found.helps else 'dropped'}, as {shares}, {without}", log)
    return found


def _require_enough(views: Support) -> None:
    few = [(name, n) for name, n in zip(views.classes, views.counts().tolist(), strict=True) if n < LEAST]
    if few:
        name, count = few[0]
        raise UserError(
            f"fine-tuning: {LEAST} pictures of each class or more are needed, near copies counting once, and "
            f"{one_line(name)} has {count}; add some, or leave it out"
        )


def _block(network: nn.Module, embedder: Embedder) -> nn.Sequential | None:
    assert isinstance(network, FromLibrary)
    side = embedder.preparation.size
    images = torch.zeros(1, 3, side, side, device=embedder.device.torch_device)
    return last_block(network.network.eval(), images)


@torch.no_grad()
def _maps(
    network: nn.Module, block: nn.Sequential, embedder: Embedder, images: Tensor, log: Log | None
) -> Tensor:
    """(S, 1 + C, ...) float16: what the block gets of each picture, and of C varied copies of it."""
    copies = max(1, min(_COPIES, _MOST // len(images)))
    tell(
        f"fine-tuning: scaling and shifting of the last block of {embedder.origin.backbone.name} learns from "
        f"{len(images):,} pictures and {copies} varied copies of each",
        log,
    )
    normalise = Normalise(embedder.preparation.mean, embedder.preparation.std)
    random, found = generator(0, "fine-tune", "copies"), list[Tensor]()
    with Count("varied copies", len(images) * copies, log) as count:
        for part in torch.split(images, max(1, embedder.images_at_once // (1 + copies))):
            varied = [augment(part, _VARIED, random) for _ in range(copies)]
            passed = torch.stack([part.float(), *varied], 1).to(embedder.device.torch_device)
            maps = maps_before(network, block, normalise(passed.flatten(0, 1)))
            found.append(maps.half().cpu().unflatten(0, passed.shape[:2]))  # type: ignore[no-untyped-call]
            count.add(len(part) * copies)
    return torch.cat(found)


class _LeftOut(NamedTuple):
    """Answers to V views by what the others taught."""

    logits: Tensor  # (V, N)
    frozen: Tensor  # (V, N), of the frozen network
    likenesses: Tensor  # (2, V), as the function has them


def _left_out_in_turn(
    block: nn.Sequential, maps: Tensor, support: Support, head: Head, epochs: Count
) -> _LeftOut:
    """Answers to each fifth of the views, by copies of the block that the others train."""
    views = support.by_view()
    fold = _folds(views.labels)
    logits = torch.empty(len(views), support.way)
    found = _LeftOut(logits, torch.empty_like(logits), torch.empty(2, len(views)))
    for number in range(_FOLDS):
        out = fold == number
        known, tuned = ~out[support.views], deepcopy(block)
        _train(tuned, maps[known], support.labels[known], generator(0, "fine-tune", number), epochs)
        learned = replace(support, features=_features(tuned, maps))
        found.logits[out], found.likenesses[:, out] = _answers(head, learned, out)
        found.frozen[out], _ = _answers(head, support, out)
    return found


def _folds(labels: Tensor) -> Tensor:
    """(V,) in 0..4: the views of each class are spread over the folds."""
    onehot = F.one_hot(labels)
    place = (onehot.cumsum(0) * onehot).sum(1) - 1  # of each view among those of its class
    return place % _FOLDS


@torch.no_grad()
def _answers(head: Head, support: Support, out: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the views `out` (V,) bool, by a head of the other views, and their likenesses."""
    base_learner = base_learner_of(head, support.features[~out[support.views]])
    support = replace(support, features=base_learner.transform_features(support.features))
    views, means = support.by_view(), support.view_means()
    logits = base_learner.adapt(
        means[~out][None], views.labels[~out][None], views.features[out][None], support.way
    )
    return logits[0], torch.stack(likenesses(views))[:, out].float()


def _train(
    block: nn.Sequential, maps: Tensor, labels: Tensor, random: torch.Generator, epochs: Count
) -> None:
    """Trains scaling and shifting of a block, in place, on maps (S, 1 + C, ...) with labels (S,).

    The cosines are of what heads take: features bent by a square root, without the mean of the frozen ones.
    """
    device, way = next(block.parameters()).device, int(labels.max()) + 1
    unit, mine = _unit(_features(block, maps)).to(device), labels.to(device)
    mean = unit.mean(0)
    unit = F.normalize(unit - mean, dim=-1)
    classes = nn.Parameter(torch.stack([unit[mine == label].mean(0) for label in range(way)]))
    add_scale_shift(block.requires_grad_(False))
    optimizer = torch.optim.Adam([*scale_shift_parameters(block), classes], lr=_LR)
    passed, mine = maps.flatten(0, 1), mine.repeat_interleave(maps.shape[1])
    steps = _EPOCHS * math.ceil(len(passed) / _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(_EPOCHS):
        for rows in torch.split(torch.randperm(len(passed), generator=random), _BATCH):
            unit = F.normalize(_unit(block(passed[rows].to(device).float())) - mean, dim=-1)
            logits = _SCALE * unit @ F.normalize(classes, dim=-1).T
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(logits, mine[rows.to(device)]))
            optimizer.step()
            schedule.step()
        epochs.add(1)


@torch.no_grad()
def _features(block: nn.Sequential, maps: Tensor) -> Tensor:
    """(S, D) on the CPU: those of the pictures themselves."""
    device = next(block.parameters()).device
    parts = torch.split(maps[:, 0], _BATCH)
    return torch.cat([block(part.to(device).float()).cpu() for part in parts])


def _unit(features: Tensor) -> Tensor:
    return F.normalize(power_transform(features, POWER), dim=-1)
