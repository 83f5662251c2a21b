"""Wrong labels put in on purpose, to measure what withstands them."""

import torch
from torch import Tensor

from mtl.runtime.seeds import generator


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
