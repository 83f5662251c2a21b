"""What was found in a person's own images beside those that a set is made of, and how to say it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mtl.config import Data
from mtl.data.cache import Notes
from mtl.data.duplicates import Copies, Place
from mtl.data.formats import levels_messages
from mtl.data.image_groups import shared_names
from mtl.data.image_set import ImageSet, Splits
from mtl.errors import counted

_MANY, _SHARE = 5, 0.25  # nearly equal pairs in two classes, and their share, from which they look intended
_NAMED = 8  # classes of a sentence
_LISTED = 20  # files below one
_PLACES = {"splits": "in two splits", "classes": "in two classes of a split", "class": "within a class"}


@dataclass(frozen=True)
class NamedPair:
    """Two pictures that show the same, by their files."""

    one: str
    other: str
    exact: bool  # to the pixel
    place: Place


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Pictures that are there twice."""

    counts: Mapping[Place, tuple[int, int]]  # pairs by where they are: (exact, near)
    pairs: tuple[NamedPair, ...]  # the first of each kind, those in two splits foremost
    pictures: Tensor  # (pairs, 2, channels, size, size) uint8
    left_out: int = 0  # images, by data.duplicates = drop

    def total(self, exact: bool) -> int:
        return sum(count[not exact] for count in self.counts.values())

    @property
    def crossing(self) -> int:
        """Pairs of two classes, of one split or of two."""
        return sum(sum(count) for place, count in self.counts.items() if place != "class")


@dataclass(frozen=True)
class FolderReport:
    """What the set of a folder leaves out, and what is wrong with the folder."""

    unnamed: tuple[str, ...] = ()  # classes that data.classes does not name, where all splits have names
    scarce: Mapping[str, int] = field(default_factory=dict)  # classes with too few images, and how many
    capped: Mapping[str, int] = field(default_factory=dict)  # classes with more than `max_images`: how many
    passed_over: Mapping[str, str] = field(default_factory=dict)  # links, folders, pipes, drawings, and why
    unreadable: Mapping[str, str] = field(default_factory=dict)  # files that are left out, and why
    duplicates: Duplicates | None = None  # None: they were not looked for
    levels: int | None = None  # the grey value that is white in files of more than 8 bits
    deep: int = 0  # how many such files there are
    similar_names: tuple[str, ...] = ()  # a sentence for each group of classes that have nearly the same name


@dataclass(frozen=True)
class Survey:
    """A set, and the report on the folder that it was made of."""

    splits: Splits
    report: FolderReport


def with_names(copies: Copies, parts: Sequence[ImageSet], left_out: int) -> Duplicates:
    """What was found among the images of some splits, by files and with pictures."""
    files = [file for part in parts for file in part.files]
    starts = torch.tensor([0, *map(len, parts)]).cumsum(0)

    def image(number: int) -> Tensor:
        part = int(torch.searchsorted(starts, number, right=True)) - 1
        return parts[part].images[number - int(starts[part])]

    pictures = [torch.stack([image(p.one), image(p.other)]) for p in copies.pairs]
    empty = torch.empty(0, 2, *parts[0].images.shape[1:], dtype=torch.uint8)
    return Duplicates(
        copies.counts,
        tuple(NamedPair(files[p.one], files[p.other], p.exact, p.place) for p in copies.pairs),
        torch.stack(pictures) if pictures else empty,
        left_out,
    )


def found_twice(notes: Notes) -> tuple[Duplicates, Tensor]:
    """What a search found, and (M,) bool: the images that are left out, from its notes."""
    pairs = tuple(NamedPair(**pair) for pair in notes["pairs"])
    found = {key: value for key, value in notes.items() if key != "out"}
    return Duplicates(**{**found, "pairs": pairs}), notes["out"]


def what_to_do(duplicates: Duplicates) -> str:
    """Advice on pictures that are in two classes.

    Many nearly equal ones are rarely mistakes: before one fixed camera, or on one form, classes differ in a
    detail that is too small for the search.
    """
    near = {place: count[1] for place, count in duplicates.counts.items()}
    total, crossing = sum(near.values()), sum(count for place, count in near.items() if place != "class")
    if crossing >= _MANY and crossing >= _SHARE * total:
        return (
            f"Of {total:,} pairs of nearly the same pictures {crossing:,} are in two classes: that is how "
            "sets of one fixed camera, of forms or of X-rays look, whose classes differ in a detail. If this "
            "is one, set data.duplicates to exact (looks only for equal pixels) or keep (looks for none). If "
            "not, remove the pictures that are wrong, or set it to drop (leaves out all of them)"
        )
    return (
        "Remove those that are wrong, or set data.duplicates to exact (looks only for equal pixels), drop "
        "(leaves out all of them) or keep (looks for none)"
    )


