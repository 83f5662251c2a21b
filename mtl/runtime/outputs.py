"""Files that a command writes: refused early if they cannot be written, then written whole or not at all."""

import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mtl.errors import UserError, one_line
from mtl.runtime.failures import about
from mtl.runtime.locks import Locked, holder, locked
from mtl.runtime.progress import tell

_LOCK_WAIT = 600.0  # seconds that a command waits for another that changes the same file
_STALE = 3600  # seconds after which a temporary file was left by a killed process


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path` to write to; when the block ends, flushes and renames the file.

    Whatever ends the process, `path` is the old file or the new one, whole. The name is random, so that
    processes on any host never write to the same file. After an error nothing is left behind, and the error
    names `path`; what a kill leaves is removed by a later write of the same file.
    """
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.tmp")
    try:
        with about(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        for leftover in leftovers(path):
            with suppress(OSError):
                if time.time() - leftover.stat().st_mtime > _STALE:
                    leftover.unlink()


def leftovers(path: Path) -> Iterator[Path]:
    """What killed processes left of `replacing(path)`; call it where no other process is writing the file."""
    start = f".{path.name[:40]}."
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(start) and entry.name.endswith(".tmp"):
                yield Path(entry.path)


def replace_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all; follows a link."""
    with replacing(path.resolve()) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all; UserError if it cannot be written."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(f"{one_line(path)}: cannot be written ({error.strerror})") from None


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on disk: otherwise a power loss may undo a renaming."""
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):  # some network file systems refuse
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_free(path: Path, endings: Sequence[str] = (), overwrite: bool = False) -> None:
    """Checks that a file can be written, before any work is done for it.

    Raises:
        UserError: its folder is missing or not writable, it is a folder, has none of these endings (case
            does not matter), or exists and may not be overwritten.
    """
    shown, folder = one_line(path), path.parent
    if endings and path.suffix.lower() not in endings:
        raise UserError(f"{shown}: must end in {' or '.join(endings)}")
    if path.is_dir():
        raise UserError(f"{shown}: is a folder, not a file to write")
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
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
        remove_empty(made[::-1])


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes folders, innermost first, as far as they are empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def require_not_read(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Checks that none of the outputs is one of the files that are read.

    Raises:
        UserError: one is.
    """
    sources = {os.path.realpath(path) for path in inputs}
    for path in outputs:
        if os.path.realpath(path) in sources:
            raise UserError(f"{one_line(path)}: is one of the pictures that are read; --out writes elsewhere")


@contextmanager
def claimed(path: Path, command: str, wait: bool = False, patience: float = _LOCK_WAIT) -> Iterator[None]:
    """Keeps other processes that claim the same file from it, from before the work until it is written.

    Args:
        path: of the file; if its folder is not writable nothing is claimed, and `require_free` says why.
        command: that writes it, for the message to others.
        wait: until another process is done; otherwise it is refused.
        patience: seconds to wait at most.

    Raises:
        UserError: another process has claimed it.
    """
    target = Path(os.path.realpath(path))
    name = (
        target.name if len(target.name) < 50 else hashlib.blake2b(os.fsencode(target.name)).hexdigest()[:16]
    )
    lock = target.with_name(f".{name}.lock")
    with ExitStack() as until_done:
        try:
            if not target.parent.is_dir():  # the lock would make it
                raise NotADirectoryError
            try:
                until_done.enter_context(locked(lock, command, keep=False))
            except Locked:
                if not wait:
                    raise
                tell(f"{one_line(path)}: waits for {holder(lock)}")
                until_done.enter_context(locked(lock, command, patience, keep=False))
        except Locked as other:
            raise UserError(f"{one_line(path)}: {other} is writing it; wait until it has ended") from None
        except OSError:
            pass
        yield
