"""What kind of file system a path lies on."""

import os
import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")  # Linux
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|afs|ceph|lustre|gpfs|beegfs|glusterfs|orangefs|pvfs2|9p|virtiofs|"
    r"fuse\.(sshfs|glusterfs|ceph|s3fs|rclone|gcsfuse|juicefs)"
)


def network_kind(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The kind of network file system that `path` lies on, as "nfs4"; None on a local one, or where unknown.

    Args:
        path: of a file that need not exist.
        mounts: the table of mounts, in the format of Linux (proc(5), mountinfo).
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    place, best, kind = os.path.realpath(path), "", None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or not kinds:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        if _below(place, mount) and len(mount) >= len(best):  # of several at one place the last counts
            best, kind = mount, kinds[0]
    return kind if kind is not None and _NETWORK.fullmatch(kind) else None


def _below(place: str, folder: str) -> bool:
    return place == folder or place.startswith(folder.rstrip("/") + "/")
