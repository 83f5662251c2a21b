"""Decoded image sets are stored on disk once, and mapped from there: they may be larger than the memory.

A set is four files: the pixels of each part, and one with the rest, which is written last.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from mtl.config import Log
from mtl.data.folders import is_image_file
from mtl.data.image_set import ImageSet, Splits, mean_std_of
from mtl.data.pixel_file import PixelWriter, blocks_of, check, images_a_block, log_of, mapped
from mtl.runtime import tensor_files
from mtl.runtime.outputs import claimed

_FORMAT = 5  # raise it when what is stored, or how any source makes its images, changes
_PARTS = ("train", "val", "test")
_PATIENCE = 7 * 24 * 3600.0  # seconds that another process may take to decode
_NOT_KEPT = "%s cannot be written (%s): the set will be decoded again next time"
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
    return cached_with_notes(place(root, name, key), name, lambda _: (build(), {}), keep=keep)[0]


def cached_with_notes(
    path: Path,
    name: str,
    build: Callable[[Path | None], tuple[Splits, Notes]],
    holds: Callable[[Notes], bool] = lambda notes: True,
    keep: bool = True,
    size: int = 0,
    log: Log | None = None,
) -> tuple[Splits, Notes]:
    """As `cached`, with notes of the build; if these no longer hold, by `holds`, the set is built anew.

    One process builds while others that want the same set wait.

    Args:
        path: of `place`.
        name: of the image set.
        build: gets the path, or None if nothing is stored. It may write the pixels of a part to
            `pixels_of(path, part)` itself, with a `PixelWriter`.
        holds: whether the notes still hold.
        keep: False: nothing is stored.
        size: bytes of all pixels.
        log: how progress is shown.
    """
    seen = _written(path)
    stored = _open(path, name, log)
    if stored is not None and holds(stored[1]):
        return stored
    if not keep or not _can_hold(path, size):
        return build(None)
    with claimed(path, "decoding images", wait=True, patience=_PATIENCE):
        if _written(path) != seen and (stored := _open(path, name, log)) is not None:
            return stored  # of another process, which was faster
        built = build(path)
        _store(path, name, *built)
    return built


def place(root: Path, name: str, key: Iterable[object]) -> Path:
    """The file that says what is in a cached set; its pixels are beside it."""
    digest = hashlib.blake2b(repr((_FORMAT, *key)).encode(), digest_size=8).hexdigest()
    return root / ".cache" / f"{name}-{digest}.pt"


def pixels_of(path: Path, part: str) -> Path:
    """The file with the pixels of a part (train, val or test) of the cached set `path`."""
    return path.with_suffix(f".{part}.pixels")


def _can_hold(path: Path, size: int) -> bool:
    """Whether a set of so many bytes can be written there; if not, a sentence says why."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            free = shutil.disk_usage(path.parent).free
    except OSError as error:
        why = error.strerror or type(error).__name__
    else:
        if size <= free:
            return True
        why = f"it takes {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
    _log.warning(_NOT_KEPT, path, why)
    return False


def cached_notes(
    root: Path, name: str, key: Iterable[object], build: Callable[[], Notes], keep: bool = True
) -> Notes:
    """What `build` finds out about a set, stored as `cached` stores the set itself."""
    path = place(root, name, key).with_suffix(".notes")
    if path.is_file():
        with suppress(OSError, tensor_files.Damaged):
            notes: Notes = tensor_files.read(path)
            return notes
    notes = build()
    if keep:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            tensor_files.write(path, notes)
        except (OSError, RuntimeError) as error:
            _log.warning(_NOT_KEPT, path, error)
    return notes


def stored_sets(folder: Path, name: str, wanted: Callable[[Notes], bool]) -> Iterator[tuple[Splits, Notes]]:
    """Sets of a name that are stored in a folder, those with `wanted` notes; damaged ones are passed over."""
    for path in sorted(folder.glob(f"{name}-*.pt")):
        if all(pixels_of(path, part).is_file() for part in _PARTS):
            with suppress(Exception):
                if wanted((stored := tensor_files.read(path))["notes"]):
                    yield _unpacked_splits(path, name, stored, Log(quiet=True)), stored["notes"]


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


def _images(folder: Path) -> list[str]:
    """One text for each file that `image_files` would list, sorted; only strings, as sets have 100,000s."""
    texts = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_image_file(entry):
                stat = entry.stat()
                texts.append(f"{entry.name}\0{stat.st_size}\0{stat.st_mtime_ns}")
    return sorted(texts)


def _written(path: Path) -> int:
    """When the file was written; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _open(path: Path, name: str, log: Log | None) -> tuple[Splits, Notes] | None:
    if not path.is_file():
        return None
    try:
        stored = tensor_files.read(path)
        return _unpacked_splits(path, name, stored, log), stored["notes"]
    except Exception as error:  # whatever a damaged file provokes, the set can be decoded again
        why = error if isinstance(error, tensor_files.Damaged) else type(error).__name__
        _log.warning("%s is damaged (%s) and is made anew", path, why)
        return None


def _store(path: Path, name: str, splits: Splits, notes: Notes) -> None:
    """The pixels first: the file that is written last has their checksums, and makes the set whole."""
    parts = dict(zip(_PARTS, (splits.train, splits.val, splits.test), strict=True))
    files = [pixels_of(path, part) for part in _PARTS]
    try:
        path.unlink(missing_ok=True)
        packed = {part: _packed(pixels_of(path, part), images) for part, images in parts.items()}
        tensor_files.write(path, {**packed, "notes": notes})
    except (OSError, RuntimeError) as error:  # torch reports a full disk as either
        _log.warning(_NOT_KEPT, path, error)
        for file in files:
            file.unlink(missing_ok=True)
    for file in files:
        log_of(file).unlink(missing_ok=True)
    for old in path.parent.glob(f"{name}-{'[0-9a-f]' * 16}.pt"):
        if not pixels_of(old, "train").exists():
            old.unlink(missing_ok=True)
            _log.warning("%s is of an earlier version, and was removed", old)


def _packed(pixels: Path, images: ImageSet) -> dict[str, Any]:
    shape = (images.channels, *images.images.shape[2:])
    if sum(block.images for block in blocks_of(pixels)) != len(images):  # not written by whoever built it
        with PixelWriter(pixels, shape, resume=False) as out:
            for some in torch.split(images.images, images_a_block(shape)):
                out.append(some)
        images.recall_mean_std(mean_std_of(out.counts))
    return {
        "shape": shape,
        "blocks": torch.tensor([[block.images, block.checksum] for block in blocks_of(pixels)]).view(-1, 2),
        "labels": images.labels,
        "class_names": _joined(images.class_names),
        "groups": None if images.groups is None else _joined(images.groups),
        "files": _joined(images.files),
        "mean_std": images.mean_std(),
    }


def _unpacked_splits(path: Path, name: str, stored: Mapping[str, Any], log: Log | None) -> Splits:
    train, val, test = (_unpacked(pixels_of(path, part), stored[part], log) for part in _PARTS)
    return Splits(train, val, test, name)


def _unpacked(pixels: Path, part: Mapping[str, Any], log: Log | None) -> ImageSet:
    channels, height, width = part["shape"]
    check(pixels, (channels, height, width), part["blocks"].tolist(), log)
    images = ImageSet(
        images=mapped(pixels, (channels, height, width)),
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
