"""Images in memory with their classes, their split by classes, and the checks that episodes can be drawn."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mtl.data.image_groups import group_ids, most_queries, whole_groups
from mtl.errors import UserError, counted
from mtl.runtime.seeds import generator

_TURN = re.compile(r"@(90|180|270)$")  # of a turned class (`data.rotations`)
_NAMED = 5  # groups that a message lists
_SAMPLED = 1024  # images: reading millions of them would take as long as minutes of training


@dataclass(frozen=True, eq=False)
class ImageSet:
    """M square images of C classes. They stay uint8: floats are made of them a batch at a time.

    Raises:
        ValueError: the parts do not fit each other.
    """

    images: Tensor  # (M, channels, size, size) uint8
    labels: Tensor  # (M,) int64, an index into class_names
    class_names: tuple[str, ...]  # (C,) sorted
    groups: tuple[str, ...] | None = None  # (C,) superclass, alphabet or script, if the set has any
    files: tuple[str, ...] = ()  # (M,) where each image comes from, or empty: traces failures to a file
    domains: tuple[str, ...] | None = None  # (C,) the image set of each class, if several are joined
    image_groups: tuple[str, ...] = ()  # (M,) group of each image (`data.group_by`), "" if alone; or empty
    _mean_std: tuple[list[float], list[float]] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError("images must be uint8 of shape (M, channels, size, size)")
        if self.labels.dtype != torch.int64 or self.labels.shape != (count,):
            raise ValueError(f"{count} images need as many int64 labels")
        if self.files and len(self.files) != count:
            raise ValueError(f"{count} images need as many files, or none")
        if self.image_groups and len(self.image_groups) != count:
            raise ValueError(f"{count} images need as many groups, or none")
        if list(self.class_names) != sorted(set(self.class_names)):
            raise ValueError("class names must be sorted and distinct")
        if self.groups is not None and len(self.groups) != self.num_classes:
            raise ValueError("there must be one group for each class")
        if self.domains is not None and len(self.domains) != self.num_classes:
            raise ValueError("there must be one domain for each class")
        if count and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.num_classes:
            raise ValueError("labels must be indices into class_names")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def channels(self) -> int:
        return self.images.shape[1]

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[-1]

    def class_counts(self) -> Tensor:
        """(C,) int64: how many images each class has."""
        return torch.bincount(self.labels, minlength=self.num_classes)

    def mean_std(self, among: Tensor | None = None) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel over all pixels, with pixels scaled to [0, 1].

        Exact for any size of the set: both follow from how often each of the 256 values occurs. Those of all
        images are computed once; a set from the cache has them from there.

        Args:
            among: (n,) int64: only these images count, if given.
        """
        if among is not None and len(among) < len(self):
            return self._computed_mean_std(among)
        known = self._mean_std or self._computed_mean_std(torch.arange(len(self)))
        self.recall_mean_std(known)
        return known

    def recall_mean_std(self, known: tuple[list[float], list[float]]) -> None:
        """Takes over what `mean_std` computed for these very images before."""
        object.__setattr__(self, "_mean_std", known)  # not part of the set: `replace` leaves it behind

    def _computed_mean_std(self, rows: Tensor) -> tuple[list[float], list[float]]:
        counts = torch.zeros(self.channels, 256, dtype=torch.int64)
        for some in torch.split(rows, 4096):  # counting widens the pixels: a part at a time
            for c, channel in enumerate(self.images.unbind(1)):
                counts[c] += torch.bincount(channel[some].flatten(), minlength=256)
        return mean_std_of(counts)

    def select(
        self, classes: Sequence[int], among: Tensor | None = None, pixels: Tensor | None = None
    ) -> "ImageSet":
        """Only the images of these classes, relabelled in sorted order; images keep their order.

        Args:
            classes: that stay.
            among: (n,) int64 ascending: the images of these classes that stay; all if None.
            pixels: (n, channels, size, size) of those, if they were gathered already.
        """
        chosen = sorted(set(classes), key=lambda c: self.class_names[c])
        relabel = torch.full((self.num_classes,), -1, dtype=torch.int64)
        relabel[chosen] = torch.arange(len(chosen))
        labels = relabel[self.labels]
        rows = (labels >= 0).nonzero().flatten() if among is None else among
        return ImageSet(
            self.images[rows] if pixels is None else pixels,
            labels[rows],
            tuple(self.class_names[c] for c in chosen),
            None if self.groups is None else tuple(self.groups[c] for c in chosen),
            tuple(self.files[i] for i in rows.tolist()) if self.files else (),
            None if self.domains is None else tuple(self.domains[c] for c in chosen),
            tuple(self.image_groups[i] for i in rows.tolist()) if self.image_groups else (),
        )

    def group_ids(self) -> Tensor | None:
        """(M,) int64: the group of each image, numbered through all classes; None if there are no groups."""
        return group_ids(self.labels, self.image_groups) if self.image_groups else None

    def domain_ids(self) -> Tensor:
        """(C,) int64: which image set each class is from, sets numbered by name; all 0 for a single set."""
        if self.domains is None:
            return torch.zeros(self.num_classes, dtype=torch.int64)
        names = sorted(set(self.domains))
        return torch.tensor([names.index(domain) for domain in self.domains], dtype=torch.int64)

    def by_domain(self) -> "dict[str, ImageSet]":
        """Each of several joined image sets by its name; empty for a single set."""
        domains = self.domains or ()
        return {
            name: replace(self.select([c for c, d in enumerate(domains) if d == name]), domains=None)
            for name in sorted(set(domains))
        }


