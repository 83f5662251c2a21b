"""One process at a time: locks that the kernel releases when their holder ends, even by kill -9."""

import errno
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout
from filelock import LeaseCompromise as LostClaim

from mtl.errors import one_line
from mtl.runtime.progress import tell

_UNAVAILABLE = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
GRACE = 0.2  # seconds: longer than it takes a holder to remove its lock file
LEASE = 300.0  # seconds without a sign of life after which a lock file of another host is taken over
_MOUNTS = Path("/proc/self/mountinfo")  # Linux
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|afs|ceph|lustre|gpfs|beegfs|glusterfs|orangefs|pvfs2|9p|virtiofs|"
    r"fuse\.(sshfs|glusterfs|ceph|s3fs|rclone|gcsfuse|juicefs)"
)


class Locked(Exception):
    """Another process holds the lock; the message says which, on which host, what it does, since when."""


@contextmanager
def locked(path: Path, doing: str, wait: float = GRACE, keep: bool = True) -> Iterator[bool]:
    """Holds the lock `path` within the block; yields True at the first entry of a thread that enters again.

    The file `<path>.by` beside it says who holds it. On file systems without a `flock` that other hosts see,
    as NFS without a lock daemon, the lock is a file that exists, whose time its holder renews: one left by a
    dead process of this host is taken over at once, one of another host after `LEASE` seconds without a sign
    of life. A line says so.

    Args:
        path: of the lock file; its folder must exist.
        doing: the command that needs it, for the message to others.
        wait: seconds to wait for another holder.
        keep: leave the empty lock file in place afterwards. It stays anyway on network file systems: NFS
            keeps a removed file alive under another name for those that have it open.

    Raises:
        Locked: another process, or thread, holds it.
        OSError: the file cannot be made.
    """
    lock = _acquired(path.resolve(), wait)
    by = path.with_name(path.name + ".by")
    outermost = lock.lock_counter == 1
    try:
        if outermost:
            if isinstance(lock, SoftFileLease) and by.exists():  # its last holder did not remove it
                tell(f"{one_line(path.parent)}: taken over from {holder(path)}, which has ended")
            with suppress(OSError):  # it only informs
                since = time.strftime("%Y-%m-%d %H:%M:%S")
                me = f"process {os.getpid()} on {socket.gethostname()} ({doing}, since {since})"
                by.write_text(me, encoding="utf-8")
        yield outermost
    finally:
        if outermost:
            with suppress(OSError):
                by.unlink()
                if not keep and network_kind(path) is None:
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
            if _flock_is_local(path):
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
            # A singleton can be entered again by its thread; each thread has its own descriptor.
            lock: BaseFileLock = FileLock(path, is_singleton=True, fallback_to_soft=False)
            lock.acquire(timeout=wait)
        except OSError as error:
            if isinstance(error, Timeout) or error.errno not in _UNAVAILABLE:
                raise
            path = path.with_name(path.name + ".file")
            lock = SoftFileLease(path, is_singleton=True, lease_duration=LEASE, on_compromise=_end_at_once)
            _remove_stale(lock)
            lock.acquire(timeout=wait)
    except Timeout:
        who = holder(path.with_name(path.name.removesuffix(".file")))
        stale = f"; if it is no longer running, wait {LEASE / 60:.0f} minutes or remove {one_line(path)}"
        raise Locked(who + (stale if path.suffix == ".file" else "")) from None
    return lock


def _remove_stale(lock: SoftFileLease) -> None:
    """Removes a lock file that its holder, of whichever host, has ceased to renew.

    Times are those of the file server, so that clocks of hosts do not matter. Of several processes that find
    it one renames it; what proves to be another's new lock file is put back.
    """
    path = Path(lock.lock_file)
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with suppress(OSError):
        before, owner = path.stat(), lock.owner
        aside.touch()
        age = aside.stat().st_mtime - before.st_mtime
        if owner is not None and owner.mode == "lease" and age > LEASE:
            os.replace(path, aside)
            if not os.path.samestat(aside.stat(), before):
                os.link(aside, path)
    aside.unlink(missing_ok=True)


def _end_at_once(lost: LostClaim) -> None:
    """Ends a process whose lock file was taken over: two processes would write into one folder."""
    folder = one_line(Path(lost.lock_file).parent)
    tell(
        f"stopped: {folder}: another process took over, as this one did not renew its lock for {LEASE:.0f} s"
    )
    os._exit(1)


def network_kind(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The kind of network file system that `path` is on, as "nfs4"; None if it is local or unknown.

    The file need not exist; `mounts` has the format of Linux (proc(5), mountinfo).
    """
    kind = _mount(path, mounts)[0]
    return kind if _NETWORK.fullmatch(kind) else None


def _flock_is_local(path: Path, mounts: Path = _MOUNTS) -> bool:
    """True if the mount of `path` keeps `flock` from other hosts, as Lustre and NFS can."""
    return bool({"localflock", "local_lock=flock", "local_lock=all"} & {*_mount(path, mounts)[1].split(",")})


def _mount(path: Path, mounts: Path) -> tuple[str, str]:
    """Kind and options of the file system that `path` is on; "" where they are not known."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return "", ""
    real, best, found = os.path.realpath(path), "", ("", "")
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or not kinds:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        below = real == mount or real.startswith(mount.rstrip("/") + "/")
        if below and len(mount) >= len(best):  # of several at one place the last counts
            best, found = mount, (kinds[0], kinds[-1])
    return found
