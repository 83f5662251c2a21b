"""Files that a command writes: refused before the work where they cannot be, and then whole or not at all."""

import glob
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mtl.errors import UserError, one_line
from mtl.runtime.failures import about

_LEFT_BEHIND = 3600  # seconds after which a temporary file is one that a killed process has left


def require_free(path: Path, endings: Sequence[str] = (), overwrite: bool = False) -> None:
    """Checks that a file can be written, before any work is done for it.

    Raises:
        UserError: its folder is missing or cannot be written into, it is a folder, has another ending than
            these (the case of letters does not count), or is there already and may not be overwritten.
    """
    shown, folder = one_line(path), path.parent
    if endings and path.suffix.lower() not in endings:
        raise UserError(f"{shown}: must end in {' or '.join(endings)}")
    if path.is_dir():
        raise UserError(f"{shown}: is a folder, not a file to write")
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise UserError(f"{shown}: cannot be written, the folder {one_line(folder)} {what}")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{shown}: is there already; --overwrite replaces it, --out writes elsewhere")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{shown}: cannot be written ({error.strerror})") from None


def require_folder(path: Path) -> None:
    """Checks that files can be written into a folder, which may be missing; leaves nothing behind.

    Raises:
        UserError: it cannot be made or written into.
    """
    made: list[Path] = []
    try:
        missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
        for folder in reversed(missing):
            folder.mkdir()
            made.append(folder)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        cause = "a file is in the way" if isinstance(error, NotADirectoryError) else error.strerror
        raise UserError(
            f"{one_line(path)[:300]}: no folder can be written there ({cause}); checkpoints=DIR and run=NAME "
            "say where a run goes"
        ) from None
    finally:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()


def require_not_read(outputs: Iterable[Path], read: Iterable[Path]) -> None:
    """Checks that nothing is written over what is read.

    Raises:
        UserError: one of the outputs is one of the files that are read.
    """
    sources = {os.path.realpath(path) for path in read}
    for path in outputs:
        if os.path.realpath(path) in sources:
            raise UserError(f"{one_line(path)}: is one of the pictures that are read; --out writes elsewhere")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, to be written within the block; then it is flushed and renamed.

    Whatever ends the process, `path` is the old file or the new one, whole; two that write it at once do not
    mix. Nothing is left behind where the block or the disk fails, and the error then names `path`; what a
    kill leaves is removed by a later write of the same file.
    """
    temporary = path.with_name(f"{_stem(path)}{os.getpid()}.tmp")
    try:
        with about(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        _remove_left_behind(path)


def _stem(path: Path) -> str:
    """How the temporary files of `path` begin: hidden, and no longer than names may be."""
    return f".{os.fsdecode(os.fsencode(path.name)[:200])}."


def _remove_left_behind(path: Path) -> None:
    with suppress(OSError):
        for old in path.parent.glob(f"{glob.escape(_stem(path))}*.tmp"):
            if time.time() - old.stat().st_mtime > _LEFT_BEHIND:
                old.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside `path`, then renames it.

    Raises:
        UserError: it cannot be written; nothing is left behind.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(f"{one_line(path)}: cannot be written ({error.strerror})") from None
