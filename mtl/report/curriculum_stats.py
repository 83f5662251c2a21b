"""When the images of a self-paced pretraining began to count, in numbers: what its pictures are made of."""

from collections.abc import Mapping
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
    """Counts of weights (E, P), as a record has them; `among` (P,) bool says of which images."""
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


def by_label(curriculum: Curriculum) -> dict[str, Tensor]:
    """Images (P,) bool of right and of wrong label; nothing where all labels are right."""
    wrong = curriculum.mislabelled
    return {"right labels": ~wrong, "wrong labels": wrong} if wrong.any() else {}


def by_class_size(curriculum: Curriculum) -> dict[str, Tensor]:
    """Images (P,) bool of the many-, medium- and few-image thirds of the classes; {} where about alike."""
    counts = torch.bincount(curriculum.labels, minlength=len(curriculum.class_names))
    return {name: torch.isin(curriculum.labels, own) for name, own in size_groups(counts).items()}


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

    Raises:
        ValueError: no row.
    """
    if rows < 1:
        raise ValueError(f"rows: {rows}; it must be at least 1")
    bins = order.tensor_split(min(rows, len(order)))
    return torch.stack([pace(weights[:, own]).weight for own in bins])


def strips(weights: Tensor, size: int, seed: int) -> list[Strip]:
    """Images that counted first, midway, last and never: up to `size` of each, drawn from `seed` alone.

    First are those of the earliest epoch. Midway and last are chosen among the images that were met and did
    not count before they did: one that no batch held until then was not kept waiting. Strips without any
    image are left out, and images that were never met are in none.

    Raises:
        ValueError: strips of no image.
    """
    if size < 1:
        raise ValueError(f"size: {size}; it must be at least 1")
    epochs, images = weights.shape
    enters = entry(weights)
    random = torch.randperm(images, generator=generator(seed, "curriculum", "strips"))
    earlier = torch.arange(epochs)[:, None] < enters
    refused = ((weights == 0) & earlier).any(0)

    def drawn(among: Tensor) -> Tensor:
        return random[among[random]]

    entered = enters < epochs
    first = entered & (enters == enters.min())
    late = drawn(refused & entered & ~first)
    late = late[enters[late].argsort(stable=True)]
    rest = late[: max(len(late) - size, 0)]
    middle = max(len(rest) - size, 0) // 2
    chosen = {
        "First": drawn(first)[:size],
        "Midway": rest[middle : middle + size],
        "Last": late[len(rest) :],
        "Never": drawn(never(weights))[:size],
    }
    found = []
    for name, shown in chosen.items():
        if len(shown):
            low, high = int(enters[shown].min()), int(enters[shown].max())
            members = (enters >= low) & (enters <= high) & (first | refused)
            when = (low, high) if high < epochs else None
            found.append(Strip(name, shown, when, members.nonzero().flatten()))
    return found


def grid(curriculum: Curriculum, classes: int, size: int, seed: int) -> Mapping[int, Tensor]:
    """Some classes with places of some images of each, drawn from `seed` alone.

    Images of a class stand in the order of `in_order`.

    Raises:
        ValueError: no class, or none of its images.
    """
    if min(classes, size) < 1:
        raise ValueError(f"a grid of {classes} classes and {size} images of each shows nothing")
    there = torch.unique(curriculum.labels)
    random = generator(seed, "curriculum", "grid")
    chosen = there[torch.randperm(len(there), generator=random)[:classes]].sort().values
    rank = torch.empty_like(curriculum.labels)
    rank[in_order(curriculum.weights)] = torch.arange(len(rank))
    drawn = {}
    for label in chosen.tolist():
        own = (curriculum.labels == label).nonzero().flatten()
        own = own[torch.randperm(len(own), generator=random)[:size]]
        drawn[label] = own[rank[own].argsort()]
    return drawn
