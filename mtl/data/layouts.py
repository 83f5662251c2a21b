"""The layouts in which people keep labelled pictures, and what to do with those that are not taken."""

import shlex
from pathlib import Path

from mtl.data.formats import COMMON
from mtl.data.listing import Contents, contents
from mtl.data.picture_lists import PART_NAMES, part_of
from mtl.errors import UserError, one_line

ASKED = "--pictures "  # the option of pictures that are not learned but asked
_INNER = frozenset({"image", "images", "imgs", "img", "picture", "pictures", "photos"})
_BOXES = frozenset({"labels", "annotations", "masks"})  # beside these, for object detection
_DEEPEST = 5  # folders that are followed down while each holds nothing but one folder


def home_of_class(folder: Path, inside: Contents) -> Path:
    """Where the pictures of a class lie: in its folder, or in `<class>/images` if that is all it holds."""
    if not inside.pictures and len(inside.folders) == 1 and inside.folders[0].name.lower() in _INNER:
        return inside.folders[0]
    return folder


def refuse_detection(folder: Path) -> None:
    """Checks that a folder is no set for object detection: `images` beside `labels` or `annotations`.

    Raises:
        UserError: it is one; its folders are no classes.
    """
    names = {inner.name.lower() for inner in _at(folder).folders}
    if names & _INNER and names & _BOXES and not names - _INNER - _BOXES:
        raise UserError(
            f"{one_line(folder)}: is a set for object detection (images beside labels); wanted is a folder "
            "for each class: export it for classification, or name the pictures in a CSV file with a row "
            "path,label for each"
        )


def split_folders(folder: Path) -> list[Path]:
    """The folders of train, val and test, by any usual name, that hold folders and no pictures."""
    found = [f for f in _at(folder).folders if part_of(f.name) and not _is_class(f) and _at(f).folders]
    return sorted(found, key=lambda f: [*PART_NAMES].index(f.name.strip().casefold()))


def advice(folder: Path, option: str) -> str:
    """Why a folder holds no `<class>/*`, and the command that takes its pictures.

    Args:
        folder: in which no class was found.
        option: how the user gave it, such as "--support " or "data.root=".
    """
    at = _at(folder)
    if archives := [(f, kind) for f in _files(folder) if (kind := kind_of_archive(f)) and not at.pictures]:
        file, kind = archives[0]
        return f"{one_line(file.name)} in it is an archive; {how_to_unpack(file, kind, option)}"
    if (deeper := _holder(folder)) is not None:
        return f"the classes are further down; give {option}{shell_quoted(deeper)}"
    if at.pictures:
        many = "1 picture" if len(at.pictures) == 1 else f"{len(at.pictures):,} pictures"
        example = one_line(folder / "ash" / at.pictures[0].name)
        return (
            f"it holds {many} and no classes; put the pictures of each class into a folder of its own, as "
            f"{example}, or {_as_list(folder, option)}"
        )
    if nested := [f for f in at.folders if _classes(f)]:
        return (
            f"the pictures are two folders down, as in {one_line(_classes(nested[0])[0])}; give "
            f"{option}{shell_quoted(nested[0])} for the classes in there, {_nested(option)}or "
            f"{_as_list(folder, option)}"
        )
    if lists := [f for f in _files(folder) if f.suffix.lower() in {".csv", ".tsv"}]:
        return (
            f"if {one_line(lists[0].name)} names pictures and labels, give {option}{shell_quoted(lists[0])}"
        )
    return ""


def advice_for_splits(folder: Path, parts: list[Path], option: str) -> str:
    """What to do with a folder that is divided into train, val and test where classes are wanted."""
    by = {part_of(part.name): part for part in parts}
    learn = by.get("train") or parts[0]
    asked = by.get("test") or by.get("val")
    names = ", ".join(one_line(part.name) for part in parts)
    text = f"it is divided into splits ({names}); "
    if option == ASKED:
        return f"{text}give {option}{shell_quoted(asked or learn)}"
    text += f"{option}{shell_quoted(learn)} learns its classes"
    if asked is None or asked == learn:
        return text
    return f"{text}, and score {ASKED}{shell_quoted(asked)} asks the classifier for the other pictures"


def _as_list(folder: Path, option: str) -> str:
    table = folder.with_name(f"{folder.name or 'pictures'}.csv")
    return f"name them in a CSV file with a row path,label for each and give {option}{shell_quoted(table)}"


def _nested(option: str) -> str:
    return "data.layout=nested for all of them, " if option.startswith("data.") else ""


def _holder(folder: Path) -> Path | None:
    """The folder of classes or splits that is the only thing in a folder, one or several steps down."""
    at, inside = folder, _at(folder)
    for _ in range(_DEEPEST):
        if inside.pictures or len(inside.folders) != 1:
            return None
        at = inside.folders[0]
        inside = _at(at)
        if _classes(at) or split_folders(at):
            return at
    return None


def _classes(folder: Path) -> list[Path]:
    """The folders in a folder that hold pictures."""
    return [inner for inner in _at(folder).folders if _is_class(inner)]


def _is_class(folder: Path) -> bool:
    return bool(_at(home_of_class(folder, _at(folder))).pictures)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    except OSError:
        return []


def _at(folder: Path) -> Contents:
    """What lies in a folder; nothing where it cannot be read, which other readers report."""
    try:
        return contents(folder)
    except UserError:
        return Contents((), (), {})


def no_classes(folder: Path, option: str, found: str) -> UserError:
    """The sentence for a folder in which no class has pictures.

    Args:
        folder, option: as of `advice`.
        found: what is in it instead, for a folder of which nothing better can be said.
    """
    parts = split_folders(folder)
    better = advice_for_splits(folder, parts, option) if parts else advice(folder, option)
    wanted = f"{one_line(folder)}: holds no class with pictures ({COMMON}); wanted is <folder>/<class>/*"
    return UserError(f"{wanted}, but {better or found or 'it is empty'}")


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
