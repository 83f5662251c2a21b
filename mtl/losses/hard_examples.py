"""Hard example mining: only the images with the largest losses count. And the memory of losses by image."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from mtl.losses.base import CrossEntropy, ImageLoss, require_images

Scope = Literal["batch", "class", "memory"]


class HardExampleMiner(ImageLoss):
    """The mean of the base loss over the hardest images, after online hard example mining.

    Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining", CVPR 2016.
    Of n images the ceil(part · n) with the largest base losses are chosen, less the floor(cap · n) largest
    of all: where labels are wrong, these are mostly images of other classes. At least one image is chosen.
    Others have no gradient, and the choice is not differentiated through. The n images are

    - "batch": those of the batch,
    - "class": those of one class in the batch; each class chooses among its own,
    - "memory": all images of the training set seen so far, by their last known losses, those of this batch
      entered first. Of the batch those count that are among the chosen: as losses age while a network learns,
      another share of it than `part`. If none is, the hardest that is not too hard counts, and if all are too
      hard, the least hard. Here equal losses are chosen together.

    In the other scopes the earlier of two equal losses counts as the larger.

    Args:
        part: share of images, in (0, 1].
        scope: among which images.
        cap: share of the very hardest that is left out, below `part`.
        size: of the training set, for "memory", which also needs `images`.
        base: loss that ranks and counts, plain cross-entropy unless given.
    """

    def __init__(
        self,
        part: float,
        scope: Scope = "batch",
        cap: float = 0.0,
        size: int | None = None,
        base: ImageLoss | None = None,
    ) -> None:
        super().__init__()
        if not 0 < part <= 1:
            raise ValueError(f"part: {part}; it must be above 0 and at most 1")
        if not 0 <= cap < part:
            raise ValueError(f"cap: {cap}; it must be at least 0 and below part = {part}")
        if scope not in ("batch", "class", "memory"):
            raise ValueError(f"scope: {scope}; it must be batch, class or memory")
        if scope == "memory" and size is None:
            raise ValueError("scope memory needs `size`, the number of images in the training set")
        self.part, self.scope, self.cap = part, scope, cap
        self.base = base or CrossEntropy()
        self.memory = LossMemory(size) if scope == "memory" and size is not None else None

    def per_image(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        losses = self.base.per_image(logits, labels, features, images)
        order_by = ranked(losses)
        if self.memory is not None:
            chosen = self._hardest_of_memory(self.memory, images, order_by)
        else:
            groups = labels.to(losses.device) if self.scope == "class" else labels.new_zeros(len(losses))
            chosen = hardest(order_by, groups.to(losses.device), self.part, self.cap)
        # where, not a product: the loss of an image left out may be infinite
        return torch.where(chosen, losses, 0.0) * (len(losses) / chosen.sum())

    def _hardest_of_memory(self, memory: "LossMemory", images: Tensor | None, losses: Tensor) -> Tensor:
        mine = memory.enter(images, losses)
        known = memory.known()
        first, last = _ranks(len(known), self.part, self.cap)
        least, most = ranks(known, len(known) - last, len(known) - 1 - first)
        chosen = (least <= mine) & (mine <= most)
        if not chosen.any():
            below = mine < least
            pick = mine.where(below, -math.inf).argmax() if below.any() else mine.argmin()
            chosen[pick] = True
        return chosen


def hardest(losses: Tensor, groups: Tensor, part: float, cap: float = 0.0) -> Tensor:
    """(B,) bool: the hardest of each group, by losses (B,) and groups (B,) of any integers."""
    place = torch.arange(len(losses), device=losses.device)
    same = groups[:, None] == groups
    before = (losses > losses[:, None]) | ((losses == losses[:, None]) & (place < place[:, None]))
    rank, count = (before & same).sum(1), same.sum(1)
    bounds = [_ranks(n, part, cap) for n in range(1, len(losses) + 1)]
    first, last = torch.tensor(bounds, device=losses.device)[count - 1].unbind(1)
    return (first <= rank) & (rank < last)


def _ranks(images: int, part: float, cap: float) -> tuple[int, int]:
    """The ranks [first, last) that are chosen of n images, the hardest at rank 0."""
    last = count_of(part, images)
    return min(math.floor(cap * images + 1e-9), last - 1), last


class LossMemory(nn.Module):
    """The last known loss of every image of a training set of `size` images, by index."""

    losses: Tensor  # (size,) float32, nan: not seen yet

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size: {size}; the training set must have an image")
        self.register_buffer("losses", torch.full((size,), math.nan))

    def enter(self, images: Tensor | None, losses: Tensor) -> Tensor:
        """Stores the losses (B,) of the images (B,); returns (B,) what is known of them now."""
        indices = require_images(images, len(losses), len(self.losses))
        self.losses = put(self.losses, indices, losses)
        return self.losses[indices.to(losses.device)]

    def known(self) -> Tensor:
        """The losses of all images seen so far, by image."""
        return self.losses[~self.losses.isnan()]


def ranks(losses: Tensor, *places: int) -> list[Tensor]:
    """The losses at these places of the ascending order."""
    # sorting a million losses in every step would take longer than the step
    return [losses.kthvalue(place + 1).values for place in places]


def put(table: Tensor, images: Tensor, values: Tensor) -> Tensor:
    """`table` (size,) with the values (B,) of the images (B,) written into it, on the device of the values.

    Of an image that is in the batch twice the larger value is stored, so that order does not matter; plain
    assignment by index leaves open which one wins.
    """
    table, images = table.to(values.device), images.to(values.device)
    table.index_fill_(0, images, -math.inf)
    return table.scatter_reduce_(0, images, values.detach().to(table.dtype), "amax")


def ranked(losses: Tensor) -> Tensor:
    """Losses to choose images by: without gradient, nan as the largest."""
    losses = losses.detach()
    return losses.where(~losses.isnan(), math.inf)


def count_of(share: float, images: int) -> int:
    """A share in (0, 1] of n images, rounded up: at least one."""
    return max(1, math.ceil(share * images - 1e-9))
