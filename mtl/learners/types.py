"""What the stages ask of a learner."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Learner(nn.Module, ABC):
    """Answers the queries of whole meta-batches of episodes.

    An episode's images come class by class, support first: (T, N·K + N·Q, C, H, W), normalised.
    """

    #: Features are the same in every episode, so that they can be computed once for many episodes.
    features_cacheable: bool
    #: The backbone gives an image the same feature all through training.
    backbone_frozen: bool = False
    #: While training, what one task is answered does not depend on the others of its meta-batch.
    independent_tasks: bool

    @abstractmethod
    def solve(self, images: Tensor, way: int, shot: int) -> Tensor:
        """Query logits (T, N·Q, N), class by class; differentiable in `meta_parameters`."""

    @abstractmethod
    def features(self, images: Tensor, mirror: bool = False) -> Tensor:
        """Features (B, D) of images (B, C, H, W): all that can be known of an image before its episode is.

        With `mirror` what the backbone makes of an image and of its mirror image is averaged first. Only
        where `features_cacheable`.
        """

    @abstractmethod
    def solve_features(self, features: Tensor, way: int, shot: int) -> Tensor:
        """Like `solve`, from the features (T, N·K + N·Q, D). Only where `features_cacheable`."""

    def backbone_features(self, images: Tensor) -> Tensor:
        """Features (B, D) of images as the backbone gives them. Only where `backbone_frozen`."""
        raise NotImplementedError

    def transform_features(self, features: Tensor) -> Tensor:
        """What `features` makes of those of the backbone (..., D). Only where `backbone_frozen`."""
        raise NotImplementedError

    def solve_at_once(self, images: Tensor, way: int, shot: int) -> Tensor:
        """`solve` by one pass of all images through the backbone. Only where `features_cacheable`."""
        features = self.features(images.flatten(0, 1))
        return self.solve_features(features.view(*images.shape[:2], -1), way, shot)

    @abstractmethod
    def meta_parameters(self) -> list[nn.Parameter]:
        """What meta-training learns."""

    @abstractmethod
    def set_mode(self, training: bool, random: torch.Generator | None = None) -> None:
        """Meta-training or meta-test; `random` draws what training adds to features, if anything."""


def episode_labels(tasks: int, way: int, per_class: int, device: torch.device) -> Tensor:
    """(T, N·per_class) labels 0..N-1, class by class."""
    return torch.arange(way, device=device).repeat_interleave(per_class).expand(tasks, -1)