def mean_std_of(counts: Tensor) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel, from how often it has each value (channels, 256)."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for of_channel in counts:
        share = of_channel.double() / of_channel.sum()
        mean = (share * values).sum()
        means.append(mean.item())
        deviations.append((share * (values - mean) ** 2).sum().sqrt().item())
    return means, deviations


@dataclass(frozen=True, eq=False)
class Splits:
    """Base, validation and novel classes of one image set.

    Raises:
        ValueError: a class is in two splits, or the images differ in shape.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet
    name: str
    levels: int | None = None  # the grey value that is white, for files of more than 8 bits

    def __post_init__(self) -> None:
        parts = (self.train, self.val, self.test)
        names = Counter(name for part in parts for name in part.class_names)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(f"class {min(twice)} is in two splits")
        if len({part.images.shape[1:] for part in parts}) > 1:
            raise ValueError("the images of all splits must have one shape")

    def joined(self) -> ImageSet:
        """All classes as one set; their domains are left out."""
        parts = (self.train, self.val, self.test)
        names = [name for part in parts for name in part.class_names]
        rank = {name: place for place, name in enumerate(sorted(names))}
        order = torch.tensor([rank[name] for name in names])
        firsts = (0, self.train.num_classes, self.train.num_classes + self.val.num_classes)
        labels = torch.cat([part.labels + first for part, first in zip(parts, firsts, strict=True)])
        groups = {n: g for part in parts for n, g in zip(part.class_names, part.groups or (), strict=False)}
        return ImageSet(
            torch.cat([part.images for part in parts]),
            order[labels],
            tuple(sorted(names)),
            tuple(groups[name] for name in sorted(names)) if len(groups) == len(names) else None,
            tuple(file for part in parts for file in part.files),
        )


def fingerprint(images: ImageSet) -> str:
    """16 hex digits; the same for the same classes, labels, groups, shape and pixels, wherever the files are.

    So that an image's number in the ledger or a checkpoint is never read as another image. Of more than 1,024
    images the pixels of about as many, evenly spread, are read. An image more or less changes the labels;
    another size, split or rendering changes all pixels; but of many images a few that were changed or
    exchanged within their class may go unnoticed.
    """
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((tuple(images.images.shape), images.class_names)).encode("utf-8", "surrogatepass"))
    digest.update(images.labels.numpy().tobytes())
    if images.image_groups:  # episodes differ with them
        digest.update(repr(images.image_groups).encode("utf-8", "surrogatepass"))
    for i in range(0, len(images), max(1, -(-len(images) // _SAMPLED))):
        digest.update(images.images[i].contiguous().numpy().tobytes())
    return digest.hexdigest()


def hold_out(images: ImageSet, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Sets a share of every class's images apart: indices of the (remaining, held out) images, both sorted.

    A class gives `round(fraction · images)` of its images, at least one if `fraction` is above 0, and always
    keeps one. Which they are depends only on the seed and the class's name, and of turned classes
    (`data.rotations`) they are the same pictures. If images are in groups, whole groups are held out, so that
    the number comes near to that.
    """
    mask = torch.zeros(len(images), dtype=torch.bool)
    groups = images.group_ids()
    for label, name in enumerate(images.class_names):
        rows = (images.labels == label).nonzero().flatten()
        count = min(max(round(fraction * len(rows)), int(fraction > 0)), max(len(rows) - 1, 0))
        order = torch.randperm(len(rows), generator=generator(seed, "hold out", _TURN.sub("", name)))
        if groups is None:
            mask[rows[order[:count]]] = True
        elif count:
            mask[rows[whole_groups(groups[rows], order, count)]] = True
    return (~mask).nonzero().flatten(), mask.nonzero().flatten()


