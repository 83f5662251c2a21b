"""What every loss of a classifier's training is, plain cross-entropy, and the checks that losses share."""

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImageLoss(nn.Module, ABC):
    """A loss that says what each image of a batch contributes.

    A class-level loss treats all images of a class the same. An image-level loss wraps one, its `base`, and
    weighs images by how well they are classified. Both are for training batches only: some remember what they
    have seen, in `state_dict()`, so that a run resumed in mid-epoch continues as if it had not stopped.

    Computed in float32, in float64 for float64 logits, on the device of the logits. Arguments that do not
    fit, or are outside the ranges stated for them, raise ValueError.
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
            logits: (B, C); -inf for classes that are excluded for an image.
            labels: (B,) int64.
            features: (B, D), inputs of the classifier.
            images: (B,) int64, indices into the training set.
        """

    def forward(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        """The mean of `per_image`, same arguments."""
        return self.per_image(logits, labels, features, images).mean()

    def begin_epoch(self, epoch: int) -> None:
        """Call before each epoch; epochs count from 0. Repeating the current epoch changes nothing."""
        self.epoch = require_epoch("epoch", epoch)
        for child in self.children():
            if isinstance(child, ImageLoss):
                child.begin_epoch(epoch)

    def get_extra_state(self) -> dict[str, Any]:
        return {"epoch": self.epoch}

    def set_extra_state(self, state: Any) -> None:
        self.epoch = int(state["epoch"])


class CrossEntropy(ImageLoss):
    """Plain cross-entropy: all images count equally.

    Args:
        label_smoothing: share of the label, in [0, 1), that is spread over all classes (Szegedy et al., CVPR
            2016).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = require_smoothing(label_smoothing)

    def per_image(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        return cross_entropy(*checked_batch(logits, labels), self.label_smoothing)


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """(B,) from logits (B, C) and labels (B,).

    Like F.cross_entropy, but for logits of -inf: smoothing spreads over the classes that are not excluded,
    where F.cross_entropy would be infinite.
    """
    log_p = F.log_softmax(logits, dim=-1)
    loss = -log_p.gather(1, labels[:, None])[:, 0]
    if not label_smoothing:
        return loss
    out = logits.isneginf()
    spread = -log_p.masked_fill(out, 0.0).sum(-1) / (~out).sum(-1)
    return (1 - label_smoothing) * loss + label_smoothing * spread


def checked_batch(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, C) in float32, or float64 if they already are, and labels (B,) on the same device; checked.

    Label values are checked on the CPU only: on a GPU the check would wait for the whole step.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits must be (B, C) and labels (B,), not {_shape(logits)} and {_shape(labels)}")
    if not logits.numel():
        raise ValueError(f"logits of shape {_shape(logits)}: at least one image and one class are needed")
    if labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64, not {labels.dtype}")
    classes = logits.shape[1]
    if labels.device.type == "cpu" and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels must be in 0..{classes - 1}, not {int(labels.min())}..{int(labels.max())}")
    return logits if logits.dtype == torch.float64 else logits.float(), labels.to(logits.device)


def require_images(images: Tensor | None, batch: int, size: int) -> Tensor:
    """Indices (B,) int64 into a training set of `size` images, or ValueError."""
    if images is None:
        raise ValueError("a loss that remembers every image needs `images`, the batch's training set indices")
    if images.shape != (batch,) or images.dtype != torch.int64:
        raise ValueError(f"images must be ({batch},) int64, not {_shape(images)} {images.dtype}")
    if images.device.type == "cpu" and not 0 <= int(images.min()) <= int(images.max()) < size:
        raise ValueError(f"images must be in 0..{size - 1}, not {int(images.min())}..{int(images.max())}")
    return images


def require_counts(counts: Tensor) -> Tensor:
    """Numbers of images (C,) int64, not negative, at least one above 0; or ValueError."""
    if counts.ndim != 1 or counts.dtype != torch.int64:
        raise ValueError(f"counts must be (C,) int64, not {_shape(counts)} {counts.dtype}")
    if (counts < 0).any() or not counts.any():
        raise ValueError("counts must not be negative, and at least one class must have images")
    return counts


def require_weights(weights: Tensor) -> Tensor:
    """Class weights (C,) in float32, finite and not negative, at least one above 0; or ValueError."""
    if weights.ndim != 1 or not weights.is_floating_point():
        raise ValueError(f"weights must be (C,) of a float type, not {_shape(weights)} {weights.dtype}")
    if not (weights.isfinite().all() and (weights >= 0).all() and weights.any()):
        raise ValueError("weights must be finite and not negative, and at least one must be above 0")
    return weights.detach().float().clone()


def require_classes(name: str, values: Tensor, logits: Tensor) -> None:
    """ValueError if values by class, (C,), do not fit logits (B, C)."""
    if len(values) != logits.shape[1]:
        raise ValueError(f"{name} of {len(values)} classes, but logits of {logits.shape[1]}")


def require_epoch(name: str, epoch: int) -> int:
    """The epoch, or ValueError if it is negative."""
    if epoch < 0:
        raise ValueError(f"{name}: {epoch}; epochs count from 0")
    return epoch


def require_smoothing(label_smoothing: float) -> float:
    """The label smoothing, or ValueError outside [0, 1)."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing: {label_smoothing}; it must be at least 0 and below 1")
    return label_smoothing


def _shape(values: Tensor) -> tuple[int, ...]:
    return tuple(values.shape)
