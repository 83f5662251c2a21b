"""The stream of uniform episodes that every sampler shares."""

import torch
from torch import Tensor

from mtl.episodes.class_index import ClassIndex
from mtl.runtime.seeds import generator

_BLOCK = 64  # episodes drawn at once; another number is another stream


class EpisodeStream:
    """Episode 0, 1, 2, ... of a seed: N classes, every set equally likely, and distinct images of each.

    They are drawn a block at a time, which takes a few microseconds an episode. Which block an episode lies
    in follows from its number, so that it is still a pure function of (seed, number).

    Args:
        index: the images to draw from.
        way: N.
        per_class: images of a class, shots and queries together.
        seed: of the stream.
        shot: K of them, the first, are the support set; where images are in groups, the others come from
            other groups. 0: groups play no part.
    """

    def __init__(self, index: ClassIndex, way: int, per_class: int, seed: int, shot: int = 0) -> None:
        self.index, self.way, self.per_class, self.seed, self.shot = index, way, per_class, seed, shot
        self._block, self._at = (torch.empty(0), torch.empty(0)), -1

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Classes (N,) and images (N, per_class) of episode `number`."""
        at, place = divmod(number, _BLOCK)
        if at != self._at:
            self._block, self._at = self._draw(generator(self.seed, "episodes", at)), at
        classes, images = self._block
        return classes[place], images[place]

    def _draw(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        classes = self.index.draw_classes(self.way, random, tasks=_BLOCK)
        if self.shot:
            images = self.index.draw_episode(classes, self.shot, self.per_class - self.shot, random)
        else:
            images = self.index.draw_images(classes, self.per_class, random)
        return classes.view(_BLOCK, self.way), images.view(_BLOCK, self.way, self.per_class)
