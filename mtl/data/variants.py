"""Variants of an image whose features are averaged, in the support set and for queries."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mtl.config import Augment, Config
from mtl.data.augment import affine, moved


@dataclass(frozen=True)
class Moves:
    """By how much each copy of an image is moved, in all ways at once, one way or the other; 0: not at all.

    Which way is by a design of two levels, so that few copies try all ways equally: in eight, every two kinds
    of move meet in each combination equally often (Box and Hunter, 1961); in four, shearing goes with the
    shift to the right and size with the one down.
    """

    rotate: float = 0.0  # degrees
    shear: float = 0.0  # degrees
    scale: float = 0.0  # enlarged by 1 + scale, or reduced by as much
    translate: float = 0.0  # of the side, right or left, and down or up
    crop: float = 0.0  # pixels of further translation
    copies: Literal[4, 8] = 8  # fewer where some are alike

    @staticmethod
    def of(cfg: Augment, share: float, copies: Literal[4, 8]) -> "Moves":
        """A share of what training moves images by at most."""
        return Moves(**{key: share * most for key, most in cfg.movements.items()}, copies=copies)

    def transforms(self, side: int) -> list[Tensor]:
        """For each copy of images with `side` pixels its transform (2, 3), for `moved`."""
        angle, lean = math.radians(self.rotate), math.tan(math.radians(self.shear))
        zoom, shift = 1 + self.scale, 2 * (self.translate + self.crop / side)
        each = dict.fromkeys(
            (turn * angle, along * lean, zoom**size, right * shift, down * shift)
            for turn, along, size, right, down in _DESIGNS[self.copies]
        )
        if len(each) == 1:
            return []
        values = torch.tensor(list(each))
        return [*affine(values[:, 0], values[:, 1], values[:, 2], values[:, 3:])]


_WAYS = (1, -1)
#: For each copy, which way it is turned, sheared, resized, and shifted along either side.
_DESIGNS = {
    4: [(a * b, a, b, a, b) for a in _WAYS for b in _WAYS],
    8: [(a, b, c, a * b, a * c) for a in _WAYS for b in _WAYS for c in _WAYS],
}


@dataclass(frozen=True)
class Variants:
    """The image, its middle enlarged, moved copies, and the mirror images of all, as far as they are wanted.

    The feature of an image is the mean of theirs, which training on such variants has brought near each other
    (from one crop to many: EASY, Bendou et al., 2022).
    """

    mirror: bool = False
    zoom: float = 1.0  # by which the middle is enlarged; 1: not at all
    moves: Moves = Moves()

    def features(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """(B, D) of images (B, C, H, W), which the network takes at once for each variant."""
        variants = self._of(images)
        total = network(variants[0])
        for variant in variants[1:]:
            total = total + network(variant)
        return total / len(variants) if len(variants) > 1 else total

    def _of(self, images: Tensor) -> list[Tensor]:
        side = images.shape[-1]
        middle = Moves(scale=self.zoom - 1).transforms(side)[:1]
        transforms = [one.to(images.device) for one in (*middle, *self.moves.transforms(side))]
        copies = [moved(images, one.expand(images.shape[0], 2, 3)) for one in transforms]
        whole = [images, *copies]
        return [*whole, *(one.flip(-1) for one in whole)] if self.mirror else whole


#: The image alone.
PLAIN = Variants()


def variants_of(config: Config) -> Variants:
    """Those that a config evaluates with."""
    cfg = config.evaluate
    return Variants(cfg.mirror, cfg.zoom, Moves.of(config.data.augment, cfg.moves, cfg.copies))
