"""From images to embedded features, for whatever classes: what a run leaves to those who use it."""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mtl.config import Backbone, Head
from mtl.data.augment import Normalise
from mtl.data.ink import Ink
from mtl.data.levels import FULL
from mtl.learners import MetaTransfer
from mtl.models.heads import BaseLearner
from mtl.models.scale_shift import fold_scale_shift
from mtl.runtime.devices import Device


@dataclass(frozen=True)
class Preparation:
    """What is done to an image before the backbone.

    Raises:
        ValueError: the parts do not fit each other.
    """

    size: int  # the middle square, scaled to so many pixels a side
    channels: int  # 1: grey, 3: colour
    mean: tuple[float, ...]  # of each channel, pixels in [0, 1]; three of them make a grey image one of three
    std: tuple[float, ...]
    mirror: bool  # features are the mean of those of an image and of its mirror image
    ink: Ink | None = None  # of the training images; None where they share none, or nothing is known of it
    levels: int | None = None  # the grey value of more than 8 bits that is white; None: not yet known

    def __post_init__(self) -> None:
        if self.size < 1 or self.channels not in {1, 3}:
            raise ValueError("images have a positive size and 1 or 3 channels")
        if len(self.mean) != len(self.std) or len(self.mean) not in {self.channels, 3}:
            raise ValueError("mean and std have a number for each channel")
        if not all(math.isfinite(x) for x in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise ValueError("mean and std must be finite, and std positive")
        if self.levels is not None and self.levels < 1:
            raise ValueError("levels must be positive")

    @property
    def top(self) -> int:
        """The grey value that is white."""
        return FULL if self.levels is None else self.levels

    @property
    def grayscale(self) -> bool:
        return self.channels == 1


@dataclass(frozen=True)
class Origin:
    """Which network an embedder is, so that it can be built again."""

    run: str
    backbone: Backbone
    head: Head
    way: int  # of meta-training: a learned start of the base learner serves this many classes alone


@dataclass(frozen=True, eq=False)
class Embedder:
    """A trained backbone and base learner, with what an image goes through before them.

    Scaling and shifting is folded into the layers, so that nothing of training is left in the network.
    """

    learner: MetaTransfer
    base_learner: BaseLearner  # that of the learner, on the CPU: it adapts there
    preparation: Preparation
    origin: Origin
    device: Device
    temperatures: tuple[tuple[int, float], ...] = ()  # (shot, temperature) as validation tasks have it

    @staticmethod
    def of(
        learner: MetaTransfer,
        preparation: Preparation,
        origin: Origin,
        temperatures: Sequence[tuple[int, float]] = (),
    ) -> "Embedder":
        """Takes over a learner, and folds its scaling and shifting into the layers."""
        fold_scale_shift(learner.backbone)
        learner.requires_grad_(False)
        base_learner = deepcopy(learner.base_learner).cpu()
        return Embedder(learner, base_learner, preparation, origin, learner.device, tuple(temperatures))

    def with_levels(self, top: int | None) -> "Embedder":
        """The same, with another value that is white in pictures of more than 8 bits."""
        return replace(self, preparation=replace(self.preparation, levels=top))

    @property
    def images_at_once(self) -> int:
        """How many images are best passed together."""
        return self.device.images_at_once(self.preparation.size)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) uint8 to embedded features (B, D), float32 on the CPU.

        Raises:
            ValueError: the images are others than the network takes.
        """
        prepared = self.preparation
        wanted = (prepared.channels, prepared.size, prepared.size)
        if images.dtype != torch.uint8 or images.shape[1:] != wanted:
            raise ValueError(f"images must be uint8 of shape (B, {', '.join(map(str, wanted))})")
        self.learner.set_mode(training=False)
        normalise = Normalise(prepared.mean, prepared.std)
        parts = [
            self.learner.features(normalise(part.to(self.device.torch_device)), prepared.mirror).cpu()
            for part in torch.split(images, self.images_at_once)
        ]
        return torch.cat(parts)
