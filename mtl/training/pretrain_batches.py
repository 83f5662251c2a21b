"""What the sections `balance`, `examples` and `sets` make of training: which batches, and which loss."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.config import Balance, Config, Examples, Pretrain
from mtl.data import ImageSet
from mtl.data.batch_schedule import BatchScheduleSampler
from mtl.data.class_imbalance import inverse_frequency
from mtl.data.index_orders import BalancedOrder, Order, ShuffledOrder
from mtl.errors import UserError
from mtl.losses import (
    ClassBalancedLoss,
    CrossEntropy,
    FocalLoss,
    HardExampleMiner,
    ImageLoss,
    InfluenceBalancedLoss,
    LogitAdjustedLoss,
    SelfPacedLoss,
    class_balanced_weights,
)
from mtl.runtime.seeds import derive_seed
from mtl.training.run_data import RunData


class Batches:
    """The batches of pretraining, a pure function of the step.

    Args:
        config: of the run.
        run_data: its images.
    """

    def __init__(self, config: Config, run_data: RunData) -> None:
        how, train, sets = config.pretrain, run_data.splits.train, config.pretrain.sets
        labels = train.labels[run_data.pretrain_images]
        domain = train.domain_ids()[labels]
        own = [(domain == d).nonzero().flatten() for d in range(int(domain.max()) + 1)]
        self.rows = run_data.pretrain_images[torch.cat(own)]  # (P,) set after set, as the sampler counts them
        several = len(own) > 1
        seeds = [derive_seed(config.seed, "set", i) if several else config.seed for i in range(len(own))]
        samples = None
        if sets.samples is not None:  # sets stand by name, as classes do
            samples = [count for _, count in sorted(zip(config.data.sets, sets.samples, strict=True))]
            require_samples(train, own, samples)
        self.sampler = BatchScheduleSampler(
            [_order(how, labels[o], seed) for o, seed in zip(own, seeds, strict=True)],
            how.batch_size if samples else min(how.batch_size, max(len(o) for o in own)),
            sets.schedule,
            sets.temperature if sets.schedule == "temperature" else 1.0,
            samples,
            drop_last=True,
            seed=config.seed,
        )

    @property
    def per_epoch(self) -> int:
        return len(self.sampler)

    def at(self, step: int) -> Tensor:
        """(B,) int64: indices into the train split."""
        return self.rows[self.sampler.batch_at(step)]


def require_samples(train: ImageSet, own: Sequence[Tensor], samples: Sequence[int]) -> None:
    """Checks that one set at least fills its part of a batch without giving an image twice.

    Raises:
        UserError: all sets are too small.
    """
    if all(len(rows) < count for rows, count in zip(own, samples, strict=True)):
        names = sorted(set(train.domains or ()))
        sizes = ", ".join(f"{name} {len(rows)}" for name, rows in zip(names, own, strict=True))
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


def _order(how: Pretrain, labels: Tensor, seed: int) -> Order:
    """The order of the images of one set, by their labels (M,)."""
    balance, plain = how.balance, ShuffledOrder(len(labels), seed)
    if balance.by != "sampling":
        return plain
    balanced = BalancedOrder(labels, balance.weighting, balance.beta, seed)
    return Deferred(plain, balanced, start_epoch(balance.start, how.epochs))


def pretraining_loss(how: Pretrain, counts: Tensor, size: int) -> ImageLoss:
    """The loss of pretraining: a class-level one, and an image-level one on it where `examples` names one.

    Args:
        how: `pretrain`.
        counts: (C,) images of each class that training sees.
        size: images of the train split, those that training does not see included.
    """
    return image_level(how.examples, class_level(how, counts), how.epochs, size)


def class_level(how: Pretrain, counts: Tensor) -> ImageLoss:
    """What `pretrain.balance` makes of cross-entropy."""
    balance, smoothing = how.balance, how.label_smoothing
    start = start_epoch(balance.start, how.epochs)
    if balance.by == "weights":
        return ClassBalancedLoss(class_weights(balance, counts).float(), start, smoothing)
    if balance.by == "logits":
        return LogitAdjustedLoss(counts, balance.strength, start)
    return CrossEntropy(smoothing)


def class_weights(balance: Balance, counts: Tensor) -> Tensor:
    """(C,) float64: they sum to the number of classes that have images."""
    if balance.weighting == "effective":
        return class_balanced_weights(counts, balance.beta)
    weights = inverse_frequency(counts)
    return weights * ((counts > 0).sum() / weights.sum())


def image_level(how: Examples, base: ImageLoss, epochs: int, size: int | None) -> ImageLoss:
    """What a section `examples` makes of a class-level loss; `size` as of `pretraining_loss`."""
    start = start_epoch(how.start, epochs)
    if how.by == "focal":
        return FocalLoss(how.gamma, base)
    if how.by == "influence":
        return InfluenceBalancedLoss(how.alpha, how.epsilon, None, start, how.detach, base)
    if how.by == "hardest":
        return HardExampleMiner(how.part, how.scope, how.cap, size, base)
    if how.by == "self_paced":
        absolute = how.threshold == "absolute"
        return SelfPacedLoss(
            how.regulariser,
            how.threshold,
            start=how.level if absolute else how.part,
            growth=1 + how.growth if absolute else how.growth,
            start_epoch=start,
            size=size,
            base=base,
        )
    return base


def start_epoch(share: float, epochs: int) -> int:
    """The first epoch after this share of them."""
    return round(share * epochs)
