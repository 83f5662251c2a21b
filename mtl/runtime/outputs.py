"""Files that a command writes: refused before the work where they cannot be, and then whole or not at all."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from mtl.errors import UserError, one_line


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
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UserError(f"{one_line(path)}: cannot be written ({error.strerror})") from None
