"""What every loss of a classifier's training answers to."""

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


def prepared(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, C) in float32, or in float64 where they are so already, and labels (B,) beside them.

    Labels are looked at on the processor alone: on a GPU a look would wait for the whole step.

    Raises:
        ValueError: shapes or types do not fit, the batch is empty, or a label is none of 0..C-1.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits must be (B, C) and labels (B,), not {_shape(logits)} and {_shape(labels)}")
    if not logits.numel():
        raise ValueError(f"logits of shape {_shape(logits)}: there must be an image and a class")
    if labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64, not {labels.dtype}")
    classes = logits.shape[1]
    if labels.device.type == "cpu" and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels must be in 0..{classes - 1}, not {int(labels.min())}..{int(labels.max())}")
    return logits if logits.dtype == torch.float64 else logits.float(), labels.to(logits.device)


def require_images(images: Tensor | None, batch: int, size: int) -> Tensor:
    """Indices (B,) into a training set of `size` images.

    Raises:
        ValueError: there are none, they are of another shape or type, or some lie outside the set.
    """
    if images is None:
        raise ValueError("a loss that remembers every image needs `images`, the batch's training set indices")
    if images.shape != (batch,) or images.dtype != torch.int64:
        raise ValueError(f"images must be ({batch},) int64, not {_shape(images)} {images.dtype}")
    if images.device.type == "cpu" and not 0 <= int(images.min()) <= int(images.max()) < size:
        raise ValueError(f"images must be in 0..{size - 1}, not {int(images.min())}..{int(images.max())}")
    return images


def require_counts(counts: Tensor) -> Tensor:
    """Numbers of images (C,) int64.

    Raises:
        ValueError: another shape or type, a negative number, or no image at all.
    """
    if counts.ndim != 1 or counts.dtype != torch.int64:
        raise ValueError(f"counts must be (C,) int64, not {_shape(counts)} {counts.dtype}")
    if (counts < 0).any() or not counts.any():
        raise ValueError("counts must not be negative, and one class at least must have images")
    return counts


def require_weights(weights: Tensor) -> Tensor:
    """Class weights (C,), in float32.

    Raises:
        ValueError: another shape, a weight that is negative or not finite, or none above 0.
    """
    if weights.ndim != 1 or not weights.is_floating_point():
        raise ValueError(f"weights must be (C,) of a float type, not {_shape(weights)} {weights.dtype}")
    if not (weights.isfinite().all() and (weights >= 0).all() and weights.any()):
        raise ValueError("weights must be finite and not negative, and one at least above 0")
    return weights.detach().float().clone()


def require_classes(name: str, values: Tensor, logits: Tensor) -> None:
    """Raises ValueError where what is known by class, (C,), does not fit logits (B, C)."""
    if len(values) != logits.shape[1]:
        raise ValueError(f"{name} of {len(values)} classes, but logits of {logits.shape[1]}")


def require_epoch(name: str, epoch: int) -> int:
    """An epoch's number.

    Raises:
        ValueError: it is negative.
    """
    if epoch < 0:
        raise ValueError(f"{name}: {epoch}; epochs count from 0")
    return epoch


def _shape(values: Tensor) -> tuple[int, ...]:
    return tuple(values.shape)


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """(B,) from logits (B, C) and labels (B,).

    Like F.cross_entropy, but for logits of -inf: smoothing spreads over the classes that are in question,
    where F.cross_entropy would be infinite.
    """
    log_p = F.log_softmax(logits, dim=-1)
    loss = -log_p.gather(1, labels[:, None])[:, 0]
    if not label_smoothing:
        return loss
    out = logits.isneginf()
    spread = -log_p.masked_fill(out, 0.0).sum(-1) / (~out).sum(-1)
    return (1 - label_smoothing) * loss + label_smoothing * spread


def require_smoothing(label_smoothing: float) -> float:
    """Raises ValueError for label smoothing outside [0, 1)."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing: {label_smoothing}; it must be at least 0 and below 1")
    return label_smoothing


class CrossEntropy(ImageLoss):
    """Plain cross-entropy: all images count alike.

    Args:
        label_smoothing: share of the label that is spread over all classes (Szegedy et al., CVPR 2016).

    Raises:
        ValueError: label smoothing outside [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = require_smoothing(label_smoothing)

    def per_image(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        return cross_entropy(*prepared(logits, labels), self.label_smoothing)
