"""Losses for unequal classes: weights by class, logit adjustment, focal and influence-balanced loss."""

import math

import torch
from torch import Tensor

from mtl.data.class_imbalance import effective_number
from mtl.losses.base import (
    CrossEntropy,
    ImageLoss,
    checked_batch,
    cross_entropy,
    require_classes,
    require_counts,
    require_epoch,
    require_smoothing,
    require_weights,
)


def class_balanced_weights(counts: Tensor, beta: float) -> Tensor:
    """(C,) float64 from numbers of images (C,): ∝ (1 − β)/(1 − β^n), 0 for classes without images.

    The weights of the classes that have images sum to their number (Cui et al., "Class-Balanced Loss Based
    on Effective Number of Samples", CVPR 2019). β = 0 weighs all classes equally, β → 1 by 1/n. ValueError
    for β outside [0, 1), and for counts without any image.
    """
    weights = effective_number(require_counts(counts), beta)
    return weights * ((counts > 0).sum() / weights.sum())


class ClassBalancedLoss(ImageLoss):
    """Cross-entropy times the weight of the image's class.

    The mean is over images. F.cross_entropy(weight=w, reduction="mean") divides by the batch's sum of
    weights instead, so that an image's weight depends on the others of its batch and a batch of one class
    is not weighted at all.

    Args:
        weights: (C,), finite and not negative, e.g. of `class_balanced_weights`.
        start_epoch: weights apply from here on, before it the loss is plain (deferred re-weighting: Cao et
            al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019).
        label_smoothing: as of CrossEntropy; the weight is that of the label.
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
        logits, labels = checked_batch(logits, labels)
        require_classes("weights", self.weights, logits)
        loss = cross_entropy(logits, labels, self.label_smoothing)
        return loss if self.epoch < self.start_epoch else self.weights.to(logits)[labels] * loss


class LogitAdjustedLoss(ImageLoss):
    """Cross-entropy of logits + τ log π, π the share of each class in the training set.

    What is learned are then logits without the prior: nothing is added when the classifier is used, nor in
    `eval()` mode (Menon et al., "Long-tail learning via logit adjustment", ICLR 2021). A class without images
    gets -inf, so that it is excluded for every image, and an image of it has an infinite loss.

    Args:
        counts: (C,) int64, images of each class in the training set.
        strength: τ, at least 0; 0 is plain cross-entropy.
        start_epoch: from here on logits are adjusted.
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
        logits, labels = checked_batch(logits, labels)
        require_classes("counts", self.counts, logits)
        # 0 · log 0 would be nan
        if self.training and self.strength and self.epoch >= self.start_epoch:
            counts = self.counts.to(logits)
            logits = logits + self.strength * (counts / counts.sum()).log()
        return cross_entropy(logits, labels)


class FocalLoss(ImageLoss):
    """(1 − p)^γ times the base loss, p the softmax probability of the image's class.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4, for classes that exclude each
    other. torchvision's sigmoid_focal_loss is that of C yes-or-no questions, each with its own p; with two
    classes and logits (0, x) the two are the same. p is that of the logits as given, whatever the base makes
    of them, and the factor is differentiated through.

    Args:
        gamma: γ, at least 0; 0 is the base loss.
        base: class-level loss, plain cross-entropy unless given.
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
        missed = -torch.expm1(-cross_entropy(*checked_batch(logits, labels)))  # 1 - p
        # The power's slope at 0 is infinite for γ < 1, and times a loss of 0 it would be nan.
        return missed.clamp(min=torch.finfo(missed.dtype).tiny) ** self.gamma * loss


class InfluenceBalancedLoss(ImageLoss):
    """The base loss times λ_y α / (‖p − y‖₁ ‖h‖₁ + ε) from `start_epoch` on; before it the base loss.

    ‖p − y‖₁ ‖h‖₁ is the size of the loss's gradient with respect to the weights of a linear classifier of
    features h, and measures the image's influence on the decision boundary (Park et al., "Influence-Balanced
    Loss for Imbalanced Visual Classification", ICCV 2021). It is meaningful only once the classifier
    separates most images, so the first epochs should be plain.

    Two variants, by `detach`:

    - True: the factor is a constant; each image's gradient is that of the base loss, times the factor.
    - False: the factor is differentiated through. It falls as an image's loss rises, so the gradient of
      logits is smaller, though never of the other sign, and features are pushed to grow in length.

    Args:
        alpha: α, above 0, brings the loss back to its usual size.
        epsilon: ε, above 0, holds the factor below α/ε.
        weights: λ (C,), weights of classes; 1 unless given.
        start_epoch: from here on the factor applies, and features are needed.
        detach: which variant.
        base: class-level loss, plain cross-entropy unless given.
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
        logits, labels = checked_batch(logits, labels)
        distance = -2 * torch.expm1(-cross_entropy(logits, labels))  # ‖p − y‖₁ = 2 (1 − p_y)
        factor = self.alpha / (distance * features.to(logits).abs().sum(-1) + self.epsilon)
        if self.weights is not None:
            require_classes("weights", self.weights, logits)
            factor = self.weights.to(logits)[labels] * factor
        return (factor.detach() if self.detach else factor) * loss
