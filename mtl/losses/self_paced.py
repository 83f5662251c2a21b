"""Self-paced learning: easy images first, harder ones as training goes on."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from mtl.losses.base import CrossEntropy, ImageLoss, require_epoch
from mtl.losses.hard_examples import LossMemory, count_of, put, ranked, ranks

Regulariser = Literal["hard", "linear", "logarithmic", "mixture"]
Threshold = Literal["quantile", "absolute"]

_BEND = 0.5  # λ of the logarithmic weights, to whose unit losses are brought
_INNER = 0.5  # λ₂/λ of the mixture
_GAIN = 0.5  # share of a batch's deviation that is corrected in the next
_SLACK = 0.01  # allowed deviation of an epoch's count, as a share of its images so far


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
        threshold: λ above 0, for logarithmic below 1; losses from here on weigh nothing.
        regulariser: f.
        inner: λ₂ of the mixture, in (0, λ).

    Raises:
        ValueError: an unknown regulariser, or λ or λ₂ outside its range.
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
    is 0 for the whole batch, only the easiest image counts. Before `start_epoch` v is 1 for all: the losses
    of a network that knows little point to hard classes, not to wrong labels. The threshold λ, e epochs after
    it, is either

    - "absolute": start · growth^e, in units of the loss, or
    - "quantile": of the images of an epoch the share min(1, start + growth · e) counts, v > 0. λ is the least
      loss beyond the easiest of them, among the last known losses of all images seen so far, those of this
      batch entered first; without `size` or `images`, among those of the batch. Known losses age while the
      network learns, so that another share is below such a λ; `SharePace` moves λ until the share is right,
      and keeps the epoch within a hundredth of it (and half an image). Losses equal to an admitted one are
      admitted too. Where none is beyond, λ is a thousandth above the largest: `hard` then counts all images
      fully, the others still weigh them by ease.

    All regularisers depend on l/λ only. The logarithmic one is defined for λ < 1, but losses have no bound:
    both are divided by 2λ, so that its λ is always 0.5. The λ₂ of the mixture is λ/2.

    Args:
        regulariser: how v falls with the loss.
        threshold: what λ is.
        start: of λ, above 0; or of the share, in (0, 1].
        growth: of λ by factor, at least 1; or of the share by addition, at least 0; per epoch.
        start_epoch: from here on images are selected.
        size: of the training set; nothing is remembered unless given.
        base: class-level loss, plain cross-entropy unless given.
    """

    weights_now: Tensor  # (size,) float32: v of the images in this epoch, nan: not seen yet

    def __init__(
        self,
        regulariser: Regulariser = "hard",
        threshold: Threshold = "quantile",
        *,
        start: float,
        growth: float,
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
        self_paced_weights(torch.zeros(1), _BEND, regulariser, _INNER * _BEND)  # refuses unknown regularisers
        self.regulariser, self.threshold = regulariser, threshold
        self.start, self.growth = start, growth
        self.start_epoch = require_epoch("start_epoch", start_epoch)
        self.base = base or CrossEntropy()
        self.memory = None if size is None else LossMemory(size)
        self.pace = SharePace()
        self.register_buffer("weights_now", torch.full((size or 0,), math.nan))

    def begin_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:  # a run resumed in mid-epoch may repeat it
            self.weights_now.fill_(math.nan)
            self.pace.begin_epoch()
        super().begin_epoch(epoch)

    def per_image(
        self, logits: Tensor, labels: Tensor, features: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        losses = self.base.per_image(logits, labels, features, images)
        if self.memory is None or images is None:
            mine = ranked(losses)
            weights = self._weights(mine, mine, self.pace.seen, self.pace.counted)
            self.pace.add(len(weights), int((weights > 0).sum()))
        else:
            mine = self.memory.enter(images, ranked(losses))
            others = self.weights_now.index_fill(0, images.to(self.weights_now.device), math.nan)
            seen, counted = int((others >= 0).sum()), int((others > 0).sum())
            weights = self._weights(mine, self.memory.known(), seen, counted)
            self.weights_now = put(self.weights_now, images, weights)
        weights = weights.to(losses)
        # where, not a product: the loss of an image left out may be infinite
        return torch.where(weights > 0, weights * losses, 0.0) * (len(losses) / weights.sum())

    def _weights(self, losses: Tensor, known: Tensor, seen: int, counted: int) -> Tensor:
        """(B,) from the batch's losses (B,) and all known losses (n,), in any order.

        Of the other images, `seen` were seen in this epoch so far, and `counted` of these counted.
        """
        if self.epoch < self.start_epoch:
            return torch.ones_like(losses)
        level = self._level(losses, known, seen, counted)
        if self.regulariser == "logarithmic":
            weights = self_paced_weights(losses / level * _BEND, _BEND, "logarithmic")
        else:
            weights = self_paced_weights(losses, level, self.regulariser, _INNER * level)
        if not weights.any():
            weights[losses.argmin()] = 1.0
        return weights

    def _level(self, losses: Tensor, known: Tensor, seen: int, counted: int) -> float:
        """λ of a batch; arguments as of `_weights`."""
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
        target = self.pace.target(share, len(losses), below, seen, counted)
        return level if target == below else _beyond(losses, target)

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), "pace": self.pace.state()}

    def set_extra_state(self, state: Any) -> None:
        super().set_extra_state(state)
        self.pace.load(state["pace"])


