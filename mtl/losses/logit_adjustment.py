"""Logits adjusted by how frequent their classes are."""

import math

from torch import Tensor

from mtl.losses.checks import prepared, require_classes, require_counts, require_epoch
from mtl.losses.cross_entropy import cross_entropy
from mtl.losses.types import ImageLoss


class LogitAdjustedLoss(ImageLoss):
    """Cross-entropy of logits + τ log π, π the share of each class in the training set.

    What is learned are then logits without the prior, and they answer as they are: nothing is added when
    the classifier is used, nor in `eval()` mode (Menon et al., "Long-tail learning via logit adjustment",
    ICLR 2021). A class without images gets -inf, so that it is out of question for every image, and an
    image of it has an infinite loss.

    Args:
        counts: (C,) int64, images of each class in the training set.
        strength: τ; 0 is plain cross-entropy.
        start_epoch: from here on logits are adjusted.

    Raises:
        ValueError: counts of another shape or type or without any image, a negative τ or epoch.
    """

    counts: Tensor  # (C,) int64

    def __init__(self, counts: Tensor, strength: float = 1.0, start_epoch: int = 0) -> None:
        super().__init__()
        if not 0 <= strength < math.inf:
            raise ValueError(f"strength: {strength}; it must be finite and not negative")
        self.register_buffer("counts", require_counts(counts).clone())
        self.strength = strength
        self.start_epoch = require_epoch("start_epoch", start_epoch)

    def per_image(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        logits, labels = prepared(logits, labels)
        require_classes("counts", self.counts, logits)
        # 0 · log 0 would be nan
        if self.training and self.strength and self.epoch >= self.start_epoch:
            counts = self.counts.to(logits)
            logits = logits + self.strength * (counts / counts.sum()).log()
        return cross_entropy(logits, labels)
