"""The pictures of class folders as an image set that is decoded once, whatever is chosen of it later.

What the pixels depend on is in the key of the cache: the files by name, size and time, the size and colours
of the images, and which grey value is white. Where another selection of the same files is stored already,
pixels are copied from it, and only what is new is decoded.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.config import Log
from mtl.data.cache import Notes, cached_with_notes, pixels_of, place, stored_sets
from mtl.data.class_tree import PARTS
from mtl.data.decode import White, decode_files, decode_readable, of_classes, source_name
from mtl.data.image_set import Splits
from mtl.data.pixel_file import blocks_of
from mtl.runtime.progress import Count, tell

_MANY = 1000  # pictures from which on a sentence says that they are decoded


@dataclass(frozen=True)
class Form:
    """What decoded images look like."""

    size: int  # pixels a side
    grayscale: bool
    levels: Literal["auto", "full"] | int = "full"  # as `data.levels`


@dataclass(frozen=True, eq=False)
class DecodedSet:
    """A decoded set, with what only decoding can tell."""

    splits: Splits
    key: tuple[object, ...]  # what its images and their order depend on
    failed: Mapping[str, str]  # files that are not pictures, and why
    top: int | None  # the grey value that is white in files of more than 8 bits, if there are any
    deep: int  # how many there are


def decoded_set(
    below: Path,
    name: str,
    parts: Sequence[Mapping[str, Sequence[Path]]],
    form: Form,
    groups: Mapping[str, str] | None = None,
    root: Path | None = None,
    log: Log | None = None,
) -> DecodedSet:
    """The files of the classes of train, val and test, decoded or out of the cache below `root`.

    Args:
        below: the folder that names of files are relative to.
        name: of the image set.
        parts: the files of each class, of each part.
        form: of the images.
        groups: of the classes.
        root: the folder whose cache the set is kept in; None: it is decoded into memory.
        log: how progress is shown.
    """
    files = [file for part in parts for c in sorted(part) for file in part[c]]
    stamps = _stamps(files, below)
    key = (
        *(form, groups and sorted(groups.items())),
        [[(c, len(part[c])) for c in sorted(part)] for part in parts],
        hashlib.blake2b(stamps.tobytes(), digest_size=16).hexdigest(),
    )
    shape = (1 if form.grayscale else 3, form.size, form.size)

    def build(path: Path | None) -> tuple[Splits, Notes]:
        known = _known(path, name, form, files, stamps) if path else _nothing
        kept = [path and pixels_of(path, part) for part in PARTS]
        start = sum(block.note["files"] for pixels in kept if pixels for block in blocks_of(pixels))
        if len(files) - start > _MANY:
            where = f"; they are kept in {path.parent}" if path else ""
            tell(f"decoding {len(files) - start:,} pictures{where}", log)
        white, images, failed = White(files, form.levels), [], dict[str, str]()
        read = np.ones(len(files), dtype=bool)
        first = 0
        with Count("decoding", len(files), log, start=start) as count:
            for classes, pixels in zip(parts, kept, strict=True):
                of_part = [file for c in sorted(classes) for file in classes[c]]
                decoded = decode_files(of_part, shape, white, count, pixels, known)
                images.append(of_classes(decoded, classes, below, groups))
                failed |= {source_name(of_part[i], below): why for i, why in decoded.failed.items()}
                read[[first + i for i in decoded.failed]] = False
                first += len(of_part)
        notes = {
            "form": repr(form),
            "stamps": torch.from_numpy(stamps[read].view(np.int64)),
            "failed": failed,
            "top": white.top,
            "deep": white.deep,
        }
        return Splits(images[0], images[1], images[2], name), notes

    def still_failing(notes: Notes) -> bool:
        """A file may become readable by permissions or by a package, and look the same from outside."""
        if not (before := notes["failed"]):
            return True
        again = [file for file in files if source_name(file, below) in before]
        quiet = Log(quiet=True)
        return len(decode_readable({"": again}, form.size, form.grayscale, below, log=quiet)[1]) == len(
            before
        )

    path, size = place(root or below, name, key), len(files) * int(np.prod(shape))
    splits, notes = cached_with_notes(path, name, build, still_failing, root is not None, size, log)
    failed = notes["failed"]
    return DecodedSet(splits, (*key, sorted(failed)), failed, notes["top"], notes["deep"])


def _nothing(file: Path) -> None:
    """No file was decoded before."""


def _stamps(files: Sequence[Path], below: Path) -> NDArray[np.uint64]:
    """(M,) a number for each file, of its name below a folder, size and time; 0 where there is none."""
    prefix, stamps = os.path.join(below, ""), np.zeros(len(files), dtype=np.uint64)
    for i, file in enumerate(files):
        with suppress(OSError):  # decoding says what is wrong with it
            stat = os.stat(file)
            text = f"{os.fspath(file).removeprefix(prefix)}\0{stat.st_size}\0{stat.st_mtime_ns}"
            digest = hashlib.blake2b(os.fsencode(text), digest_size=8).digest()
            stamps[i] = int.from_bytes(digest, "little")
    return stamps


def _known(
    path: Path, name: str, form: Form, files: Sequence[Path], stamps: NDArray[np.uint64]
) -> Callable[[Path], Tensor | None]:
    """The pixels of files that are in stored sets of the same form, in the folder of `path`.

    Where grey values were stretched, pixels depend on the other files as well: those are not taken.
    """
    found: dict[Path, tuple[Tensor, int]] = {}
    for splits, notes in stored_sets(
        path.parent, name, lambda n: n.get("form") == repr(form) and n["top"] is None
    ):
        parts = (splits.train.images, splits.val.images, splits.test.images)
        rows = ((images, row) for images in parts for row in range(len(images)))
        there = dict(zip(notes["stamps"].numpy().view(np.uint64).tolist(), rows, strict=True))
        found |= {f: there[s] for f, s in zip(files, stamps.tolist(), strict=True) if s and s in there}

    def pixels(file: Path) -> Tensor | None:
        images, row = found.get(file, (None, 0))
        return None if images is None else images[row]

    return pixels
