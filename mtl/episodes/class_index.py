"""Which images each class has, as one padded table, and drawing from it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.data.image_groups import most_queries
from mtl.episodes.apart import draw_apart, draw_distinct


@dataclass(frozen=True)
class ClassIndex:
    """The images of C classes; `members[c, :counts[c]]` are those of class c.

    They come in data-set order; where images are in groups, group by group.
    """

    members: Tensor  # (C, most images of a class) int64, padded with -1
    counts: Tensor  # (C,) int64
    group_sizes: Tensor | None = None  # (C, most groups of a class) int64, padded with 0; None: no groups

    @staticmethod
    def of(labels: Tensor, among: Tensor | None = None, groups: Tensor | None = None) -> "ClassIndex":
        """From the labels (M,) of an image set; `among` keeps these image indices alone.

        `groups` (M,) int64, where given, are those of the images: episodes then draw the support images and
        the queries of a class from different ones.
        """
        rows = torch.arange(len(labels)) if among is None else among.sort().values
        if groups is not None:
            rows = rows[groups[rows].argsort(stable=True)]
        order = rows[labels[rows].argsort(stable=True)]
        classes = int(labels.max()) + 1
        members, counts = _table(labels[order], order, classes, -1)
        if groups is None:
            return ClassIndex(members, counts)
        of_group = torch.stack([labels[order], groups[order]])
        firsts, sizes = torch.unique_consecutive(of_group, return_counts=True, dim=1)
        return ClassIndex(members, counts, _table(firsts[0], sizes, classes, 0)[0])

    def __len__(self) -> int:
        return len(self.counts)

    def select(self, classes: Tensor) -> "ClassIndex":
        """Of these classes (C',) alone, which count from 0 in it."""
        sizes = None if self.group_sizes is None else self.group_sizes[classes]
        return ClassIndex(self.members[classes], self.counts[classes], sizes)

    def most_queries(self, shot: int) -> Tensor:
        """(C,) int64: the most queries a K-shot episode can have of each class; 0 or less: none."""
        if self.group_sizes is None:
            return self.counts - shot
        return torch.tensor([most_queries(sizes, shot) for sizes in self.group_sizes.tolist()])

    def draw_classes(self, way: int, generator: torch.Generator, tasks: int = 1) -> Tensor:
        """(tasks · N,) classes, distinct within each run of N, every set equally likely."""
        return draw_distinct(torch.full((tasks,), len(self)), way, generator).flatten()

    def draw_images(self, classes: Tensor, per_class: int, generator: torch.Generator) -> Tensor:
        """(R, per_class) distinct images of each class (R,), every set equally likely, in random order.

        Groups play no part.

        Raises:
            ValueError: a class has fewer.
        """
        counts = self.counts[classes]
        if int(counts.min()) < per_class:
            raise ValueError(f"a class has {int(counts.min())} images, fewer than {per_class}")
        return self.members[classes[:, None], draw_distinct(counts, per_class, generator)]

    def draw_episode(self, classes: Tensor, shot: int, queries: int, generator: torch.Generator) -> Tensor:
        """(R, K+Q) distinct images of each class (R,), K for the support set and then Q queries.

        As `draw_images`; where images are in groups, no group of a class has images in both (`draw_apart`).

        Raises:
            ValueError: a class has too few images, or groups that cannot be divided so.
        """
        if self.group_sizes is None:
            return self.draw_images(classes, shot + queries, generator)
        places = draw_apart(self.group_sizes[classes], shot, queries, generator)
        return self.members[classes[:, None], places]


def _table(rows: Tensor, values: Tensor, height: int, empty: int) -> tuple[Tensor, Tensor]:
    """Values (V,) laid into the rows (V,), ascending, that they belong to; and how many each row has."""
    counts = torch.bincount(rows, minlength=height)
    rank = torch.arange(len(rows)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    table = torch.full((height, int(counts.max())), empty, dtype=torch.int64)
    table[rows, rank] = values
    return table, counts
