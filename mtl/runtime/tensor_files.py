"""Files of tensors and plain containers: written whole, read only if every byte is as it was written.

`torch.save` writes a zip file with a CRC-32 for each of its records, and `torch.load` ignores them: a bit
that flipped on the disk would become another weight. Comparing them costs a fifth of a second for 200 MB.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from mtl.errors import one_line
from mtl.runtime.atomic import replacing, sync_folder
from mtl.runtime.torch_files import why_unreadable


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
