"""Pictures in files, read and embedded; a person's own classes, read into a support set."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mtl.config import Log
from mtl.data.class_tree import similar_name_messages
from mtl.data.formats import largest_values, levels_messages, top_of
from mtl.data.near_copies import Prints
from mtl.data.own_picture import Change, change_messages
from mtl.data.picture_files import support_files
from mtl.data.prefetch import Unread, decode_ahead
from mtl.errors import UserError, one_line
from mtl.own_images.embedder import Embedder
from mtl.own_images.support import Support
from mtl.runtime.progress import Count, tell

_NAMED = 4  # copies of a picture that a sentence names
_SHOWN, _SIDE = 100, 160  # pictures that are kept for a page, and pixels a side that it needs


class EmbeddedBatch(NamedTuple):
    """The next B pictures that can be read; B may be 0."""

    files: tuple[Path, ...]
    images: Tensor  # (B, channels, size, size) uint8, as the network takes them
    features: Tensor  # (B, D)


@dataclass(eq=False)
class PictureReader:
    """Reads and embeds pictures a batch at a time, showing progress; collects what could not be read.

    Grey values of more than 8 bits are taken as the embedder knows them, or as these files need it.
    """

    embedder: Embedder
    files: Sequence[Path]
    log: Log | None = None
    what: str = "pictures"  # for progress
    unread: list[Unread] = field(default_factory=list)
    shown: dict[Path, Tensor] = field(default_factory=dict)  # the first ones, as a page can show them
    _changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.embedder = _with_levels(self.embedder, self.files)

    def __iter__(self) -> Iterator[EmbeddedBatch]:
        prepared = self.embedder.preparation
        size, grayscale, ink, top = prepared.size, prepared.grayscale, prepared.ink, prepared.top
        with Count(self.what, len(self.files), self.log) as count:
            for batch in decode_ahead(self.files, size, grayscale, ink=ink, top=top):
                self.unread += batch.unread
                self._changes += batch.changes
                if len(self.shown) < _SHOWN and size >= _SIDE and not grayscale and ink is None:
                    self.shown |= zip(batch.files, batch.images, strict=True)
                count.add(len(batch.files) + len(batch.unread))
                yield EmbeddedBatch(batch.files, batch.images, self.embedder(batch.images))

    def tell_changes(self, one: str = "picture", log: Log | None = None) -> None:
        """Says how many pictures were changed beyond scaling, and how."""
        prepared = self.embedder.preparation
        for sentence in change_messages(self._changes, prepared.ink, prepared.top, one):
            tell(sentence, log)


def _with_levels(embedder: Embedder, files: Sequence[Path]) -> Embedder:
    if embedder.preparation.levels is not None:
        return embedder
    deep = largest_values(files)
    top = top_of(deep)
    for sentence in levels_messages(top, len(deep)):
        tell(sentence)
    return embedder.with_levels(top)


@dataclass(frozen=True, eq=False)
class ReadSupport:
    """The content of a support folder."""

    support: Support  # its files are paths below the folder as it was given
    left_out: tuple[str, ...]  # what was left out and why, a sentence each
    embedder: Embedder  # with the white of these pictures
    shown: Mapping[Path, Tensor]  # of the reader
    images: Tensor | None  # (S, channels, size, size) uint8, where they are kept


def read_support(
    folder: Path,
    embedder: Embedder,
    log: Log | None = None,
    least: int = 2,
    option: str = "--support ",
    keep: bool = False,
) -> ReadSupport:
    """Embeds the pictures of `<folder>/<class>/*`, or of a CSV list, a batch at a time.

    What cannot be read is left out. A picture that is in several classes is left out of all, since nobody
    knows which label is right; copies in one class count once.

    Args:
        folder: of the classes, or a list of pictures with their labels.
        embedder: of a run or of a classifier.
        log: how progress is shown, if at all.
        least: how many classes there must be.
        option: how the user gave the folder.
        keep: the images are wanted too.

    Raises:
        UserError: there is no such folder, or too few classes have pictures that can be read.
    """
    listed = support_files(folder, option)
    class_of = {file: name for name, files in listed.files.items() for file in files}
    reader = PictureReader(embedder, list(class_of), log, "support")
    features, names, classes, parts = [], list[str](), list[str](), []
    images = list[Tensor]()
    for batch in reader:
        features.append(batch.features)
        names += [str(file) for file in batch.files]
        classes += [class_of[file] for file in batch.files]
        parts.append(Prints.of(batch.images))
        images += [batch.images] if keep else []
    prints = Prints.joined(parts)
    rows, copies = distinct(prints.keys(), classes, names)
    left = {classes[row] for row in rows}
    gone = [
        f"{one_line(folder / name)}: no picture of it is left" for name in listed.files if name not in left
    ]
    left_out = [*listed.left_out, *(one.why for one in reader.unread), *copies, *gone]
    if len(left) < least:
        raise UserError(_too_few(folder, sorted(left), least, left_out))
    support = Support.of(torch.cat(features), classes, names, prints).some(rows)
    reader.tell_changes("support picture")
    kept = torch.cat(images)[rows] if keep else None
    return ReadSupport(support, tuple(left_out), reader.embedder, reader.shown, kept)


def tell_nearly_same(classes: Sequence[str], among: Collection[str] | None = None) -> None:
    """Names classes whose names are nearly the same; `among`: only where one of these is concerned."""
    for sentence in similar_name_messages(classes, among):
        tell(sentence)


def distinct(
    digests: Sequence[bytes], classes: Sequence[str], names: Sequence[str]
) -> tuple[list[int], list[str]]:
    """The rows that count, ascending, and a sentence for each picture that has copies."""
    copies: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        copies.setdefault(digest, []).append(row)
    counted, sentences = [], []
    for same in copies.values():
        among = {classes[row] for row in same}
        if len(among) == 1:
            counted.append(same[0])
        if len(same) > 1:
            sentences.append(_copies([names[row] for row in same], len(among)))
    return sorted(counted), sentences


def _copies(names: Sequence[str], classes: int) -> str:
    shown = ", ".join(one_line(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    if classes == 1:
        return f"{shown}{more}: are the same picture; it counts once"
    what = f"are the same picture in {classes} classes"
    return f"{shown}{more}: {what}; as nobody knows which is right, none counts"


def _too_few(folder: Path, classes: Sequence[str], least: int, left_out: Sequence[str]) -> str:
    there = f"there is only {one_line(classes[0])}" if classes else "there is none"
    what = f"{least} classes with pictures that can be read are needed, {there}"
    if least == 1:
        what = "no picture can be read"
    elif classes:
        name, home = one_line(classes[0]), folder if folder.is_dir() else folder.parent
        what += (
            f"; to tell whether a picture shows {name} or not, add pictures of what else may come as a "
            f"second class, for example {one_line(home / f'not {name}')}/*.jpg, as varied as they will be"
        )
    lines = "".join(f"\n  {sentence}" for sentence in left_out[:20])
    return f"{one_line(folder)}: {what}{lines}"
