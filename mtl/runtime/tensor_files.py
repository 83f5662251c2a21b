"""Files of tensors and plain containers: written whole, read only if every byte is as it was written.

`torch.save` writes a zip file with a CRC-32 for each of its records, and `torch.load` ignores them: a bit
that flipped on the disk would become another weight. Comparing them costs a fifth of a second for 200 MB.
"""

import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from mtl.errors import one_line
from mtl.runtime.atomic import replacing, sync_folder


class Damaged(ValueError):
    """A file that is not as `write` left it; the message says where."""


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Writes beside `path`, flushes, then renames: after a kill or a loss of power, old or new is whole."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(dict(content), file)
    sync_folder(path.parent)


def read(path: Path, mmap: bool = False) -> Any:
    """What `write` wrote, on the CPU. Nothing that a file holds is ever run.

    Args:
        path: of the file.
        mmap: leave tensors in the file, where processes share their memory.

    Raises:
        OSError: it cannot be opened.
        Damaged: it was changed or cut short, or is of another kind.
    """
    with path.open("rb") as file:
        _check(file)
        file.seek(0)
        try:
            return torch.load(path if mmap else file, map_location="cpu", weights_only=True, mmap=mmap)
        except Exception as error:  # torch names no common class; its words advise to run what a file holds
            raise Damaged(why_unreadable(path, error)) from None


def _check(file: IO[bytes]) -> None:
    """Compares the checksum of every record.

    Raises:
        Damaged: one differs, or this is no file of `torch.save`.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
                raise Damaged("its records are not as this program stores them")
            bad = archive.testzip()
    except Damaged:
        raise
    except Exception:  # a damaged directory provokes errors of many classes
        raise Damaged("it was cut short, or is a file of another kind") from None
    if bad is not None:
        raise Damaged(f"record {one_line(bad)} has another checksum")


_NAMED = 3  # classes that a sentence names
_OTHERS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull",
    b"<": "is a web page, not the file itself; download it again",
}


def why_unreadable(path: Path, error: Exception) -> str:
    """What `torch.load(path, weights_only=True)` stumbled over.

    torch's own text has terminal codes, and advises to load the file in a way that runs code in it.

    Args:
        path: of a file that is there.
        error: that was raised; used where the file itself says nothing.
    """
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or type(error).__name__})"
    with suppress(OSError), path.open("rb") as file:
        head = file.read(64).lstrip()
        for start, what in _OTHERS.items():
            if head.startswith(start):
                return what
    if _is_script(path):
        return "is a TorchScript program, which is not read; save its state_dict() with torch.save"
    if objects := _objects(path) or re.findall(r"GLOBAL ([\w.]+)", str(error)):  # the latter from old files
        more = f" and {len(objects) - _NAMED} more" if len(objects) > _NAMED else ""
        return (
            f"holds Python objects ({', '.join(map(one_line, objects[:_NAMED]))}{more}), which are not read "
            "since that would run code; save model.state_dict() alone"
        )
    return "is damaged, or not a file of torch.save"


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _objects(path: Path) -> Sequence[str]:
    """The classes and functions that the file would call, but for those that only make tensors."""
    try:
        return sorted(map(str, torch.serialization.get_unsafe_globals_in_checkpoint(path)))
    except Exception:  # a damaged file, or one from before torch 1.6
        return ()
