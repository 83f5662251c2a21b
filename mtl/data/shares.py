"""What becomes of the base images: held out, left out, mislabelled, or seen by pretraining."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.config import Data
from mtl.data.image_set import ImageSet, hold_out
from mtl.data.label_noise import with_label_noise
from mtl.data.long_tail import long_tailed


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
