"""What was found in a person's own images beside those that a set is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mtl.data.cache import Notes
from mtl.data.duplicates import PLACES, Copies, Place
from mtl.data.image_set import ImageSet, Splits

_MANY, _SHARE = 5, 0.25  # nearly equal pairs in two classes, and their share, from which they look meant


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


def what_to_do(found: Duplicates) -> str:
    """Advice on pictures that are in two classes.

    Nearly equal pictures that are in two classes as often as in one are rarely mistakes: before one fixed
    camera, or on one form, classes differ in a detail that is too small for the search.
    """
    near = {place: count[1] for place, count in found.counts.items()}
    crossing = sum(count for place, count in near.items() if place != "class")
    if crossing >= _MANY and crossing >= _SHARE * sum(near.values()):
        return (
            f"Of {sum(near.values()):,} pairs of nearly the same pictures {crossing:,} are in two classes: "
            "that is how sets of one fixed camera, of forms or of X-rays look, whose classes differ in a "
            "detail. If this is one, set data.duplicates to exact (looks only for equal pixels) or keep "
            "(looks for none). If not, remove the pictures that are wrong, or set it to drop (leaves out all "
            "of them)"
        )
    return (
        "Remove those that are wrong, or set data.duplicates to exact (looks only for equal pixels), drop "
        "(leaves out all of them) or keep (looks for none)"
    )


@dataclass(frozen=True, eq=False)
class Account:
    """Of a folder, what its set leaves out, and what is wrong with it."""

    unnamed: tuple[str, ...] = ()  # classes that data.classes does not name, where all splits have names
    scarce: Mapping[str, int] = field(default_factory=dict)  # classes with too few images, and how many
    capped: Mapping[str, int] = field(default_factory=dict)  # classes with more than `max_images`: how many
    passed_over: Mapping[str, str] = field(default_factory=dict)  # links, folders and pipes, and why
    unreadable: Mapping[str, str] = field(default_factory=dict)  # files that are left out, and why
    duplicates: Duplicates | None = None  # None: they were not looked for
    levels: int | None = None  # the grey value that is white in files of more than 8 bits
    deep: int = 0  # how many such files there are
    alike: tuple[str, ...] = ()  # classes that have nearly the same name, a sentence for each group


@dataclass(frozen=True, eq=False)
class Survey:
    """A set, and the account of the folder that it was made of."""

    splits: Splits
    account: Account


def with_names(copies: Copies, parts: Sequence[ImageSet], left_out: int) -> Duplicates:
    """What was found among the images of some splits, by files and with pictures."""
    files = [file for part in parts for file in part.files]
    images = [image for part in parts for image in part.images]
    pictures = [torch.stack([images[p.one], images[p.other]]) for p in copies.pairs]
    empty = torch.empty(0, 2, *parts[0].images.shape[1:], dtype=torch.uint8)
    return Duplicates(
        copies.counts,
        tuple(NamedPair(files[p.one], files[p.other], p.exact, p.place) for p in copies.pairs),
        torch.stack(pictures) if pictures else empty,
        left_out,
    )


def to_notes(unreadable: Mapping[str, str], scarce: Mapping[str, int], found: Duplicates | None) -> Notes:
    """What is kept beside a decoded set: that which only decoding can tell."""
    return {
        "unreadable": dict(unreadable),
        "scarce": dict(scarce),
        "duplicates": None
        if found is None
        else {
            "counts": [list(found.counts[place]) for place in PLACES],
            "pairs": [[p.one, p.other, p.exact, PLACES.index(p.place)] for p in found.pairs],
            "pictures": found.pictures,
            "left_out": found.left_out,
        },
    }


def from_notes(notes: Notes) -> tuple[dict[str, str], dict[str, int], Duplicates | None]:
    """What `to_notes` took: unreadable files, classes with too few images, duplicates."""
    stored = notes["duplicates"]
    found = None
    if stored is not None:
        found = Duplicates(
            {place: (exact, near) for place, (exact, near) in zip(PLACES, stored["counts"], strict=True)},
            tuple(NamedPair(one, other, exact, PLACES[at]) for one, other, exact, at in stored["pairs"]),
            stored["pictures"],
            stored["left_out"],
        )
    return notes["unreadable"], notes["scarce"], found
