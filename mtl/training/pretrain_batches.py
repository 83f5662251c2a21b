"""The batches and the loss of pretraining, by the sections `balance`, `examples` and `sets` of its config."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mtl import losses
from mtl.config import Balance, Config, Examples, Pretrain
from mtl.data import ImageSet
from mtl.data.augment import augment, turned
from mtl.data.batch_schedule import BatchScheduleSampler
from mtl.data.class_imbalance import inverse_frequency
from mtl.data.index_orders import BalancedOrder, Order, ShuffledOrder
from mtl.errors import UserError
from mtl.losses import ImageLoss
from mtl.runtime.devices import Device
from mtl.runtime.seeds import derive_seed, generator
from mtl.training.run_data import RunData


@dataclass(frozen=True)
class Batch:
    """B training images; of several processes each has the pixels of its share alone."""

    rows: Tensor  # (B,) int64: indices into the train split
    images: Tensor  # (B, C, H, W) float32, augmented and normalised; or of the share (n, C, H, W)
    labels: Tensor  # (B,) int64: base classes
    angles: Tensor | None = None  # (B,) int64: right angles that the images are turned by, to be predicted

    def labelled_on(self, device: torch.device) -> "Batch":
        """The same, with what is to be predicted on a device."""
        angles = None if self.angles is None else self.angles.to(device)
        return replace(self, labels=self.labels.to(device), angles=angles)


class Batches:
    """The batches of pretraining, a pure function of the step.

    Raises:
        UserError: `pretrain.sets.samples` are more images than any of the sets has.
    """

    def __init__(self, config: Config, run_data: RunData, device: Device) -> None:
        self.config, self.labels = config, run_data.splits.train.labels
        self.images = run_data.split_images("train", device)
        cfg, sets, train = config.pretrain, config.pretrain.sets, run_data.splits.train
        labels = train.labels[run_data.pretrain_images]
        domain = train.domain_ids()[labels]
        of_sets = [(domain == d).nonzero().flatten() for d in range(int(domain.max()) + 1)]
        # (P,) set after set, as the sampler counts them
        self.pretrain_images = run_data.pretrain_images[torch.cat(of_sets)]
        seeds = [config.seed]
        if len(of_sets) > 1:
            seeds = [derive_seed(config.seed, "set", i) for i in range(len(of_sets))]
        samples = None
        if sets.samples is not None:  # the train split has its sets in the order of their names
            samples = [count for _, count in sorted(zip(config.data.sets, sets.samples, strict=True))]
            _require_samples(train, of_sets, samples)
        self.sampler = BatchScheduleSampler(
            [_order(cfg, labels[rows], seed) for rows, seed in zip(of_sets, seeds, strict=True)],
            cfg.batch_size if samples else min(cfg.batch_size, max(len(rows) for rows in of_sets)),
            sets.schedule,
            sets.temperature if sets.schedule == "temperature" else 1.0,
            samples,
            drop_last=True,
            seed=config.seed,
        )
        self.per_epoch = len(self.sampler)
        self.steps = cfg.epochs * self.per_epoch

    def rows(self, step: int) -> Tensor:
        """(B,) int64: indices into the train split."""
        return self.pretrain_images[self.sampler.batch_at(step)]

    def at(self, step: int) -> Batch:
        """The batch of a step."""
        rows, random = self.rows(step), generator(self.config.seed, "augment", step)
        own = self.images.world.share(len(rows)) if self.images.world.size > 1 else None
        pixels = self.images.images[rows if own is None else rows[own]]
        images, angles = augment(pixels, self.config.data.augment, random, own, len(rows)), None
        if share := self.config.pretrain.rotation.share:
            images, angles = turned(images, share, random, own, len(rows))
        return Batch(rows, self.images.normalise(images), self.labels[rows], angles)


def _require_samples(train: ImageSet, of_sets: Sequence[Tensor], samples: Sequence[int]) -> None:
    """Checks that one set at least fills its part of a batch without giving an image twice."""
    if all(len(rows) < count for rows, count in zip(of_sets, samples, strict=True)):
        names = sorted(set(train.domains or ()))
        sizes = ", ".join(f"{name} {len(rows)}" for name, rows in zip(names, of_sets, strict=True))
        raise UserError(
            f"pretrain.sets.samples: {list(samples)} are more than any of the sets has ({sizes} images)"
        )


class Deferred:
    """One order up to an epoch, another from it on (deferred re-sampling, Cao et al., NeurIPS 2019).

    A pass of the order has to be an epoch.
    """

    def __init__(self, before: Order, after: Order, start_epoch: int) -> None:
        self.before, self.after, self.start_epoch, self.size = before, after, start_epoch, before.size

    def __len__(self) -> int:
        return len(self.before)

    def items(self, number: int) -> Tensor:
        return (self.before if number < self.start_epoch else self.after).items(number)


def _order(cfg: Pretrain, labels: Tensor, seed: int) -> Order:
    """The order of the images of one set, by their labels (M,)."""
    balance, plain = cfg.balance, ShuffledOrder(len(labels), seed)
    if balance.by != "sampling":
        return plain
    balanced = BalancedOrder(labels, balance.weighting, balance.beta, seed)
    return Deferred(plain, balanced, start_epoch(balance.start, cfg.epochs))


def pretraining_loss(cfg: Pretrain, counts: Tensor, size: int) -> ImageLoss:
    """The loss of pretraining: a class-level one, inside the image-level one that `examples` names.

    Args:
        cfg: the section `pretrain`.
        counts: (C,) training images of each class.
        size: images of the train split, those that training does not see included.
    """
    return image_level(cfg.examples, class_level(cfg, counts), cfg.epochs, size)


def class_level(cfg: Pretrain, counts: Tensor) -> ImageLoss:
    """Cross-entropy as `pretrain.balance` changes it."""
    balance, smoothing = cfg.balance, cfg.label_smoothing
    start = start_epoch(balance.start, cfg.epochs)
    if balance.by == "weights":
        return losses.ClassBalancedLoss(class_weights(balance, counts).float(), start, smoothing)
    if balance.by == "logits":
        return losses.LogitAdjustedLoss(counts, balance.strength, start)
    return losses.CrossEntropy(smoothing)


def class_weights(balance: Balance, counts: Tensor) -> Tensor:
    """(C,) float64: they sum to the number of classes that have images."""
    if balance.weighting == "effective":
        return losses.class_balanced_weights(counts, balance.beta)
    weights = inverse_frequency(counts)
    return weights * ((counts > 0).sum() / weights.sum())


def image_level(cfg: Examples, base: ImageLoss, epochs: int, size: int | None) -> ImageLoss:
    """A class-level loss inside the one that a section `examples` names; `size` as in `pretraining_loss`."""
    start = start_epoch(cfg.start, epochs)
    if cfg.by == "focal":
        return losses.FocalLoss(cfg.gamma, base)
    if cfg.by == "influence":
        return losses.InfluenceBalancedLoss(cfg.alpha, cfg.epsilon, None, start, cfg.detach, base)
    if cfg.by == "hardest":
        return losses.HardExampleMiner(cfg.part, cfg.scope, cfg.cap, size, base)
    if cfg.by == "self_paced":
        absolute = cfg.threshold == "absolute"
        return losses.SelfPacedLoss(
            cfg.regulariser,
            cfg.threshold,
            start=cfg.level if absolute else cfg.part,
            growth=1 + cfg.growth if absolute else cfg.growth,
            start_epoch=start,
            size=size,
            base=base,
        )
    return base


def start_epoch(share: float, epochs: int) -> int:
    """The first epoch after this share of them."""
    return round(share * epochs)
