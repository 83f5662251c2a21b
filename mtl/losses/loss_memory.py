"""The last known loss of every image of a training set."""

import math

import torch
from torch import Tensor, nn

from mtl.losses.base import require_images


class LossMemory(nn.Module):
    """Losses by image index: what a batch's images are compared with where a batch is too small.

    Args:
        size: of the training set.

    Raises:
        ValueError: the size is not positive.
    """

    losses: Tensor  # (size,) float32, nan: not met yet

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size: {size}; the training set must have an image")
        self.register_buffer("losses", torch.full((size,), math.nan))

    def enter(self, images: Tensor | None, losses: Tensor) -> Tensor:
        """Remembers the losses (B,) of the images (B,); (B,) what is known of them now.

        Raises:
            ValueError: there are no indices, or they do not fit.
        """
        indices = require_images(images, len(losses), len(self.losses))
        self.losses = put(self.losses, indices, losses)
        return self.losses[indices.to(losses.device)]

    def known(self) -> Tensor:
        """The losses of all images met so far, by image."""
        return self.losses[~self.losses.isnan()]


def ranks(losses: Tensor, *places: int) -> list[Tensor]:
    """The losses that would stand at these places if they were sorted, the least at place 0.

    Sorting a million losses in every step would take longer than the step.
    """
    return [losses.kthvalue(place + 1).values for place in places]


def put(table: Tensor, images: Tensor, values: Tensor) -> Tensor:
    """`table` (size,) with the values (B,) of the images (B,) written into it, on the device of the values.

    Of an image that stands in the batch twice the larger value is kept, so that order plays no part; plain
    assignment by index leaves open which one wins.
    """
    table, images = table.to(values.device), images.to(values.device)
    table.index_fill_(0, images, -math.inf)
    return table.scatter_reduce_(0, images, values.detach().to(table.dtype), "amax")


def ranked(losses: Tensor) -> Tensor:
    """Losses to choose images by: no gradient passes, and nan counts as the worst there is."""
    losses = losses.detach()
    return losses.where(~losses.isnan(), math.inf)


def count_of(share: float, images: int) -> int:
    """How many of so many images a share in (0, 1] is: rounded up, so at least one."""
    return max(1, math.ceil(share * images - 1e-9))
