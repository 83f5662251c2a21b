"""What training and evaluation expect of a learner."""

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import Self

import torch
from torch import Tensor, nn

from mtl.config import Meta
from mtl.data.variants import PLAIN, Variants
from mtl.models.batch_norm import running_statistics_kept, set_training
from mtl.runtime.devices import Device
from mtl.runtime.seeds import Draws


class Learner(nn.Module, ABC):
    """Solves whole meta-batches of episodes.

    The images of an episode come class by class, support first: (T, N·K + N·Q, C, H, W), normalised.
    """

    #: An image has the same features in every episode, so that they can be computed once for many episodes.
    features_cacheable: bool
    #: The backbone gives an image the same features throughout training.
    backbone_frozen: bool = False

    def __init__(self, config: Meta, device: Device) -> None:
        super().__init__()
        self.config, self.device = config, device
        #: While training, the logits of a task do not depend on the other tasks of its meta-batch.
        self.independent_tasks = config.batch_norm != "update"
        #: While training, what noise on features is drawn from; None for no noise.
        self.noise: Draws | None = None

    @abstractmethod
    def meta_parameters(self) -> list[nn.Parameter]:
        """What meta-training learns."""

    @abstractmethod
    def features(self, images: Tensor, variants: Variants = PLAIN) -> Tensor:
        """Features (B, D) of images (B, C, H, W), as `solve_features` takes them.

        The backbone's features of an image and of its `variants` are averaged.
        """

    @abstractmethod
    def solve_features(self, features: Tensor, way: int, shot: int) -> Tensor:
        """Like `solve`, from features (T, N·K + N·Q, D). Only where `features_cacheable`."""

    @abstractmethod
    def solve_each(self, images: Tensor, way: int, shot: int) -> Tensor:
        """Like `solve`, one task after another."""

    def solve(self, images: Tensor, way: int, shot: int) -> Tensor:
        """Query logits (T, N·Q, N), class by class; differentiable in `meta_parameters`."""
        if self.features_cacheable:
            features = self.features(images.flatten(0, 1))
            return self.solve_features(features.view(*images.shape[:2], features.shape[-1]), way, shot)
        # The statistics of an episode's images normalise them, and are not those to keep.
        with running_statistics_kept(self) if self.config.batch_norm == "episode" else nullcontext():
            return self.solve_each(images, way, shot)

    def backbone_features(self, images: Tensor) -> Tensor:
        """Features (B, D) of images as the backbone gives them. Only where `backbone_frozen`."""
        raise NotImplementedError

    def transform_features(self, features: Tensor) -> Tensor:
        """`features` from those of the backbone (..., D). Only where `backbone_frozen`."""
        raise NotImplementedError

    def train(self, mode: bool = True, noise: Draws | None = None) -> Self:
        """Meta-training, or meta-test (`eval`); batch norm follows `meta.batch_norm`.

        `noise` draws what training adds to features where the head has noise.
        """
        self.training = mode
        for part in self.children():
            set_training(part, mode, self.config.batch_norm)
        self.noise = noise if mode else None
        return self


def episode_labels(tasks: int, way: int, per_class: int, device: torch.device) -> Tensor:
    """Labels (T, N·per_class) from 0 to N-1, class by class."""
    return torch.arange(way, device=device).repeat_interleave(per_class).expand(tasks, -1)
