"""Influence-balanced loss: images that pull hard on the decision boundary count less."""

import math

import torch
from torch import Tensor

from mtl.losses.base import (
    CrossEntropy,
    ImageLoss,
    cross_entropy,
    prepared,
    require_classes,
    require_epoch,
    require_weights,
)


class InfluenceBalancedLoss(ImageLoss):
    """The base loss times λ_y α / (‖p − y‖₁ ‖h‖₁ + ε), from `start_epoch` on; before it the base loss alone.

    ‖p − y‖₁ ‖h‖₁ is the size of the loss's gradient with respect to the weights of a linear classifier of
    features h, and stands for the image's influence (Park et al., "Influence-Balanced Loss for Imbalanced
    Visual Classification", ICCV 2021). It means something only once the classifier separates most images,
    so the first epochs are to be plain.

    Two variants, by `detach`:

    - True: the factor is a constant; each image's gradient is that of the base loss, times the factor.
    - False: the factor is differentiated through. It falls as an image's loss rises, so the gradient of
      logits is smaller, though never of the other sign, and features are pushed to grow in length.

    Args:
        alpha: α, brings the loss back to its usual size.
        epsilon: ε, holds the factor below α/ε.
        weights: λ (C,), weights of classes; none: 1.
        start_epoch: of the second phase.
        detach: which variant.
        base: class-level loss, plain cross-entropy if none is given.

    Raises:
        ValueError: α or ε is not positive, weights that are negative or not finite, a negative epoch; when
            called from `start_epoch` on, features (B, D) are missing or of another shape.
    """

    weights: Tensor | None  # (C,) float32

    def __init__(
        self,
        alpha: float = 1000.0,
        epsilon: float = 1e-3,
        weights: Tensor | None = None,
        start_epoch: int = 0,
        detach: bool = True,
        base: ImageLoss | None = None,
    ) -> None:
        super().__init__()
        if not (0 < alpha < math.inf and 0 < epsilon < math.inf):
            raise ValueError(f"alpha {alpha} and epsilon {epsilon} must be positive and finite")
        self.alpha, self.epsilon, self.detach = alpha, epsilon, detach
        self.register_buffer("weights", None if weights is None else require_weights(weights))
        self.start_epoch = require_epoch("start_epoch", start_epoch)
        self.base = base or CrossEntropy()

    def per_image(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        loss = self.base.per_image(logits, labels, features, images)
        if self.epoch < self.start_epoch:
            return loss
        if features is None or features.ndim != 2 or len(features) != len(loss):
            raise ValueError(f"an influence-balanced loss needs features ({len(loss)}, D) of the batch")
        logits, labels = prepared(logits, labels)
        distance = -2 * torch.expm1(-cross_entropy(logits, labels))  # ‖p − y‖₁ = 2 (1 − p_y)
        factor = self.alpha / (distance * features.to(logits).abs().sum(-1) + self.epsilon)
        if self.weights is not None:
            require_classes("weights", self.weights, logits)
            factor = self.weights.to(logits)[labels] * factor
        return (factor.detach() if self.detach else factor) * loss
