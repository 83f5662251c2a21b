"""Which images each class has, as one padded table, and drawing from it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.episodes.distinct import draw_distinct


@dataclass(frozen=True)
class ClassIndex:
    """The images of C classes; `members[c, :counts[c]]` are those of class c, in data-set order."""

    members: Tensor  # (C, most images of a class) int64, padded with -1
    counts: Tensor  # (C,) int64

    @staticmethod
    def of(labels: Tensor, among: Tensor | None = None) -> "ClassIndex":
        """From the labels (M,) of an image set; `among` keeps these image indices alone."""
        rows = torch.arange(len(labels)) if among is None else among.sort().values
        order = rows[labels[rows].argsort(stable=True)]
        counts = torch.bincount(labels[rows], minlength=int(labels.max()) + 1)
        rank = torch.arange(len(order)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        members = torch.full((len(counts), int(counts.max())), -1, dtype=torch.int64)
        members[labels[order], rank] = order
        return ClassIndex(members, counts)

    def __len__(self) -> int:
        return len(self.counts)

    def draw_classes(self, way: int, generator: torch.Generator, tasks: int = 1) -> Tensor:
        """(tasks · N,) classes, distinct within each run of N, every set equally likely."""
        return draw_distinct(torch.full((tasks,), len(self)), way, generator).flatten()

    def draw_images(self, classes: Tensor, per_class: int, generator: torch.Generator) -> Tensor:
        """(R, per_class) distinct images of each class (R,), every set equally likely, in random order.

        Raises:
            ValueError: a class has fewer.
        """
        counts = self.counts[classes]
        if int(counts.min()) < per_class:
            raise ValueError(f"a class has {int(counts.min())} images, fewer than {per_class}")
        return self.members[classes[:, None], draw_distinct(counts, per_class, generator)]
