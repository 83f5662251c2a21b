"""When the images of a self-paced pretraining began to count, in numbers: what its pictures are made of."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.data.class_imbalance import size_groups
from mtl.runtime.seeds import generator
from mtl.training.curriculum import Curriculum


@dataclass(frozen=True)
class Pace:
    """How many images counted in each of E epochs, among those that the epoch met."""

    met: Tensor  # (E,) int64
    counted: Tensor  # (E,) int64: v > 0
    weight: Tensor  # (E,) float64: mean v of the images met; nan where there is none

    @property
    def share(self) -> Tensor:
        """(E,) float64 in [0, 1]: of the images met those that counted; nan where there is none."""
        return self.counted.double() / self.met


@dataclass(frozen=True)
class Strip:
    """Images that began to count at about the same time, some of them drawn to be shown."""

    name: str
    shown: Tensor  # (n,) places in the record
    epochs: tuple[int, int] | None  # in which those shown began to count, from 0; None: they never did
    members: Tensor  # (m,) places of all images that began to count then


def pace(weights: Tensor, among: Tensor | None = None) -> Pace:
    """Counts of weights (E, P), as a record has them, of all images or those `among` (P,) bool."""
    if among is not None:
        weights = weights[:, among]
    met = (weights >= 0).sum(1)
    total = weights.clamp_min(0).sum(1, dtype=torch.int64)
    return Pace(met, (weights > 0).sum(1), total.double() / (100 * met))


def entry(weights: Tensor) -> Tensor:
    """(P,) int64: the first epoch in which each image counted; E where none did."""
    counted = weights > 0
    return torch.where(counted.any(0), counted.int().argmax(0), len(weights))


def never(weights: Tensor) -> Tensor:
    """(P,) bool: images that were met and counted in no epoch."""
    return (weights >= 0).any(0) & ~(weights > 0).any(0)


def groups(record: Curriculum) -> dict[str, Tensor]:
    """Images (P,) bool of right and wrong labels, if any is wrong, and of large, medium and small classes.

    The classes are in thirds by their numbers of images; without these where the numbers are about equal.
    """
    wrong = record.mislabelled
    labels = {"right labels": ~wrong, "wrong labels": wrong} if wrong.any() else {}
    counts = torch.bincount(record.labels, minlength=len(record.class_names))
    sizes = {name: torch.isin(record.labels, classes) for name, classes in size_groups(counts).items()}
    return labels | sizes


def in_order(weights: Tensor) -> Tensor:
    """(P,) places of the images: the first to count come first; of a tie, those of the largest mean v."""
    total, met = weights.clamp_min(0).sum(0, dtype=torch.int64), (weights >= 0).sum(0)
    heaviest = (total.double() / met.clamp_min(1)).argsort(descending=True, stable=True)
    return heaviest[entry(weights)[heaviest].argsort(stable=True)]


def heat(weights: Tensor, order: Tensor, rows: int) -> Tensor:
    """(R, E) float64: mean v of images in bins of equal size, in this order; nan where none was met.

    Args:
        weights: (E, P) of a record.
        order: (P,) places.
        rows: R; at most one an image.
    """
    bins = order.tensor_split(min(rows, len(order)))
    return torch.stack([pace(weights[:, places]).weight for places in bins])


def strips(weights: Tensor, size: int, seed: int) -> list[Strip]:
    """Images that counted first, midway, last and never: up to `size` of each, drawn from `seed` alone.

    First are those of the earliest epoch. Midway and last are chosen among the images that were met and did
    not count before they did: one that no batch held until then was not kept waiting. Strips without any
    image are left out, and images that were never met are in none.
    """
    epochs, images = weights.shape
    enters = entry(weights)
    random = torch.randperm(images, generator=generator(seed, "curriculum", "strips"))
    refused = ((weights == 0) & (torch.arange(epochs)[:, None] < enters)).any(0)
    first = (enters < epochs) & (enters == enters.min())
    late = random[(refused & (enters < epochs) & ~first)[random]]
    late = late[enters[late].argsort(stable=True)]
    rest = late[: max(len(late) - size, 0)]
    middle = max(len(rest) - size, 0) // 2
    chosen = {
        "First": random[first[random]][:size],
        "Midway": rest[middle : middle + size],
        "Last": late[len(rest) :],
        "Never": random[never(weights)[random]][:size],
    }
    found = []
    for name, shown in chosen.items():
        if len(shown):
            low, high = int(enters[shown].min()), int(enters[shown].max())
            members = (enters >= low) & (enters <= high) & (first | refused)
            when = (low, high) if high < epochs else None
            found.append(Strip(name, shown, when, members.nonzero().flatten()))
    return found


def grid(record: Curriculum, classes: int, size: int, seed: int) -> dict[int, Tensor]:
    """Places of some images of some classes, in the order of `in_order`, drawn from `seed` alone."""
    random = generator(seed, "curriculum", "grid")
    present = torch.unique(record.labels)
    chosen = present[torch.randperm(len(present), generator=random)[:classes]].sort().values
    rank = torch.empty_like(record.labels)
    rank[in_order(record.weights)] = torch.arange(len(rank))
    drawn = {}
    for label in chosen.tolist():
        places = (record.labels == label).nonzero().flatten()
        places = places[torch.randperm(len(places), generator=random)[:size]]
        drawn[label] = places[rank[places].argsort()]
    return drawn
