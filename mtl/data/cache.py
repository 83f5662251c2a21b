"""Decoded image sets are stored on disk once, and opened from there without being read as a whole."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mtl.data.folders import is_image_file
from mtl.data.image_set import ImageSet, Splits
from mtl.runtime import tensor_files

_FORMAT = 4  # raise it when what is stored, or how any source makes its images, changes
_log = logging.getLogger(__name__)

Notes = dict[str, Any]  # numbers, texts and tensors, in lists and dicts


def cached(
    root: Path, name: str, key: Iterable[object], build: Callable[[], Splits], keep: bool = True
) -> Splits:
    """The splits stored below `<root>/.cache`, or those that `build` makes, stored there for next time.

    `key` holds everything that the images depend on: options, and the fingerprint of the files. A damaged
    file counts as missing. Images are mapped, not read, and their mean and deviation are stored with them:
    opening is quick, and processes share the memory. If nothing can be written, or `keep` is false, the set
    is used as it was built.
    """
    return cached_with_notes(root, name, key, lambda: (build(), {}), keep=keep)[0]


def cached_with_notes(
    root: Path,
    name: str,
    key: Iterable[object],
    build: Callable[[], tuple[Splits, Notes]],
    holds: Callable[[Notes], bool] = lambda notes: True,
    keep: bool = True,
) -> tuple[Splits, Notes]:
    """As `cached`, with notes of the build; if these no longer hold, by `holds`, the set is built anew."""
    digest = hashlib.blake2b(repr((_FORMAT, *key)).encode(), digest_size=8).hexdigest()
    path = root / ".cache" / f"{name}-{digest}.pt"
    stored = _open(path, name)
    if stored is not None and holds(stored[1]):
        return stored
    built = build()
    if keep:
        _store(path, *built)
    return built


def fingerprint_of_folders(folders: Iterable[Path], relative_to: Path) -> str:
    """Names, sizes and times of the images in class folders: a change gives another one, and a new decoding.

    Every file is looked at, since overwriting a file does not change its folder's time. Folders count by
    their place below `relative_to`: a set that is moved, or named by another path, keeps its own. One that
    cannot be read counts as empty; whoever lists it for decoding reports it.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, folder in sorted((os.fspath(f.relative_to(relative_to)), f) for f in folders):
        digest.update(os.fsencode("\0\0".join([name, *_images(folder), ""])))
    return digest.hexdigest()


def fingerprint_of_files(files: Mapping[str, Path]) -> str:
    """Names, sizes and times of single files, as `fingerprint_of_folders`."""
    digest = hashlib.blake2b(digest_size=8)
    for name, file in sorted(files.items()):
        with suppress(OSError):
            stat = file.stat()
            text = f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"
            digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _images(folder: Path) -> list[str]:
    """One text for each file that `image_files` would list, sorted; only strings, as sets have 100,000s."""
    texts = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_image_file(entry):
                stat = entry.stat()
                texts.append(f"{entry.name}\0{stat.st_size}\0{stat.st_mtime_ns}")
    return sorted(texts)


def _open(path: Path, name: str) -> tuple[Splits, Notes] | None:
    if not path.is_file():
        return None
    try:
        stored = tensor_files.read(path, mmap=True)
        train, val, test = (_unpacked(stored[part]) for part in ("train", "val", "test"))
        return Splits(train, val, test, name), stored["notes"]
    except Exception as error:  # whatever a damaged file provokes, the set can be decoded again
        why = error if isinstance(error, tensor_files.Damaged) else type(error).__name__
        _log.warning("%s is damaged (%s) and is made anew", path, why)
        return None


def _store(path: Path, splits: Splits, notes: Notes) -> None:
    """Written beside its place, flushed, then renamed: a reader finds the whole file or none."""
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensor_files.write(
            path, {**{part: _packed(images) for part, images in parts.items()}, "notes": notes}
        )
    except (OSError, RuntimeError) as error:  # torch reports a full disk as either
        _log.warning("%s cannot be written (%s): the set will be decoded again next time", path, error)


def _packed(images: ImageSet) -> dict[str, Any]:
    return {
        "images": images.images.contiguous(),
        "labels": images.labels,
        "class_names": _joined(images.class_names),
        "groups": None if images.groups is None else _joined(images.groups),
        "files": _joined(images.files),
        "mean_std": images.mean_std(),
    }


def _unpacked(part: dict[str, Any]) -> ImageSet:
    images = ImageSet(
        images=part["images"],
        labels=part["labels"],
        class_names=_parted(part["class_names"]),
        groups=None if part["groups"] is None else _parted(part["groups"]),
        files=_parted(part["files"]),
    )
    images.recall_mean_std(part["mean_std"])
    return images


def _joined(names: Sequence[str]) -> str:
    """One string instead of many: the safe unpickler is slow at small objects. No name holds a \\0."""
    return "\0".join(names)


def _parted(names: str) -> tuple[str, ...]:
    return tuple(names.split("\0")) if names else ()
