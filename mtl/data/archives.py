"""Archives given in place of folders: recognised, and the command that unpacks each."""

import shlex
from pathlib import Path

from mtl.errors import UserError, one_line

_COMMANDS = {
    ".zip": "unzip {file} -d {folder}",
    ".tar": "mkdir -p {folder} && tar -xf {file} -C {folder}",
    ".rar": "unrar x {file} {folder}/",
    ".7z": "7z x {file} -o{folder}",
}
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_BEGINNINGS = {b"PK\x03\x04": ".zip", b"Rar!\x1a\x07": ".rar", b"7z\xbc\xaf\x27\x1c": ".7z"}


def kind_of_archive(file: Path) -> str | None:
    """.zip, .tar, .rar or .7z, by name or else by content; None for anything that is not an archive."""
    name = file.name.lower()
    if name.endswith(_TARS):
        return ".tar"
    if (ending := file.suffix.lower()) in _COMMANDS:
        return ending
    try:
        with file.open("rb") as stream:
            head = stream.read(265)
    except OSError:
        return None
    if head[257:262] == b"ustar":
        return ".tar"
    return next((kind for start, kind in _BEGINNINGS.items() if head.startswith(start)), None)


def how_to_unpack(file: Path, kind: str, option: str) -> str:
    """The command that unpacks an archive, then the option that takes what was in it.

    Args:
        file: the archive.
        kind: as of `kind_of_archive`.
        option: how the user gives the folder, such as "--support " or "data.root=".
    """
    folder = unpacked(file)
    command = _COMMANDS[kind].format(file=shell_quoted(file), folder=shell_quoted(folder))
    return f"unpack it: {command}; then {option}{shell_quoted(folder)}"


def refuse_archive(file: Path, option: str) -> None:
    """
    Raises:
        UserError: the file is an archive; says how to unpack it.
    """
    if kind := kind_of_archive(file):
        raise UserError(f"{one_line(file)}: is an archive, not a folder; {how_to_unpack(file, kind, option)}")


def archive_beside(path: Path, option: str) -> str:
    """The end of a sentence about a missing folder: its archive is there; "" where it is not."""
    for kind, ending in ((".zip", ".zip"), *((".tar", e) for e in _TARS), (".rar", ".rar"), (".7z", ".7z")):
        file = path.with_name(path.name + ending)
        if path.name and file.is_file():
            return f"; {one_line(file)} is an archive: {how_to_unpack(file, kind, option)}"
    return ""


def unpacked(file: Path) -> Path:
    """The folder to unpack an archive into: beside it, of its name without the ending."""
    ending = max((e for e in _TARS if file.name.lower().endswith(e)), key=len, default=file.suffix)
    return file.with_name(file.name[: len(file.name) - len(ending)] if ending else f"{file.name}_unpacked")


def shell_quoted(path: Path) -> str:
    """A path as it can be pasted into a shell, on one line."""
    return shlex.quote(one_line(path))
