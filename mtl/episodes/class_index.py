"""Which images each class has, as one padded table; draws from it, support and query of different groups."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.data.image_groups import most_queries


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
    """Values (V,) put into the rows (V,), ascending, that they belong to; and how many each row has."""
    counts = torch.bincount(rows, minlength=height)
    rank = torch.arange(len(rows)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    table = torch.full((height, int(counts.max())), empty, dtype=torch.int64)
    table[rows, rank] = values
    return table, counts


def draw_distinct(below: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(R, count) int64: in each row different integers in 0..below-1, every order equally likely.

    Floyd's algorithm (Bentley and Floyd, "A sample of brilliance", CACM 1987) for the sets, all rows in step,
    and a shuffle for the order: the time does not depend on `below`, where a permutation of all would.

    Args:
        below: (R,) int64, each at least `count`.
        count: of integers in a row.
        generator: on the CPU.

    Raises:
        ValueError: a row has fewer integers to choose from.
    """
    rows, least = len(below), below.numpy() - count
    if rows and least.min() < 0:
        raise ValueError(f"{count} different integers needed, out of {int(below.min())}")
    random = torch.rand(2, count, rows, dtype=torch.float64, generator=generator).numpy()
    latest = least + np.arange(count)[:, None]
    chosen: NDArray[np.int64] = (random[0] * (latest + 1)).astype(np.int64)  # (count, R), each in 0..latest
    for j in range(1, count):
        repeated = (chosen[:j] == chosen[j]).any(0)
        np.copyto(chosen[j], latest[j], where=repeated)
    return torch.from_numpy(np.take_along_axis(chosen, random[1].argsort(0), 0).T.copy())


def draw_apart(sizes: Tensor, shot: int, queries: int, generator: torch.Generator) -> Tensor:
    """(R, K+Q) int64: distinct places of images, the first K of a row in other groups than the rest.

    The groups of a row are dealt into two sides: in random order, those before a cut are for the support set.
    Every cut is equally likely that leaves images enough on either side. Support images are drawn uniformly
    from their side; queries uniformly from all groups that none of these is in. Where every group is a single
    image, all draws are equally likely, as without groups.

    Args:
        sizes: (R, G) int64, images of each group; zeros fill up rows with fewer groups.
        shot, queries: K and Q, at least 1 each.
        generator: on the CPU.

    Returns:
        Places 0..n-1 among the n images of a row, counted group by group.

    Raises:
        ValueError: the groups of a row cannot be divided so.
    """
    order = torch.rand(sizes.shape, dtype=torch.float64, generator=generator)
    order = order.masked_fill(sizes == 0, math.inf).argsort(1)  # random; what fills up comes last
    which = torch.rand(len(sizes), dtype=torch.float64, generator=generator)
    dealt = sizes.gather(1, order)
    upto = dealt.cumsum(1)
    lowest = (upto < shot).sum(1)
    highest = (upto[:, -1:] - upto >= queries).sum(1) - 1
    for row in (highest < lowest).nonzero().flatten().tolist():  # no cut of this order will do
        support = _divided(dealt[row].tolist(), shot, queries, generator)
        sides = order[row]
        order[row] = torch.cat([sides[support], sides[~support]])
        lowest[row] = highest[row] = int(support.sum()) - 1
    dealt = sizes.gather(1, order)
    cut = lowest + (which * (highest - lowest + 1)).long()
    side = dealt.cumsum(1).gather(1, cut[:, None]).flatten()
    start = sizes.cumsum(1) - sizes
    support, support_groups = _located(draw_distinct(side, shot, generator), dealt, order, start)
    rest = dealt.scatter(1, support_groups, 0)
    query, _ = _located(draw_distinct(rest.sum(1), queries, generator), rest, order, start)
    return torch.cat([support, query], 1)


def _located(drawn: Tensor, dealt: Tensor, order: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Images (R, k), counted through the groups as dealt: their places, and which group dealt each is in."""
    upto = dealt.cumsum(1)
    at = torch.searchsorted(upto, drawn, right=True)
    return start.gather(1, order.gather(1, at)) + drawn - (upto - dealt).gather(1, at), at


def _divided(sizes: list[int], shot: int, queries: int, generator: torch.Generator) -> Tensor:
    """(G,) bool: the groups for the support set, group by group at random as far as both sides still fit."""
    following = [1]  # bit s: some of the groups from here on have s images together
    for size in reversed(sizes):
        following.append(following[-1] | following[-1] << size)
    following.reverse()
    spare = sum(sizes) - queries

    def possible(held: int, after: int) -> bool:
        """True if the groups from `after` on can make both sides fit, with `held` images in support."""
        if held > spare:
            return False
        needed = max(0, shot - held)
        return bool(following[after] >> needed & ((1 << max(0, spare - held - needed + 1)) - 1))

    if not possible(0, 0):
        groups = sum(size > 0 for size in sizes)
        raise ValueError(
            f"{sum(sizes)} images in {groups} groups cannot be divided into {shot} for the support set and "
            f"{queries} queries, each group on one side"
        )
    coins = (torch.rand(len(sizes), generator=generator) < 0.5).tolist()
    support, held = [], 0
    for i, (size, coin) in enumerate(zip(sizes, coins, strict=True), 1):
        take = possible(held + size, i) and (coin or not possible(held, i))
        support.append(take)
        held += size * take
    return torch.tensor(support)
