"""What every loss of a classifier's training answers to."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from mtl.losses.checks import require_epoch


class ImageLoss(nn.Module, ABC):
    """A loss that says what each image of a batch contributes.

    A class-level loss treats all images of a class alike. An image-level loss is put on top of one, its
    `base`, and makes images count by how well they are answered. Both are for training batches alone: some
    remember what they are given.

    Computed in float32, in float64 for float64 logits, on the device of the logits. What a loss remembers
    is in its `state_dict()`, so that a run that is resumed in mid-epoch goes on as if it had not stopped.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    @abstractmethod
    def per_image(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        """What each image contributes (B,); the mean over the batch is the loss.

        Args:
            logits: (B, C); -inf for classes that are out of question for an image.
            labels: (B,) int64.
            features: (B, D), inputs of the classifier.
            images: (B,) int64, indices into the training set.

        Raises:
            ValueError: shapes do not fit, or the loss needs features or images that are not given.
        """

    def forward(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        """The mean of `per_image`, same arguments."""
        return self.per_image(logits, labels, features, images).mean()

    def begin_epoch(self, epoch: int) -> None:
        """To be told before each epoch; epochs count from 0. Told again in mid-epoch, it changes nothing.

        Raises:
            ValueError: the epoch is negative.
        """
        self.epoch = require_epoch("epoch", epoch)
        for child in self.children():
            if isinstance(child, ImageLoss):
                child.begin_epoch(epoch)

    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": self.epoch}

    def set_extra_state(self, state: Any) -> None:
        self.epoch = int(state["epoch"])
