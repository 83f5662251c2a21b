"""Cross-entropy, image by image."""

import torch.nn.functional as F
from torch import Tensor

from mtl.losses.checks import prepared
from mtl.losses.types import ImageLoss


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
