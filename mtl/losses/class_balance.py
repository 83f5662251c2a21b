"""Weights of classes by the effective number of their images."""

from torch import Tensor

from mtl.data.class_weights import effective_number
from mtl.losses.checks import prepared, require_classes, require_counts, require_epoch, require_weights
from mtl.losses.cross_entropy import cross_entropy, require_smoothing
from mtl.losses.types import ImageLoss


def class_balanced_weights(counts: Tensor, beta: float) -> Tensor:
    """(C,) float64 from numbers of images (C,): ∝ (1 − β)/(1 − β^n), 0 for classes without images.

    The weights of the classes that have images sum to their number (Cui et al., "Class-Balanced Loss Based
    on Effective Number of Samples", CVPR 2019). β = 0 weighs classes alike, β → 1 by 1/n.

    Raises:
        ValueError: counts of another shape or type or without any image, β outside [0, 1).
    """
    weights = effective_number(require_counts(counts), beta)
    return weights * ((counts > 0).sum() / weights.sum())


class ClassBalancedLoss(ImageLoss):
    """Cross-entropy times the weight of the image's class.

    The mean is over images. F.cross_entropy(weight=w, reduction="mean") divides by the batch's sum of
    weights instead, so that an image's weight depends on the others of its batch and a batch of one class
    is not weighted at all.

    Args:
        weights: (C,), e.g. of `class_balanced_weights`.
        start_epoch: from here on they count, before it the loss is plain (deferred re-weighting: Cao et
            al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019).
        label_smoothing: as of CrossEntropy; the weight is that of the label.

    Raises:
        ValueError: weights that are negative or not finite, a negative epoch, smoothing outside [0, 1).
    """

    weights: Tensor  # (C,) float32

    def __init__(self, weights: Tensor, start_epoch: int = 0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weights", require_weights(weights))
        self.start_epoch = require_epoch("start_epoch", start_epoch)
        self.label_smoothing = require_smoothing(label_smoothing)

    def per_image(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        logits, labels = prepared(logits, labels)
        require_classes("weights", self.weights, logits)
        loss = cross_entropy(logits, labels, self.label_smoothing)
        return loss if self.epoch < self.start_epoch else self.weights.to(logits)[labels] * loss
