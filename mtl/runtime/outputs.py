"""Files that a command writes: refused before the work where they cannot be, and then whole or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mtl.errors import UserError, one_line
from mtl.runtime.atomic import replacing
from mtl.runtime.locks import Locked, holder, locked
from mtl.runtime.progress import tell

_PATIENCE = 600.0  # seconds that a command waits for another that changes the same file


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


@contextmanager
def claimed(path: Path, command: str, wait: bool = False) -> Iterator[None]:
    """Keeps other processes that claim the same file from it, from before the work until it is written.

    Args:
        path: of the file; where its folder cannot be written into, nothing is claimed, and `require_free`
            says why it cannot be written.
        command: that writes it, for the message to others.
        wait: until another process is done; otherwise it is refused.

    Raises:
        UserError: another process has claimed it.
    """
    place = Path(os.path.realpath(path))
    name = place.name if len(place.name) < 50 else hashlib.blake2b(os.fsencode(place.name)).hexdigest()[:16]
    lock = place.with_name(f".{name}.lock")
    with ExitStack() as until_done:
        try:
            if not place.parent.is_dir():  # which the lock would make
                raise NotADirectoryError
            try:
                until_done.enter_context(locked(lock, command, keep=False))
            except Locked:
                if not wait:
                    raise
                tell(f"{one_line(path)}: waits for {holder(lock)}")
                until_done.enter_context(locked(lock, command, _PATIENCE, keep=False))
        except Locked as other:
            raise UserError(f"{one_line(path)}: {other} is writing it; wait until it has ended") from None
        except OSError:
            pass
        yield
