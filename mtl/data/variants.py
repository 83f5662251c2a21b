"""Variants of an image whose features are averaged, in the support set and for queries."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.config import Evaluate
from mtl.data.augment import moved


@dataclass(frozen=True)
class Variants:
    """The image, its middle enlarged, and the mirror images of both, as far as they are wanted.

    The feature of an image is the mean of theirs, which training on such variants has brought near each other
    (from one crop to many: EASY, Bendou et al., 2022).
    """

    mirror: bool = False
    zoom: float = 1.0  # by which the middle is enlarged; 1: not at all

    def features(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """(B, D) of images (B, C, H, W), which the network takes at once for each variant."""
        variants = self._of(images)
        total = network(variants[0])
        for variant in variants[1:]:
            total = total + network(variant)
        return total / len(variants) if len(variants) > 1 else total

    def _of(self, images: Tensor) -> list[Tensor]:
        whole = [images] if self.zoom == 1 else [images, _enlarged(images, self.zoom)]
        return [*whole, *(one.flip(-1) for one in whole)] if self.mirror else whole


def _enlarged(images: Tensor, zoom: float) -> Tensor:
    theta = torch.tensor([[1 / zoom, 0.0, 0.0], [0.0, 1 / zoom, 0.0]], device=images.device)
    return moved(images, theta.expand(len(images), 2, 3))


#: The image alone.
PLAIN = Variants()


def variants_of(cfg: Evaluate) -> Variants:
    """Those that a config evaluates with."""
    return Variants(cfg.mirror, cfg.zoom)