def findings(report: FolderReport, data: Data) -> list[str]:
    """Lines for a person to read; where all is well, one that says that nothing is there twice."""
    lines = []
    if report.unnamed:
        lines.append(f"Left out, not named in data.classes: {_some_classes(report.unnamed)}.")
    if report.scarce:
        least = data.min_images
        few = "no images" if least == 1 else f"fewer than data.min_images = {least} images"
        names = sorted(report.scarce) if least == 1 else _with_counts(report.scarce)
        lines.append(f"Left out, with {few}: {_some_classes(names)}.")
    if report.capped:
        most = data.max_images or 0
        aside = sum(report.capped.values()) - most * len(report.capped)
        lines.append(
            f"More than data.max_images = {most} images: {_some_classes(_with_counts(report.capped))}; "
            f"{aside:,} of them are left out."
        )
    if report.passed_over:
        lines.append(f"Passed over: {len(report.passed_over):,} of the names in the folder.")
        lines += _listed([f"{name}: {why}" for name, why in report.passed_over.items()])
    lines += [*report.similar_names, *levels_messages(report.levels, report.deep)]
    if report.unreadable:
        skipped = data.unreadable == "skip"
        then = "left out" if skipped else "training ends with that (data.unreadable = refuse)"
        lines.append(f"Unreadable: {counted(len(report.unreadable), 'image')}; {then}.")
        lines += _listed([f"{file}: {why}" for file, why in report.unreadable.items()])
    return lines + _on_duplicates(report.duplicates, data)


def _on_duplicates(duplicates: Duplicates | None, data: Data) -> list[str]:
    if duplicates is None:
        return ["The same picture twice: not looked for (data.duplicates = keep)."]
    only_exact = data.duplicates == "exact"
    if not duplicates.pairs:
        return [
            "The same picture twice: none"
            f"{' (to the pixel; nearly equal ones were not looked for)' if only_exact else ''}."
        ]
    near = "nearly equal ones not looked for" if only_exact else f"{duplicates.total(False):,} nearly"
    kinds = f"{counted(duplicates.total(True), 'pair')} the same, {near}"
    places = [f"{sum(count):,} {_PLACES[place]}" for place, count in duplicates.counts.items() if sum(count)]
    then = ""
    if data.duplicates == "drop":
        then = f" {counted(duplicates.left_out, 'image')} left out (data.duplicates = drop)."
    elif duplicates.crossing:
        then = (
            f" Training ends with those that are not within a class (data.duplicates = {data.duplicates}). "
            f"{what_to_do(duplicates)}."
        )
    pairs = [f"{p.one} {'=' if p.exact else '≈'} {p.other}" for p in duplicates.pairs]
    total = duplicates.total(True) + duplicates.total(False)
    return [f"The same picture twice: {kinds}; {', '.join(places)}.{then}", *_listed(pairs, total)]


def group_lines(splits: Splits) -> list[str]:
    """What there is to say of the groups of images (data.group_by); nothing where there are none."""
    lines, of_class, split_of = list[str](), dict[str, list[str]](), dict[str, str]()
    for split, images in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        if (groups := images.group_ids()) is None:
            continue
        class_of_group = dict(zip(groups.tolist(), images.labels.tolist(), strict=True))
        counts = Counter(class_of_group.values())
        few, most = min(counts.values()), max(counts.values())
        line = f"Groups in {split}: {len(class_of_group):,}, {few} to {most} a class"
        if alone := images.image_groups.count(""):
            line += f"; of these, {counted(alone, 'image')} that data.group_by does not match"
        lines.append(f"{line}.")
        if single := [name for c, name in enumerate(images.class_names) if counts[c] == 1]:
            lines.append(f"  All images of one group, so that there is no episode: {_some_classes(single)}.")
        for name, label in zip(images.image_groups, images.labels.tolist(), strict=True):
            of_class.setdefault(images.class_names[label], []).append(name)
            split_of[images.class_names[label]] = split
    if not (shared := shared_names(of_class)):
        return lines
    crossing = sum(len({split_of[name] for name in classes}) > 1 for classes in shared.values())
    head = (
        f"In several classes: {counted(len(shared), 'group name')}, {crossing:,} of them in two splits. "
        "Where such a name is one clip or one animal, its pictures leak from class to class; if each class "
        "counts its groups anew, nothing is wrong."
    )
    named = [f"{name}: {', '.join(classes[:_NAMED])}" for name, classes in shared.items()]
    return [*lines, head, *_listed(named)]


def _some_classes(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{counted(len(names), 'class')} ({', '.join(names[:_NAMED])}{more})"


def _with_counts(classes: Mapping[str, int]) -> list[str]:
    return [f"{name} {count:,}" for name, count in sorted(classes.items())]


def _listed(lines: Sequence[str], total: int = 0) -> list[str]:
    """The first lines, and how many more there are, out of `total` or else the lines."""
    shown = [f"  {line}" for line in lines[:_LISTED]]
    more = max(total, len(lines)) - len(shown)
    return [*shown, f"  and {more:,} more"] if more else shown
