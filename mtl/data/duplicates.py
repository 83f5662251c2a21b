"""The same picture twice in an image set, to the pixel or nearly so.

Two images are near duplicates if their grey details agree: the picture saved again, at another size or
quality, brighter, or cropped by a hundredth. An image is averaged to 16 × 16 cells. The difference of a cell
from the mean of the 3 × 3 around it is its detail d; the root of |d| with the sign of d keeps a frame or a
horizon from outweighing the rest. Near are images whose details correlate by at least `ALIKE`, unless one of
two things separates them: no cell may differ by more than `LOCAL`, with the grey of each image brought to
mean 0 and deviation 1 (a fixed camera shows two things before one background), and the colours of 4 × 4 cells
may not differ by more than `COLOUR` on average.

An image with detail in few cells, such as a handwritten letter, has nothing to be recognised by: of those
only exact copies are found. Mirror images are not searched for.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.config import Log
from mtl.data.image_set import ImageSet
from mtl.runtime.progress import Count

#: Chosen by looking at pairs of CIFAR-100, whose near duplicates Barz and Denzler collected ("Do we train
#: on test data?", 2020): between classes those from 0.94 on are one picture, those up to 0.90 share a
#: frame or a horizon, and there are none in between. Of Omniglot's 32,460 drawings none is near another.
ALIKE = 0.92  # correlation
DETAIL = 80  # cells of 256 that the detail is spread over, (Σ|d|)² / Σd²
LOCAL = 0.6  # standard deviations
COLOUR = 24  # levels of 255, mean of |Δ(red - green)| and |Δ(blue - green)|

#: Where two images of a pair are: in two splits, in two classes of a split, in one class.
Place = Literal["splits", "classes", "class"]
PLACES: tuple[Place, ...] = ("splits", "classes", "class")

_CELLS, _COLOUR_CELLS = 16, 4  # a side
_LISTED = 10  # pairs of a kind and place that are listed
_BLOCK = 1024  # images whose signatures are multiplied at once
_AT_ONCE = 65_536  # pairs whose cells are compared at once


@dataclass(frozen=True, eq=False)
class Signatures:
    """What M images are compared by."""

    detail: Tensor  # (M, 256) float32 of length 1; 0 if there is too little to recognise an image by
    grey: Tensor  # (M, 256) float32 of mean 0 and deviation 1
    colour: Tensor  # (M, 32) float32


@dataclass(frozen=True)
class Pair:
    """Two images, by their indices in the list of all."""

    one: int
    other: int
    exact: bool
    place: Place


@dataclass(frozen=True, eq=False)
class Copies:
    """The duplicates among M images."""

    first: Tensor  # (M,) int64: the first image with the same pixels; itself if there is none before
    crossing: Tensor  # (M,) bool: an image of another class shows the same
    signatures: Signatures
    counts: dict[Place, tuple[int, int]]  # pairs by where they are: (exact, near)
    pairs: tuple[Pair, ...]  # the first of each kind and place, those in two splits foremost


def find_copies(parts: Sequence[ImageSet], near: bool = True, log: Log | None = None) -> Copies:
    """The same pictures among the images of all splits, as one list; without `near`, only exact copies.

    n images with the same pixels make n - 1 pairs, each with the first. The time grows with the square of the
    number of images, by 4 ns for a pair, and by 3 µs for a near one; memory beyond the signatures, 2.2 kB an
    image, does not grow with it.
    """
    classes, splits = _places(parts)
    with Count("reading images for duplicates", (1 + near) * len(splits), log) as count:
        first = exact_copies([part.images for part in parts], count)
        by_part = [signatures(part.images if near else part.images[:0], count) for part in parts]
    joined = Signatures(*(torch.cat([getattr(s, f.name) for s in by_part]) for f in fields(Signatures)))
    pairs = _Pairs(classes, splits)
    copies = (first != torch.arange(len(first))).nonzero().flatten()
    pairs.add(first[copies], copies, True)
    mixed = torch.zeros(len(first), dtype=torch.bool)  # images with exact copies in other classes
    mixed[first[copies][classes[first[copies]] != classes[copies]]] = True
    crossing = mixed.clone()
    for earlier, later in near_pairs(joined, _firsts(first), log=log) if near else ():
        pairs.add(earlier, later, False)
        shared = (classes[earlier] != classes[later]) | mixed[earlier] | mixed[later]
        crossing[earlier[shared]] = True
        crossing[later[shared]] = True
    return Copies(first, crossing[first], joined, pairs.counts(), pairs.listed())


def surplus(copies: Copies) -> Tensor:
    """(M,) bool: images to leave out, so that no two of those that stay show the same.

    These are images that another class shows too: one of the two labels is wrong, and it is not known which.
    And of a class's images that show the same, all but the first.
    """
    out = copies.crossing | (copies.first != torch.arange(len(copies.first)))
    for earlier, later in near_pairs(copies.signatures, _firsts(copies.first)):
        rows, counts = torch.unique_consecutive(later, return_counts=True)
        for row, others in zip(rows.tolist(), torch.split(earlier, counts.tolist()), strict=True):
            out[row] |= bool((~out[others]).any())
    return out


def exact_copies(images: Sequence[Tensor], count: Count | None = None) -> Tensor:
    """(M,) int64: for each image the first one with the same pixels; itself if there is none before."""
    count = count or Count("duplicates", 0, Log(quiet=True))
    seen: dict[bytes, int] = {}
    first: list[int] = []
    for batch in (batch for part in images for batch in torch.split(part, _BLOCK)):
        for image in batch.contiguous().numpy():
            digest = hashlib.blake2b(image.data, digest_size=16).digest()
            first.append(seen.setdefault(digest, len(first)))
        count.add(len(batch))
    return torch.tensor(first, dtype=torch.int64)


def signatures(images: Tensor, count: Count | None = None) -> Signatures:
    """Of images (M, 1 or 3, size, size) uint8."""
    count = count or Count("duplicates", 0, Log(quiet=True))
    details, greys, colours = [], [], []
    for batch in torch.split(images, _BLOCK):
        cells = F.interpolate(batch.float(), (_CELLS, _CELLS), mode="bilinear", antialias=True)
        grey = luma(cells)
        around = F.avg_pool2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), 3, 1)
        d = (grey - around).flatten(1)
        spread = d.abs().sum(1) ** 2 / d.square().sum(1).clamp_min(1e-12)
        root = d.sign() * d.abs().sqrt()
        root -= root.mean(1, keepdim=True)
        details.append(F.normalize(root) * (spread >= DETAIL)[:, None])
        level = grey.flatten(1) - grey.mean((1, 2, 3))[:, None]
        greys.append(level / level.square().mean(1, keepdim=True).sqrt().clamp_min(1))
        few = F.adaptive_avg_pool2d(cells, _COLOUR_CELLS)
        red, green, blue = few.expand(-1, 3, -1, -1).unbind(1)
        colours.append(torch.stack([red - green, blue - green], 1).flatten(1))
        count.add(len(batch))
    return Signatures(torch.cat(details), torch.cat(greys), torch.cat(colours))


def near_pairs(
    images: Signatures, among: Tensor, block: int = _BLOCK, log: Log | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """All pairs of near images, some at a time: (earlier, later) images, each (P,) int64.

    Every pair with an image comes before any pair in which that image is the earlier one.

    Args:
        images: M of them.
        among: (N,) int64 ascending: which of them are compared.
        block: images that are compared at once; changes nothing but time and memory.
        log: how progress is shown.
    """
    among = among[images.detail[among].any(1)]
    detail = images.detail[among]
    with Count("looking for duplicates", len(among) ** 2, log) as count:
        for start in range(0, len(among), block):
            for before in range(0, start + 1, block):
                similar = detail[start : start + block] @ detail[before : before + block].T >= ALIKE
                if before == start:
                    similar = similar.tril(-1)
                if not similar.any():
                    continue
                later, earlier = similar.nonzero(as_tuple=True)
                later, earlier = among[later + start], among[earlier + before]
                near = _locally_similar(images, earlier, later)
                yield earlier[near], later[near]
            end = min(start + block, len(among))
            count.add(end**2 - start**2)


def _locally_similar(images: Signatures, one: Tensor, other: Tensor) -> Tensor:
    """(P,) bool: pairs whose greys and colours differ by no more than `LOCAL` and `COLOUR`."""
    similar = [torch.empty(0, dtype=torch.bool)]
    for a, b in zip(torch.split(one, _AT_ONCE), torch.split(other, _AT_ONCE), strict=True):
        local = (images.grey[a] - images.grey[b]).abs().amax(1) <= LOCAL
        similar.append(local & ((images.colour[a] - images.colour[b]).abs().mean(1) <= COLOUR))
    return torch.cat(similar)


class _Pairs:
    """Pairs as they are found: counted, and the first of them listed."""

    def __init__(self, classes: Tensor, splits: Tensor) -> None:
        self._classes, self._splits = classes, splits
        self._counts = {(place, exact): 0 for place in PLACES for exact in (True, False)}
        self._listed: list[Pair] = []

    def add(self, one: Tensor, other: Tensor, exact: bool) -> None:
        apart = self._splits[one] != self._splits[other]
        differ = self._classes[one] != self._classes[other]
        for place, where in zip(PLACES, (apart, differ & ~apart, ~differ), strict=True):
            rows = where.nonzero().flatten()
            before = self._counts[place, exact]
            self._counts[place, exact] += len(rows)
            for row in rows[: max(0, _LISTED - before)].tolist():
                self._listed.append(Pair(int(one[row]), int(other[row]), exact, place))

    def counts(self) -> dict[Place, tuple[int, int]]:
        return {place: (self._counts[place, True], self._counts[place, False]) for place in PLACES}

    def listed(self) -> tuple[Pair, ...]:
        return tuple(sorted(self._listed, key=lambda p: (PLACES.index(p.place), not p.exact, p.one, p.other)))


def _places(parts: Sequence[ImageSet]) -> tuple[Tensor, Tensor]:
    """(M,) class and (M,) split of each image; classes are numbered through all splits."""
    classes, splits, before = [], [], 0
    for split, part in enumerate(parts):
        classes.append(part.labels + before)
        splits.append(torch.full_like(part.labels, split))
        before += part.num_classes
    return torch.cat(classes), torch.cat(splits)


def _firsts(first: Tensor) -> Tensor:
    """(N,) int64: the images without a copy before them."""
    return (first == torch.arange(len(first))).nonzero().flatten()


def luma(images: Tensor) -> Tensor:
    """(B, 1, H, W) float32 from (B, 1 or 3, H, W): luma of ITU-R BT.601, as Pillow's grey."""
    if images.shape[1] == 1:
        return images.float()
    return (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
