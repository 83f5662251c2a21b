"""One process at a time: locks that the kernel releases when their holder ends, even by kill -9."""

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from mtl.errors import one_line

_UNAVAILABLE = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_GRACE = 0.2  # seconds: longer than it takes a holder to remove its lock file
_MOUNTS = Path("/proc/self/mountinfo")  # Linux
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|afs|ceph|lustre|gpfs|beegfs|glusterfs|orangefs|pvfs2|9p|virtiofs|"
    r"fuse\.(sshfs|glusterfs|ceph|s3fs|rclone|gcsfuse|juicefs)"
)


class Locked(Exception):
    """Another process holds the lock; the message says which, on which host, what it does, since when."""


@contextmanager
def locked(path: Path, doing: str, wait: float = 0.0, keep: bool = True) -> Iterator[bool]:
    """Holds the lock `path` within the block; yields True at the first entry of a thread that enters again.

    The file `<path>.by` beside it says who holds it. On file systems without `flock`, as NFS without a lock
    daemon, the lock is a file that exists: one left by a dead process of this host is taken over, one of
    another host has to be removed by hand, and the message says so.

    Args:
        path: of the lock file; its folder must exist.
        doing: the command that needs it, for the message to others.
        wait: seconds to wait for another holder.
        keep: leave the empty lock file in place afterwards. Removing it is safe except on NFS, which keeps a
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
                since = time.strftime("%Y-%m-%d %H:%M:%S")
                me = f"process {os.getpid()} on {socket.gethostname()} ({doing}, since {since})"
                by.write_text(me, encoding="utf-8")
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
            # A singleton can be entered again by its thread; each thread has its own descriptor.
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


def network_kind(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The kind of network file system that `path` is on, as "nfs4"; None if it is local or unknown.

    The file need not exist; `mounts` has the format of Linux (proc(5), mountinfo).
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real, best, kind = os.path.realpath(path), "", None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or not kinds:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        below = real == mount or real.startswith(mount.rstrip("/") + "/")
        if below and len(mount) >= len(best):  # of several at one place the last counts
            best, kind = mount, kinds[0]
    return kind if kind is not None and _NETWORK.fullmatch(kind) else None