def require_episodes(
    images: ImageSet, split: str, way: int, shot: int, queries: int, among: Tensor | None = None
) -> None:
    """Checks that N classes with K + Q images each can be drawn, among these images if given.

    Raises:
        UserError: too few classes, or a class with too few images or groups of images, by name.
    """
    if images.num_classes < way:
        raise UserError(
            f"the {split} split has {counted(images.num_classes, 'class')}, fewer than the {way} ways of an "
            "episode; lower meta.way or evaluate.settings, or give the split more classes"
        )
    rows = torch.arange(len(images)) if among is None else among
    usable = "" if len(rows) == len(images) else " that episodes may use"
    counts = torch.bincount(images.labels[rows], minlength=images.num_classes)
    scarce = (counts < shot + queries).nonzero().flatten().tolist()
    if scarce:
        raise UserError(
            f"class {images.class_names[scarce[0]]} of the {split} split has "
            f"{counted(int(counts[scarce[0]]), 'image')}{usable}, fewer than shot + queries = "
            f"{shot} + {queries}{_further(scarce)}"
        )
    groups = images.group_ids()
    if groups is None:
        return
    sizes: list[Counter[int]] = [Counter() for _ in images.class_names]
    for label, group in zip(images.labels[rows].tolist(), groups[rows].tolist(), strict=True):
        sizes[label][group] += 1
    wrong = [c for c, of_class in enumerate(sizes) if most_queries(of_class.values(), shot) < queries]
    if not wrong:
        return
    of_class = sizes[wrong[0]]
    names = {group: images.image_groups[row] for row, group in enumerate(groups.tolist())}
    largest = [f"{names[g] or 'one by itself'} {count}" for g, count in of_class.most_common(_NAMED)]
    rest = f" and {len(of_class) - _NAMED} more" if len(of_class) > _NAMED else ""
    most = most_queries(of_class.values(), shot)
    raise UserError(
        f"class {images.class_names[wrong[0]]} of the {split} split has {of_class.total()} images{usable} in "
        f"{counted(len(of_class), 'group')} of data.group_by ({', '.join(largest)}{rest}); "
        f"support set and queries come from different groups, which leaves {most} queries at most beside "
        f"{shot} for support, not {queries}"
        f"{_further(wrong)}; add pictures of other groups, lower shot or queries, leave the class out, or "
        "leave data.group_by out"
    )


def _further(classes: Sequence[int]) -> str:
    if len(classes) == 1:
        return ""
    return f" (and {len(classes) - 1} more {'classes are' if len(classes) > 2 else 'class is'} too small)"


def require_group(images: ImageSet, split: str, way: int, key: str) -> None:
    """Checks that N classes of one group can be drawn, which the config's `key` needs.

    Raises:
        UserError: the classes have no groups, or all groups are too small.
    """
    if images.groups is None:
        raise UserError(
            f"{key}: the classes of this image set are in no groups; Omniglot (alphabets), glyphs (scripts), "
            "CIFAR-FS and FC100 (superclasses) have some"
        )
    name, most = Counter(images.groups).most_common(1)[0]
    if most < way:
        raise UserError(
            f"{key}: {way} ways, but the largest group of the {split} split, {name}, has "
            f"{counted(most, 'class')}"
        )
