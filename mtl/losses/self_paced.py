"""Self-paced learning: easy images first, harder ones as training goes on."""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from mtl.losses.base import CrossEntropy, ImageLoss, require_epoch
from mtl.losses.loss_memory import LossMemory, count_of, put, ranked, ranks
from mtl.losses.pace import SharePace

Regulariser = Literal["hard", "linear", "logarithmic", "mixture"]
Threshold = Literal["quantile", "absolute"]

_BEND = 0.5  # λ of the logarithmic weights, to whose unit losses are brought


def self_paced_weights(
    losses: Tensor, threshold: float, regulariser: Regulariser = "hard", inner: float | None = None
) -> Tensor:
    """Weights v in [0, 1] that minimise v l + f(v; λ) for each of the losses l ≥ 0, in closed form.

        hard         f = −λ v                      v = 1 for l < λ, else 0
        linear       f = λ (v²/2 − v)              v = max(0, 1 − l/λ)
        logarithmic  f = ζ v − ζ^v / ln ζ          v = ln(l + ζ) / ln ζ for l < λ, else 0;  ζ = 1 − λ
        mixture      f = −ζ ln(v + ζ/λ)            v = 1 for l ≤ λ₂, 0 for l ≥ λ, else ζ/l − ζ/λ;
                                                   ζ = λ λ₂ / (λ − λ₂)

    hard: Kumar, Packer and Koller, "Self-Paced Learning for Latent Variable Models", NIPS 2010. The others:
    Jiang et al., "Easy Samples First: Self-paced Reranking for Zero-Example Multimedia Search", ACM
    Multimedia 2014.

    Args:
        losses: of any shape.
        threshold: λ; losses from here on weigh nothing.
        regulariser: f.
        inner: λ₂ of the mixture.

    Raises:
        ValueError: a regulariser that there is not, λ that is not positive (for logarithmic: not in (0, 1)),
            or λ₂ that is not in (0, λ).
    """
    if not threshold > 0:
        raise ValueError(f"threshold: {threshold}; it must be above 0")
    losses = losses.clamp(min=0)
    if regulariser == "hard":
        weights = torch.ones_like(losses)
    elif regulariser == "linear":
        weights = 1 - losses / threshold
    elif regulariser == "logarithmic":
        if not threshold < 1:
            raise ValueError(f"threshold: {threshold}; logarithmic weights need it below 1")
        zeta = 1 - threshold
        weights = (losses + zeta).log() / math.log(zeta)
    elif regulariser == "mixture":
        if inner is None or not 0 < inner < threshold < math.inf:
            raise ValueError(f"inner: {inner}; it must be above 0 and below threshold = {threshold}")
        weights = (threshold / losses - 1) * (inner / (threshold - inner))
        weights = weights.where(losses > inner, 1.0)
    else:
        raise ValueError(f"regulariser: {regulariser}; it must be hard, linear, logarithmic or mixture")
    return weights.clamp(0, 1).where(losses < threshold, 0.0)