def _beyond(losses: Tensor, count: int) -> float:
    """The least loss beyond the `count` smallest of (n,); slightly more than the largest if there is none."""
    (admitted,) = ranks(losses, count - 1)
    beyond = float(losses.where(losses > admitted, math.inf).min())
    level = beyond if beyond < math.inf else float(admitted) * (1 + 2**-10)
    limits = torch.finfo(losses.dtype)
    return min(max(level, limits.tiny), limits.max)


class SharePace:
    """Corrects a quantile of losses of different age, so that the intended share of an epoch's images counts.

    A network changes while it trains. The last known losses of a training set are therefore larger, or
    smaller, than those of the current batch, and another share of the batch is below their quantile. Two
    corrections: the quantile is moved, step by step, until it yields the intended share; and the number of
    images that count in an epoch is never off by more than a hundredth of those seen in it. Within that,
    fewer images of a hard batch count, and more of an easy one.
    """

    def __init__(self) -> None:
        self.offset = 0.0  # added to the share of the quantile
        self.seen, self.counted = 0, 0  # in the epoch so far, for a loss that does not know which images

    def begin_epoch(self) -> None:
        self.seen, self.counted = 0, 0

    def moved(self, share: float) -> float:
        """The share in [0, 1] whose quantile of the known losses is the threshold of a batch."""
        return min(1.0, max(0.0, share + self.offset))

    def target(self, share: float, images: int, below: int, seen: int, counted: int) -> int:
        """How many images of a batch should count.

        Args:
            share: intended, of all.
            images: of the batch.
            below: how many of them are below the quantile of the moved share.
            seen, counted: other images of the epoch so far, and those of them that counted.
        """
        limits = -share, 1 - share
        self.offset = min(limits[1], max(limits[0], self.offset + _GAIN * (share - below / images)))
        due = share * (seen + images) - counted
        slack = _SLACK * (seen + images)
        least, most = min(math.ceil(due - slack), round(due)), max(math.floor(due + slack), round(due))
        return min(images, max(1, min(most, max(least, below))))

    def add(self, images: int, counted: int) -> None:
        """Records a batch in `seen` and `counted`."""
        self.seen += images
        self.counted += counted

    def state(self) -> dict[str, float]:
        return {"offset": self.offset, "met": self.seen, "counted": self.counted}

    def load(self, state: Mapping[str, Any]) -> None:
        self.offset = float(state["offset"])
        self.seen, self.counted = int(state["met"]), int(state["counted"])
