"""One process at a time: locks that the kernel releases when their holder ends, even by kill -9."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from mtl.errors import one_line

_UNAVAILABLE = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_GRACE = 0.2  # seconds: longer than it takes a holder to remove its lock file


class Locked(Exception):
    """Another process holds the lock; the message says which, on which host, what it does, since when."""


@contextmanager
def locked(path: Path, doing: str, wait: float = 0.0, keep: bool = True) -> Iterator[bool]:
    """Holds the lock `path` within the block; a thread that holds it already may enter again.

    Yields whether this is the first entry.

    Beside it lies `<path>.by`, which says who holds it. On file systems without `flock`, as NFS without a
    lock daemon, the lock is a file that exists: one left by a dead process of this host is taken over, one
    of another host has to be removed by hand, and the message says so.

    Args:
        path: of the lock file; its folder must exist.
        doing: the command that needs it, for the message to others.
        wait: for how many seconds to wait for another holder.
        keep: leave the empty lock file in place afterwards. Removing it is safe but on NFS, which keeps a
            removed file alive under another name for those that have it open.

    Raises:
        Locked: another process, or thread, holds it.
        OSError: the file cannot be made.
    """
    lock = _acquired(path.resolve(), wait)
    by = path.with_name(path.name + ".by")
    outermost = lock.lock_counter == 1
    try:
        if outermost:
            with suppress(OSError):  # it only informs
                by.write_text(_me(doing), encoding="utf-8")
        yield outermost
    finally:
        if outermost:
            with suppress(OSError):
                by.unlink()
                if not keep:
                    path.unlink()
        lock.release()


def holder(path: Path) -> str:
    """Who holds the lock `path`, as its holder wrote it down."""
    with suppress(OSError, UnicodeDecodeError):
        if text := path.with_name(path.name + ".by").read_text(encoding="utf-8"):
            return one_line(text[:300])
    return "another process"


def _acquired(path: Path, wait: float) -> BaseFileLock:
    try:
        try:
            # A singleton can be entered again by its thread; each thread has a descriptor of its own.
            lock: BaseFileLock = FileLock(path, is_singleton=True, fallback_to_soft=False)
            lock.acquire(timeout=wait + _GRACE)
        except OSError as error:
            if isinstance(error, Timeout) or error.errno not in _UNAVAILABLE:
                raise
            path = path.with_name(path.name + ".file")
            lock = SoftFileLock(path, is_singleton=True)
            lock.acquire(timeout=wait + _GRACE)
    except Timeout:
        who = holder(path.with_name(path.name.removesuffix(".file")))
        stale = f"; if it is no longer running, remove {one_line(path)}" if path.suffix == ".file" else ""
        raise Locked(f"{who}{stale}") from None
    return lock


def _me(doing: str) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"process {os.getpid()} on {socket.gethostname()} ({doing}, since {since})"
