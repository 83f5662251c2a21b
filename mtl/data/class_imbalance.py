"""Changes to the base images: some held out, classes made unequal, labels made wrong. And weights of classes.

Imbalance and label noise are made on purpose, to measure what helps where real collections have them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.config import Data, Imbalance
from mtl.data.image_groups import whole_groups
from mtl.data.image_set import ImageSet, hold_out
from mtl.runtime.seeds import generator

_UNEQUAL = 2.0  # mean size of large classes over that of small ones


@dataclass(frozen=True)
class Shares:
    """M images of the train split, by what the config's section `data` does with them."""

    seen: Tensor  # (P,) sorted indices: by pretraining
    held_out: Tensor  # (H,) sorted indices: by `probe_fraction`; may be empty
    labels: Tensor  # (M,) int64, some of them wrong with `label_noise`
    mislabelled: Tensor  # (M,) bool


def share_out(train: ImageSet, data: Data) -> Shares:
    """A pure function of the images' labels and names, and of `data`.

    A share of each class is held out first, clean and balanced as it comes. Of the rest, classes are made
    unequal (`imbalance`), and of what is left, labels are made wrong (`label_noise`).
    """
    seed = data.split_seed
    seen = torch.arange(len(train))
    held_out = seen[:0]
    if data.probe_fraction:
        seen, held_out = hold_out(train, data.probe_fraction, seed)
    seen = long_tailed(train.labels, seen, train.class_names, data.imbalance, seed, train.group_ids())
    labels, mislabelled = with_label_noise(train.labels, seen, train.domain_ids(), data.label_noise, seed)
    return Shares(seen, held_out, labels, mislabelled)


def long_tailed(
    labels: Tensor,
    rows: Tensor,
    class_names: Sequence[str],
    cfg: Imbalance,
    seed: int,
    groups: Tensor | None = None,
) -> Tensor:
    """Those of the images `rows` that are left, sorted.

    Which classes are small and which of their images stay follows from the seed and the names. A class keeps
    at least one image.

    Args:
        labels: (M,) of every image of the set.
        rows: (P,) the images to choose among.
        class_names: (C,).
        cfg: `data.imbalance`.
        seed: `data.split_seed`.
        groups: (M,) int64 of every image, if they are in groups: these stay or go as a whole.
    """
    if cfg.type == "none":
        return rows
    rank = torch.randperm(len(class_names), generator=generator(seed, "long tail"))
    left = shares(len(class_names), cfg)[rank]
    chosen = []
    for label, name in enumerate(class_names):
        of_class = rows[labels[rows] == label]
        count = max(round(float(left[label]) * len(of_class)), 1)
        order = torch.randperm(len(of_class), generator=generator(seed, "long tail", name))
        if groups is not None and count < len(of_class):
            stays = whole_groups(groups[of_class], order, count)
            order = stays.nonzero().flatten() if stays.any() else order  # a single group is all there is
        else:
            order = order[:count]
        chosen.append(of_class[order])
    return torch.cat(chosen).sort().values


def shares(classes: int, cfg: Imbalance) -> Tensor:
    """(C,) float64: what is left of each class, the largest first.

    `exponential`: factor^(-i/(C-1)) of class i, so that the first keeps all and the last 1/factor of its
    images (Cui et al., CVPR 2019). `step`: the second half of the classes keeps 1/factor (Buda et al., 2018).
    """
    place = torch.arange(classes, dtype=torch.float64)
    if cfg.type == "exponential":
        return cfg.factor ** (-place / max(classes - 1, 1))
    small = place >= classes / 2
    return torch.where(small & (cfg.type == "step"), 1 / cfg.factor, 1.0)


def with_label_noise(
    labels: Tensor, rows: Tensor, domains: Tensor, share: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Labels with a share of them wrong: symmetric noise, every other class equally likely.

    Args:
        labels: (M,) of every image.
        rows: the images whose labels may be wrong; `round(share · rows)` of them are.
        domains: (C,) int64, the image set of each class; a wrong label stays within the image's set.
        share: in [0, 1), or ValueError.
        seed: `data.split_seed`.

    Returns:
        New labels (M,), and which images are mislabelled (M,) bool. The only class of a set stays right.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share = {share} must be at least 0 and below 1")
    random = generator(seed, "label noise")
    count = round(share * len(rows))
    chosen = rows[torch.randperm(len(rows), generator=random)[:count]]
    noisy = labels.clone()
    drawn = torch.rand(count, generator=random, dtype=torch.float64)
    for domain in set(domains.tolist()):
        classes = (domains == domain).nonzero().flatten()  # sorted
        inside = domains[labels[chosen]] == domain
        if len(classes) < 2:
            continue
        place = torch.searchsorted(classes, labels[chosen[inside]])
        further = 1 + (drawn[inside] * (len(classes) - 1)).long()
        noisy[chosen[inside]] = classes[(place + further) % len(classes)]
    return noisy, noisy != labels


def thirds(counts: Tensor) -> dict[str, Tensor]:
    """Classes by how many images they have: `many`, `medium` and `few`, a third of the classes each.

    Classes without any image are in none; of equal counts the lower id comes first.
    """
    present = counts.nonzero().flatten()
    order = present[counts[present].argsort(descending=True, stable=True)]
    many, medium, few = order.tensor_split(3)
    return {"many": many.sort().values, "medium": medium.sort().values, "few": few.sort().values}


def size_groups(counts: Tensor) -> dict[str, Tensor]:
    """The thirds; {} if large classes have less than twice the images of small ones."""
    groups = thirds(counts)
    if not all(len(classes) for classes in groups.values()):
        return {}
    large, small = (float(counts[groups[name]].double().mean()) for name in ("many", "few"))
    return groups if large >= _UNEQUAL * small else {}


def inverse_frequency(counts: Tensor) -> Tensor:
    """(C,) float64: 1/n of the counts n (C,); 0 for a class without images."""
    return _where_any(_checked(counts).double().reciprocal(), counts)


def effective_number(counts: Tensor, beta: float) -> Tensor:
    """(C,) float64: (1 − β)/(1 − βⁿ) of the counts n (C,); 0 for a class without images.

    One over the effective number of images of Cui et al., "Class-Balanced Loss Based on Effective Number of
    Samples", CVPR 2019, equation 3. β = 0 makes it 1 for every class, and β → 1 the inverse frequency.
    ValueError for β outside [0, 1), and for counts that are not whole numbers of at least 0.
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta = {beta} must be at least 0 and below 1")
    log = math.log(beta) if beta > 0 else -math.inf
    return _where_any((1 - beta) / -torch.expm1(_checked(counts).double() * log), counts)


def _where_any(weights: Tensor, counts: Tensor) -> Tensor:
    return torch.where(counts > 0, weights, 0.0)


def _checked(counts: Tensor) -> Tensor:
    if counts.ndim != 1 or counts.dtype.is_floating_point or counts.dtype.is_complex:
        raise ValueError(f"counts must be (C,) whole numbers, not {tuple(counts.shape)} {counts.dtype}")
    if (counts < 0).any():
        raise ValueError(f"counts must not be negative, but one is {int(counts.min())}")
    return counts
