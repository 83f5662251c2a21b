"""Files that appear whole or not at all, whoever writes or is killed meanwhile."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mtl.runtime.failures import about

_LEFT_BEHIND = 3600  # seconds after which a temporary file is one that a killed process has left


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a new name beside `path` to write to; when the block ends the file is flushed and renamed.

    Whatever ends the process, `path` is the old file or the new one, whole. The name is random, so that
    processes on any host never write to the same file. After an error nothing is left behind, and the error
    names `path`; what a kill leaves is removed by a later write of the same file, see `leftovers`.
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
        for left in leftovers(path):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT_BEHIND:
                    left.unlink()


def leftovers(path: Path) -> Iterator[Path]:
    """What killed processes left of `replacing(path)`: to be called where no other process is writing it."""
    start = f".{path.name[:40]}."
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(start) and entry.name.endswith(".tmp"):
                yield Path(entry.path)


def replace_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all; where `path` is a link, the file that it leads to."""
    with replacing(path.resolve()) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk: a loss of power may otherwise undo a renaming."""
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):  # some network file systems refuse
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
