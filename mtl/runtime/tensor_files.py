"""Files that a run leaves, tensors and JSON: read only if they are as they were written.

`torch.save` writes a zip file with a CRC-32 for each record, and `torch.load` ignores them: a bit that
flipped on the disk would become another weight. Comparing them takes a fifth of a second for 200 MB.
"""

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

import torch
from pydantic import TypeAdapter, ValidationError

from mtl.errors import UserError, one_line
from mtl.runtime.outputs import replacing, sync_folder


class Damaged(ValueError):
    """A file that is not as `write` left it; the message says where."""


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Writes tensors and plain containers: after a kill or a power loss the old or the new file is whole."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(dict(content), file)
    sync_folder(path.parent)


def read(path: Path, mmap: bool = False) -> Any:
    """What `write` wrote, on the CPU; with `mmap` tensors stay in the file, and processes share their memory.

    No code in the file is ever run.

    Raises:
        OSError: it cannot be opened.
        Damaged: it was changed or cut short, or is of another kind.
    """
    with path.open("rb") as file:
        _check(file)
        file.seek(0)
        try:
            return torch.load(path if mmap else file, map_location="cpu", weights_only=True, mmap=mmap)
        except Exception as error:  # torch has no common class; its messages advise running the file's code
            raise Damaged(why_unreadable(path, error)) from None


def _check(file: IO[bytes]) -> None:
    """Compares the checksum of every record; Damaged if one differs, or the file is not of `torch.save`."""
    try:
        with zipfile.ZipFile(file) as archive:
            packed = any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist())
            bad = None if packed else archive.testzip()
    except Exception:  # a damaged directory raises errors of many classes
        raise Damaged("it was cut short, or is a file of another kind") from None
    if packed:
        raise Damaged("its records are not as this program stores them")
    if bad is not None:
        raise Damaged(f"record {one_line(bad)} has another checksum")


_MOST_NAMED = 3  # classes that a sentence names
_OTHER_KINDS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull",
    b"<": "is a web page, not the file itself; download it again",
}


def why_unreadable(path: Path, error: Exception) -> str:
    """Why `torch.load(path, weights_only=True)` failed, from the file itself or else from `error`.

    torch's own message has terminal codes, and advises loading the file in a way that runs code in it.
    """
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or type(error).__name__})"
    with suppress(OSError), path.open("rb") as file:
        head = file.read(64).lstrip()
        for start, what in _OTHER_KINDS.items():
            if head.startswith(start):
                return what
    if _is_script(path):
        return "is a TorchScript program, which is not read; save its state_dict() with torch.save"
    # the message has them for files from before torch 1.6
    if objects := _objects(path) or re.findall(r"GLOBAL ([\w.]+)", str(error)):
        more = f" and {len(objects) - _MOST_NAMED} more" if len(objects) > _MOST_NAMED else ""
        return (
            f"holds Python objects ({', '.join(map(one_line, objects[:_MOST_NAMED]))}{more}), which are not "
            "read since that would run code; save only model.state_dict()"
        )
    return "is damaged, or not a file of torch.save"


def _is_script(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _objects(path: Path) -> Sequence[str]:
    """The classes and functions that the file would call, except those that only make tensors."""
    try:
        return sorted(map(str, torch.serialization.get_unsafe_globals_in_checkpoint(path)))
    except Exception:  # a damaged file, or one from before torch 1.6
        return ()


def read_json(path: Path, kind: Any, way_out: str) -> Any:
    """The tree of a JSON file, which pydantic checks to have the type `kind`, without converting values.

    UserError if it cannot be read or has another shape; `way_out` says what a person can do about it.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        cause = "nested too deep" if isinstance(error, RecursionError) else str(error)[:100]
        raise UserError(f"{one_line(path)}: cannot be read ({cause}); {way_out}") from None
    if wrong := misshapen(tree, kind):
        raise UserError(f"{one_line(path)}: is damaged ({wrong}); {way_out}")
    return tree


_adapter = cache(TypeAdapter[Any])


def misshapen(tree: Any, kind: Any) -> str:
    """The first difference between a tree and a type, in a few words; empty if there is none."""
    try:
        _adapter(kind).validate_python(tree, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "model_type":
            first["msg"] = f"it holds a {type(first['input']).__name__}"
        place = ".".join(map(str, first["loc"]))[:100]
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return ""
