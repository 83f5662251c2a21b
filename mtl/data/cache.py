"""Decoded image sets are kept on disk once, and opened from there without being read in whole."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from mtl.data.image_set import ImageSet, Splits

_FORMAT = 2  # raise it when what is stored, or how any source makes its images, changes
_log = logging.getLogger(__name__)


def cached(root: Path, name: str, key: Iterable[object], build: Callable[[], Splits]) -> Splits:
    """The splits stored below `<root>/.cache`, or those that `build` makes, stored there for next time.

    `key` holds everything that the images depend on: options, and the fingerprint of the files. A damaged
    file counts as none. Images are mapped, not read: opening is quick, and processes share the memory.
    Where nothing can be written, the set is used as it was built.
    """
    digest = hashlib.blake2b(repr((_FORMAT, *key)).encode(), digest_size=8).hexdigest()
    path = root / ".cache" / f"{name}-{digest}.pt"
    splits = _open(path, name)
    if splits is None:
        splits = build()
        _store(path, splits)
    return splits


def fingerprint(files: Iterable[Path]) -> str:
    """Names, sizes and times of files: a changed folder gets another one, and is decoded anew."""
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(map(os.fspath, files)):
        stat = os.stat(file)
        digest.update(os.fsencode(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0"))
    return digest.hexdigest()


def _open(path: Path, name: str) -> Splits | None:
    if not path.is_file():
        return None
    try:
        return _unpack(torch.load(path, weights_only=True, mmap=True), name)
    except Exception as error:  # whatever a damaged file provokes, the set can be decoded again
        _log.warning("%s is damaged (%s) and is made anew", path, type(error).__name__)
        return None


def _store(path: Path, splits: Splits) -> None:
    """Written beside its place, flushed, then renamed: a reader finds the whole file or none."""
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save({part: _pack(images) for part, images in parts.items()}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as either
        _log.warning("%s cannot be written (%s): the set will be decoded again next time", path, error)
        temporary.unlink(missing_ok=True)


def _pack(images: ImageSet) -> dict[str, Any]:
    # one string instead of M: the safe unpickler is slow at many small objects; no file name holds a \0
    return {
        "images": images.images.contiguous(),
        "labels": images.labels,
        "class_names": list(images.class_names),
        "groups": None if images.groups is None else list(images.groups),
        "files": "\0".join(images.files),
    }


def _unpack(packed: dict[str, dict[str, Any]], name: str) -> Splits:
    def unpacked(part: dict[str, Any]) -> ImageSet:
        return ImageSet(
            images=part["images"],
            labels=part["labels"],
            class_names=tuple(part["class_names"]),
            groups=None if part["groups"] is None else tuple(part["groups"]),
            files=tuple(part["files"].split("\0")) if part["files"] else (),
        )

    return Splits(unpacked(packed["train"]), unpacked(packed["val"]), unpacked(packed["test"]), name)
