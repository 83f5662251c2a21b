"""Why a file that torch.load refuses cannot be read, in plain words and without running anything in it."""

import re
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from mtl.errors import one_line

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
