"""The sections `balance`, `examples` and `sets` of `pretrain`: which images count, and how much."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mtl.config.values import STRICT, NonNegative, Positive, Rate, Share


@dataclass(frozen=True, config=STRICT)
class Balance:
    """Classes of unequal size: what brings the small ones forward. One way at a time."""

    by: Literal["none", "sampling", "weights", "logits"] = "none"  # how often images are drawn, what their
    #   loss counts, or an offset of the logits by the classes' shares
    weighting: Literal["inverse", "effective"] = "effective"  # sampling, weights: 1 / n, or by the effective
    #   number of images
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.9999  # of the effective number
    strength: Rate = 1.0  # logits: factor of the offset
    start: Share = 0.0  # share of the epochs before it begins


@dataclass(frozen=True, config=STRICT)
class Examples:
    """Images of unequal use: which of a batch count, and how much. One way at a time."""

    by: Literal["all", "focal", "influence", "hardest", "self_paced"] = "all"
    start: Share = 0.0  # influence, self_paced: share of the epochs before it begins
    gamma: NonNegative = 2.0  # focal: how fast the weight falls with the probability of the own class
    alpha: Rate = 1000.0  # influence: factor of the weights
    epsilon: Rate = 1e-3  # influence: keeps them finite
    detach: bool = True  # influence: gradients take the weight for a constant
    part: Annotated[float, Field(gt=0, le=1)] = 0.7  # hardest: share of the images that count; self_paced:
    #   share that counts in its first epoch
    scope: Literal["batch", "class", "memory"] = "batch"  # hardest: among the images of the batch, of each
    #   class in it, or all by their last loss
    cap: Annotated[float, Field(ge=0, lt=1)] = 0.0  # hardest: share at the very top that is left out
    regulariser: Literal["hard", "linear", "logarithmic", "mixture"] = "hard"  # self_paced
    threshold: Literal["quantile", "absolute"] = "quantile"  # self_paced: what `part` and `growth` speak of
    level: Rate = 1.0  # self_paced with absolute: the threshold of the first epoch, as a loss
    growth: NonNegative = 0.02  # self_paced: added to the share at each epoch; with absolute the threshold
    #   is multiplied by 1 + growth


@dataclass(frozen=True, config=STRICT)
class Sets:
    """Several image sets in one pretraining (data.name several): how batches are made of them."""

    schedule: Literal["round_robin", "proportional", "temperature"] = "round_robin"
    temperature: Rate = 2.0  # temperature: sets in proportion to size^(1/T)
    samples: tuple[Positive, ...] | None = None  # images of each set in every batch, in the order of
    #   data.sets; null: a batch is of one set
    heads: Literal["per_set", "shared"] = "per_set"  # an image competes with the classes of its set, or all
