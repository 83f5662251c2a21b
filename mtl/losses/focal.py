"""Focal loss: images that are answered well count little."""

import math

import torch
from torch import Tensor

from mtl.losses.checks import prepared
from mtl.losses.cross_entropy import CrossEntropy, cross_entropy
from mtl.losses.types import ImageLoss


class FocalLoss(ImageLoss):
    """(1 − p)^γ times the base loss, p what the softmax gives the image's class.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4, for classes that exclude each
    other. torchvision's sigmoid_focal_loss is that of C yes-or-no questions, each with its own p; with two
    classes and logits (0, x) the two are the same. p is that of the logits as given, whatever the base makes
    of them, and the factor is differentiated through.

    Args:
        gamma: γ; 0 is the base loss.
        base: class-level loss, plain cross-entropy if none is given.

    Raises:
        ValueError: γ is negative or not finite.
    """

    def __init__(self, gamma: float, base: ImageLoss | None = None) -> None:
        super().__init__()
        if not 0 <= gamma < math.inf:
            raise ValueError(f"gamma: {gamma}; it must be finite and not negative")
        self.gamma, self.base = gamma, base or CrossEntropy()

    def per_image(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        loss = self.base.per_image(logits, labels, features, images)
        missed = -torch.expm1(-cross_entropy(*prepared(logits, labels)))  # 1 - p
        # The power's slope at 0 is infinite for γ < 1, and times a loss of 0 it would be nan.
        return missed.clamp(min=torch.finfo(missed.dtype).tiny) ** self.gamma * loss
