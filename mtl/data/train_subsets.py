"""What becomes of the base images: held out, left out, mislabelled, or seen by pretraining."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.config import Data
from mtl.data.class_imbalance import long_tailed
from mtl.data.image_set import ImageSet, hold_out
from mtl.runtime.seeds import generator


@dataclass(frozen=True)
class Shares:
    """M images of the train split, by what the config's section `data` does with them."""

    seen: Tensor  # (P,) sorted indices: by pretraining
    held_out: Tensor  # (H,) sorted indices: by `probe_fraction`; may be empty
    labels: Tensor  # (M,) int64, some of them wrong with `label_noise`
    mislabelled: Tensor  # (M,) bool


def share_out(train: ImageSet, data: Data) -> Shares:
    """A pure function of the images' labels and names, and of `data`.

    A share of each class is held out first, clean and balanced as it comes. Of the rest classes are made
    unequal (`imbalance`), and of what is left labels are made wrong (`label_noise`).
    """
    seed = data.split_seed
    seen = torch.arange(len(train))
    held_out = seen[:0]
    if data.probe_fraction:
        seen, held_out = hold_out(train, data.probe_fraction, seed)
    seen = long_tailed(train.labels, seen, train.class_names, data.imbalance, seed, train.group_ids())
    labels, mislabelled = with_label_noise(train.labels, seen, train.domain_ids(), data.label_noise, seed)
    return Shares(seen, held_out, labels, mislabelled)


def with_label_noise(
    labels: Tensor, rows: Tensor, domains: Tensor, share: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Labels with a share of them wrong: symmetric noise, every other class equally likely.

    Args:
        labels: (M,) of every image.
        rows: the images whose labels may be wrong; `round(share · rows)` of them are.
        domains: (C,) int64, the image set of each class; a wrong label stays within the own set.
        share: in [0, 1).
        seed: `data.split_seed`.

    Returns:
        New labels (M,), and which images are mislabelled (M,) bool. A class alone in its set stays right.

    Raises:
        ValueError: a share outside [0, 1).
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
        own = torch.searchsorted(classes, labels[chosen[inside]])
        further = 1 + (drawn[inside] * (len(classes) - 1)).long()
        noisy[chosen[inside]] = classes[(own + further) % len(classes)]
    return noisy, noisy != labels
