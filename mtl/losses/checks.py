"""What the losses ask of their arguments."""

import torch
from torch import Tensor


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