class SelfPacedLoss(ImageLoss):
    """The mean of the base loss, weighted by v: Σ v l / Σ v over the batch.

    In each step v is what `self_paced_weights` makes of the losses, and a constant for the gradient. If it
    is 0 for the whole batch, the easiest image alone counts. Before `start_epoch` v is 1 for all: the losses
    of a network that knows little tell hard classes, not wrong labels. The threshold λ, e epochs after it, is
    either

    - "absolute": start · growth^e, in units of the loss, or
    - "quantile": of the images of an epoch the share min(1, start + growth · e) counts, v > 0. λ is the least
      loss beyond the easiest of them, among the last known losses of all images met so far, those of this
      batch entered first; without `size` or `images`, among those of the batch. Known losses age while the
      network learns, so that the share below such a λ is another one; `SharePace` moves λ until it is the
      one wanted, and keeps the epoch within a hundredth of it (and half an image). Losses equal to an
      admitted one are admitted too. Where none lies beyond, λ is a thousandth above the largest: `hard` then
      counts all images fully, the others go on weighing them by ease.

    All regularisers see l/λ alone. The logarithmic one is defined for λ < 1, but losses have no bound: both
    are divided by 2λ, so that its λ is always 0.5. The λ₂ of the mixture is `inner` · λ.

    Args:
        regulariser: how v falls with the loss.
        threshold: what λ is.
        start: of λ, or of the share.
        growth: of λ by factor, or of the share by addition, an epoch.
        inner: λ₂/λ of the mixture, in (0, 1).
        start_epoch: from here on images are selected.
        size: of the training set; none: nothing is remembered.
        base: class-level loss, plain cross-entropy if none is given.

    Raises:
        ValueError: values outside these ranges; when called with `size`, `images` outside the training set.
    """

    weights_now: Tensor  # (size,) float32: v of the images in this epoch, nan: not met yet

    def __init__(
        self,
        regulariser: Regulariser = "hard",
        threshold: Threshold = "quantile",
        *,
        start: float,
        growth: float,
        inner: float = 0.5,
        start_epoch: int = 0,
        size: int | None = None,
        base: ImageLoss | None = None,
    ) -> None:
        super().__init__()
        if threshold not in ("quantile", "absolute"):
            raise ValueError(f"threshold: {threshold}; it must be quantile or absolute")
        if threshold == "quantile" and not (0 < start <= 1 and 0 <= growth < math.inf):
            raise ValueError(f"a share starts in (0, 1] and grows by at least 0, not {start} and {growth}")
        if threshold == "absolute" and not (0 < start < math.inf and 1 <= growth < math.inf):
            raise ValueError(f"a threshold starts above 0 and grows by at least 1, not {start} and {growth}")
        if not 0 < inner < 1:
            raise ValueError(f"inner: {inner}; it must be between 0 and 1")
        self_paced_weights(torch.zeros(1), _BEND, regulariser, inner * _BEND)  # is there such a regulariser?
        self.regulariser, self.threshold = regulariser, threshold
        self.start, self.growth, self.inner = start, growth, inner
        self.start_epoch = require_epoch("start_epoch", start_epoch)
        self.base = base or CrossEntropy()
        self.memory = None if size is None else LossMemory(size)
        self.pace = SharePace()
        self.register_buffer("weights_now", torch.full((size or 0,), math.nan))

    def begin_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:  # a run resumed in mid-epoch may be told again
            self.weights_now.fill_(math.nan)
            self.pace.begin_epoch()
        super().begin_epoch(epoch)

    def selected(self) -> Tensor:
        """(size,) bool: the images that counted, v > 0, in this epoch so far."""
        return self.weights_now > 0

    def per_image(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        losses = self.base.per_image(logits, labels, features, images)
        if self.memory is None or images is None:
            mine = ranked(losses)
            weights = self._weigh(mine, mine, self.pace.met, self.pace.counted)
            self.pace.add(len(weights), int((weights > 0).sum()))
        else:
            mine = self.memory.enter(images, ranked(losses))
            others = self.weights_now.index_fill(0, images.to(self.weights_now.device), math.nan)
            met, total = int((others >= 0).sum()), int((others > 0).sum())
            weights = self._weigh(mine, self.memory.known(), met, total)
            self.weights_now = put(self.weights_now, images, weights)
        weights = weights.to(losses)
        # where, not a product: the loss of an image left out may be infinite
        return torch.where(weights > 0, weights * losses, 0.0) * (len(losses) / weights.sum())

    def _weigh(self, losses: Tensor, known: Tensor, met: int, counted: int) -> Tensor:
        """(B,) from the batch's losses (B,) and all that are known (n,), in any order.

        Of the other images of this epoch `met` were met so far, and `counted` of these counted.
        """
        if self.epoch < self.start_epoch:
            return torch.ones_like(losses)
        level = self._level(losses, known, met, counted)
        if self.regulariser == "logarithmic":
            weights = self_paced_weights(losses / level * _BEND, _BEND, "logarithmic")
        else:
            weights = self_paced_weights(losses, level, self.regulariser, self.inner * level)
        if not weights.any():
            weights[losses.argmin()] = 1.0
        return weights

    def _level(self, losses: Tensor, known: Tensor, met: int, counted: int) -> float:
        """λ of a batch; arguments as of `_weigh`."""
        largest = torch.finfo(known.dtype).max
        epochs = self.epoch - self.start_epoch
        if self.threshold == "absolute":
            exponent = math.log(self.start) + epochs * math.log(self.growth)
            return self.start * self.growth**epochs if exponent < math.log(largest) else largest
        share = min(1.0, self.start + self.growth * epochs)
        if share == 1:
            return _beyond(known, len(known))
        level = _beyond(known, count_of(self.pace.moved(share), len(known)))
        below = int((losses < level).sum())
        wanted = self.pace.wanted(share, len(losses), below, met, counted)
        return level if wanted == below else _beyond(losses, wanted)

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), "pace": self.pace.state()}

    def set_extra_state(self, state: Any) -> None:
        super().set_extra_state(state)
        self.pace.load(state.get("pace", {}))  # which older checkpoints lack


def _beyond(losses: Tensor, count: int) -> float:
    """The least loss beyond the `count` smallest of the losses (n,); where there is none, a bit more."""
    (admitted,) = ranks(losses, count - 1)
    beyond = float(losses.where(losses > admitted, math.inf).min())
    level = beyond if beyond < math.inf else float(admitted) * (1 + 2**-10)
    limits = torch.finfo(losses.dtype)
    return min(max(level, limits.tiny), limits.max)
