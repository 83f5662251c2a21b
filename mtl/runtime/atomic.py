"""Files that appear whole or not at all, whoever writes or is killed meanwhile."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a new name beside `path` to write to, and renames it to `path` when the block ends.

    The name is random, so that processes on any host never write to the same file. After an error nothing
    is left behind; after a kill the new name is, see `leftovers`.
    """
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


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
