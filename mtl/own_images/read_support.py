"""A person's own classes, out of a folder or a list of files, read into a support set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mtl.config import Log
from mtl.data.class_tree import similar_name_messages
from mtl.data.formats import largest_values, levels_messages, top_of
from mtl.data.own_picture import Change, change_messages
from mtl.data.picture_files import support_files
from mtl.data.prefetch import Decoded, decode_ahead
from mtl.data.prints import Prints
from mtl.errors import UserError, one_line
from mtl.own_images.embedder import Embedder, Preparation
from mtl.own_images.support import Support
from mtl.runtime.progress import Count, tell

_NAMED = 4  # copies of a picture that a sentence names


@dataclass(frozen=True, eq=False)
class ReadSupport:
    """What a support folder holds."""

    support: Support  # its files are paths below the folder as it was given
    left_out: tuple[str, ...]  # what is no part of it and why, a sentence each
    embedder: Embedder  # which knows the grey values of these pictures


def read_support(
    folder: Path,
    embedder: Embedder,
    log: Log | None = None,
    least: int = 2,
    option: str = "--support ",
    tell_names: bool = True,
) -> ReadSupport:
    """Embeds the pictures of `<folder>/<class>/*`, or of a CSV list, a batch at a time.

    What cannot be read is left out. A picture that is in several classes is left out of all: which label is
    right nobody knows; copies in one class count once.

    Args:
        folder: of the classes, or a list of pictures with their labels.
        embedder: of a run or of a classifier.
        log: whether and how progress is shown.
        least: how many classes there must be.
        option: how the user gave the folder.
        tell_names: whether to say which classes have nearly the same name.

    Raises:
        UserError: there is no such folder, or too few classes have pictures that can be read.
    """
    listed = support_files(folder, option)
    class_of = {file: name for name, of_class in listed.files.items() for file in of_class}
    files = list(class_of)
    embedder = with_levels(embedder, files)
    prepared = embedder.preparation
    features: list[torch.Tensor] = []
    kept: list[Path] = []
    parts: list[Prints] = []
    changes: list[Change] = []
    left_out = list(listed.left_out)
    with Count("support", len(files), log) as count:
        for batch in read_ahead(files, prepared):
            if batch.files:
                features.append(embedder(batch.images))
            kept += batch.files
            changes += batch.changes
            parts.append(Prints.of(batch.images))
            left_out += [one.why for one in batch.unread]
            count.add(len(batch.files) + len(batch.unread))
    names = [str(file) for file in kept]
    classes = [class_of[file] for file in kept]
    prints = Prints.joined(parts)
    rows, copies = _distinct(prints.keys(), classes, names)
    left_out += copies
    left = {classes[row] for row in rows}
    left_out += [
        f"{one_line(folder / name)}: no picture of it is left" for name in listed.files if name not in left
    ]
    if len(left) < least:
        raise UserError(_too_few(folder, sorted(left), least, left_out))
    support = Support.of(torch.cat(features), classes, names, prints).some(rows)
    for sentence in similar_name_messages(support.classes) if tell_names else []:
        tell(sentence)
    for sentence in change_messages(changes, prepared.ink, prepared.top, "support picture"):
        tell(sentence)
    return ReadSupport(support, tuple(left_out), embedder)


def read_ahead(files: Sequence[Path], prepared: Preparation) -> Iterator[Decoded]:
    """Pictures as the network of a classifier takes them."""
    return decode_ahead(files, prepared.size, prepared.grayscale, ink=prepared.ink, top=prepared.top)


def with_levels(embedder: Embedder, files: Sequence[Path]) -> Embedder:
    """Takes grey values of more than 8 bits as before, or as these pictures need it, which is said."""
    if embedder.preparation.levels is not None:
        return embedder
    deep = largest_values(files)
    top = top_of(deep)
    for sentence in levels_messages(top, len(deep)):
        tell(sentence)
    return embedder.with_levels(top)


def _distinct(
    digests: Sequence[bytes], classes: Sequence[str], names: Sequence[str]
) -> tuple[list[int], list[str]]:
    """The rows that count, ascending, and a sentence for each picture that has copies."""
    copies: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        copies.setdefault(digest, []).append(row)
    kept, told = [], []
    for same in copies.values():
        among = {classes[row] for row in same}
        if len(among) == 1:
            kept.append(same[0])
        if len(same) > 1:
            told.append(_copies([names[row] for row in same], len(among)))
    return sorted(kept), told


def _copies(names: Sequence[str], classes: int) -> str:
    shown = ", ".join(one_line(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    if classes == 1:
        return f"{shown}{more}: are the same picture; it counts once"
    told = "as nobody knows which is right, none counts"
    return f"{shown}{more}: are the same picture in {classes} classes; {told}"


def _too_few(folder: Path, classes: Sequence[str], least: int, left_out: Sequence[str]) -> str:
    there = f"there is only {one_line(classes[0])}" if classes else "there is none"
    what = (
        f"{least} classes with pictures that can be read are needed"
        if least > 1
        else "no picture can be read"
    )
    if least > 1:
        what = f"{what}, {there}"
    if len(classes) == 1:
        name, home = one_line(classes[0]), folder if folder.is_dir() else folder.parent
        what = (
            f"{what}; to tell whether a picture shows {name} or not, add pictures of what else may come as a "
            f"second class, for example {one_line(home / f'not {name}')}/*.jpg, as varied as they will be"
        )
    lines = "".join(f"\n  {sentence}" for sentence in left_out[:20])
    return f"{one_line(folder)}: {what}{lines}"


def require_ways(embedder: Embedder, classes: int) -> None:
    """Checks that the base learner can adapt to so many classes.

    Raises:
        UserError: it has a learned start, which serves one number of them.
    """
    origin = embedder.origin
    learned = origin.head.name == "gradient_descent" and origin.head.init == "learned"
    if learned and classes != origin.way:
        raise UserError(
            f"run {one_line(origin.run)} has a learned start (meta.head.init = learned), which serves "
            f"{origin.way} classes alone, and here are {classes}; runs with meta.head.init = prototype "
            "or zero serve any number"
        )
