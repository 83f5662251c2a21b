"""Folders of labelled pictures: what is in them, the layouts people have, and what to do with other ones.

Listings are sorted. Hidden names do not count, nor do folders that systems and file servers keep for
themselves.
"""

import os
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mtl.data.formats import COMMON, EXTENSIONS
from mtl.errors import UserError, counted, one_line

Part = Literal["train", "val", "test"]
#: What people call the three splits.
PART_NAMES: dict[str, Part] = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "dev": "val"},
    **{"test": "test", "testing": "test"},
}
PICTURES_OPTION = "--pictures "  # of pictures that are classified, not learned

#: Waste baskets, thumbnails and the like, in lower case: what hides them is not a dot but a convention.
_SYSTEM = frozenset(
    {
        *("@eadir", "@recycle", "@recently-snapshot", "@tmp", "@__thumb", "#recycle", "#snapshot"),
        *("$recycle.bin", "$extend", "system volume information", "lost+found", "__macosx"),
        *("network trash folder", "temporary items", "thevolumesettingsfolder"),
    }
)
_REPAIRED = re.compile(r"found\.\d{3}")  # by Windows on a disk
_INNER = frozenset({"image", "images", "imgs", "img", "picture", "pictures", "photos"})
_BOXES = frozenset({"labels", "annotations", "masks"})  # beside these, for object detection
_DEEPEST = 5  # folders that are followed down while each holds nothing but one folder
_COMMANDS = {
    ".zip": "unzip {file} -d {folder}",
    ".tar": "mkdir -p {folder} && tar -xf {file} -C {folder}",
    ".rar": "unrar x {file} {folder}/",
    ".7z": "7z x {file} -o{folder}",
}
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_BEGINNINGS = {b"PK\x03\x04": ".zip", b"Rar!\x1a\x07": ".rar", b"7z\xbc\xaf\x27\x1c": ".7z"}


@dataclass(frozen=True)
class Contents:
    """What is not hidden in a folder, sorted by name."""

    pictures: tuple[Path, ...] = ()  # files with the ending of a picture, and links to such
    folders: tuple[Path, ...] = ()  # and links to folders
    odd: Mapping[Path, str] = field(default_factory=dict)  # links to nowhere, pipes named as a picture: why
    system: tuple[Path, ...] = ()  # folders of computers and file servers
    others: tuple[Path, ...] = ()  # files of other kinds


def contents(folder: Path, problems: list[str] | None = None) -> Contents:
    """What is right in a folder.

    Args:
        folder: to look into.
        problems: gets a sentence on each thing that is odd, and on a folder that cannot be read.

    Raises:
        UserError: without `problems`, the folder cannot be read.
    """
    pictures, folders, system, others, odd = [], [], [], [], dict[Path, str]()
    try:
        with os.scandir(folder) as entries:
            for entry in sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name):
                path = folder / entry.name
                if is_system(entry.name) and os.path.isdir(path):
                    system.append(path)
                elif is_image_file(entry):
                    pictures.append(path)
                elif os.path.isdir(path):
                    folders.append(path)
                elif not os.path.exists(path):
                    odd[path] = "is a link that leads nowhere"
                elif os.path.isfile(path):
                    others.append(path)
                elif _is_named_as_picture(entry.name):
                    odd[path] = "is not a file"
    except OSError as error:
        message = f"{one_line(folder)}: cannot be read ({error.strerror})"
        if problems is None:
            raise UserError(message) from None
        problems.append(f"{message}; it is left out")
        return Contents()
    if problems is not None:
        problems += [f"{one_line(path)}: {why}; it is passed over" for path, why in odd.items()]
    return Contents(tuple(pictures), tuple(folders), odd, tuple(system), tuple(others))


def class_contents(folder: Path, problems: list[str] | None = None) -> tuple[Path, Contents]:
    """The folder that the pictures of a class are in, and its `contents`.

    It is the folder of the class, or `<class>/images` if that is all it holds.
    """
    inside = contents(folder, problems)
    if inside.pictures or len(inside.folders) != 1 or inside.folders[0].name.lower() not in _INNER:
        return folder, inside
    return inside.folders[0], contents(inside.folders[0], problems)


def is_system(name: str) -> bool:
    """True if a folder of this name, in any case of letters, is of an operating system or a file server."""
    plain = name.casefold()
    return plain in _SYSTEM or _REPAIRED.fullmatch(plain) is not None


def is_image_file(entry: os.DirEntry[str]) -> bool:
    """True for a file, or a link to one, that has the ending of a picture and is not hidden."""
    if entry.name.startswith(".") or not _is_named_as_picture(entry.name):
        return False
    with suppress(OSError):  # a link to itself
        return entry.is_file()
    return False


def _is_named_as_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def image_files(folder: Path) -> list[Path]:
    """The images of a class folder.

    Raises:
        UserError: there are none, or it cannot be read.
    """
    if not (files := contents(folder).pictures):
        raise UserError(f"{one_line(folder)}: the class holds no images ({COMMON})")
    return list(files)


def class_folders(folder: Path) -> list[Path]:
    """The folders below `folder`, and links to folders."""
    return list(contents(folder).folders)


def part_of(name: str) -> Part | None:
    """train, val or test where a name means one of them, in any case of letters."""
    return PART_NAMES.get(name.strip().casefold())


def refuse_detection(root: Path) -> None:
    """
    Raises:
        UserError: a folder, or one of a split in it, is a set for object detection, `images` beside `labels`
            or `annotations`, which are not classes.
    """
    for folder in (root, *(f for f in contents(root, []).folders if part_of(f.name))):
        names = {inner.name.lower() for inner in contents(folder, []).folders}
        if names & _INNER and names & _BOXES and not names - _INNER - _BOXES:
            raise UserError(
                f"{one_line(folder)}: is a set for object detection (images beside labels), but a folder for "
                "each class is needed; export it for classification, or name the pictures in a CSV file with "
                "a row path,label for each"
            )


def no_classes(folder: Path, option: str, left_out: str) -> UserError:
    """The error for a folder in which no class has pictures, but only what was `left_out`, with `advice`."""
    splits = _splits(folder)
    better = _advice_on_splits(splits, option) if splits else advice(folder, option)
    wanted = f"{one_line(folder)}: holds no class with pictures ({COMMON}); wanted is <folder>/<class>/*"
    return UserError(f"{wanted}, but {better or left_out or 'it is empty'}")


def advice(folder: Path, option: str) -> str:
    """Why a folder holds no `<class>/*`, and the command that takes its pictures; "" where nothing is known.

    Args:
        folder: in which no class was found.
        option: how the user gave it, such as "--support " or "data.root=".
    """
    inside = contents(folder, [])
    table = shell_quoted(folder.with_name(f"{folder.name or 'pictures'}.csv"))
    as_list = f"name them in a CSV file with a row path,label for each and give {option}{table}"
    archive = next((file for file in inside.others if kind_of_archive(file)), None)
    if archive and not inside.pictures:
        return f"{one_line(archive.name)} in it is an archive; {_how_to_unpack(archive, option)}"
    if (deeper := _only_folder_of_classes(folder)) is not None:
        return f"the classes are further down; give {option}{shell_quoted(deeper)}"
    if inside.pictures:
        example = one_line(folder / "ash" / inside.pictures[0].name)
        return (
            f"it holds {counted(len(inside.pictures), 'picture')} and no classes; put the pictures of each "
            f"class into a folder named after it, as {example}, or {as_list}"
        )
    if group := next((inner for inner in inside.folders if _classes(inner)), None):
        nested = "data.layout=nested for all of them, " if option.startswith("data.") else ""
        return (
            f"the pictures are two folders down, as in {one_line(_classes(group)[0])}; give "
            f"{option}{shell_quoted(group)} for the classes in there, {nested}or {as_list}"
        )
    if listed := next((file for file in inside.others if file.suffix.lower() in {".csv", ".tsv"}), None):
        return f"if {one_line(listed.name)} names pictures and labels, give {option}{shell_quoted(listed)}"
    return ""


def _advice_on_splits(splits: list[Path], option: str) -> str:
    """What to do with a folder that is divided into train, val and test where classes are wanted."""
    by_part = {part_of(split.name): split for split in splits}
    learn = by_part.get("train") or splits[0]
    others = by_part.get("test") or by_part.get("val") or learn
    text = f"it is divided into splits ({', '.join(one_line(split.name) for split in splits)}); "
    if option == PICTURES_OPTION:
        return f"{text}give {option}{shell_quoted(others)}"
    text += f"{option}{shell_quoted(learn)} learns its classes"
    if others == learn:
        return text
    return f"{text}, and score {PICTURES_OPTION}{shell_quoted(others)} counts the right answers"


def _only_folder_of_classes(folder: Path) -> Path | None:
    """The folder of classes or splits that is the only thing in a folder, one or several steps down."""
    for _ in range(_DEEPEST):
        inside = contents(folder, [])
        if inside.pictures or len(inside.folders) != 1:
            return None
        folder = inside.folders[0]
        if _classes(folder) or _splits(folder):
            return folder
    return None


def _classes(folder: Path) -> list[Path]:
    """The folders in a folder that are classes with pictures."""
    return [inner for inner in contents(folder, []).folders if class_contents(inner, [])[1].pictures]


def _splits(folder: Path) -> list[Path]:
    """The folders of train, val and test in a folder without classes, in this order, if they hold folders."""
    splits = [f for f in contents(folder, []).folders if part_of(f.name) and contents(f, []).folders]
    return sorted(splits, key=lambda f: [*PART_NAMES].index(f.name.strip().casefold()))


def kind_of_archive(file: Path) -> str | None:
    """.zip, .tar, .rar or .7z, by name or else by content; None for anything that is not an archive."""
    if file.name.lower().endswith(_TARS):
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


def refuse_archive(file: Path, option: str) -> None:
    """
    Raises:
        UserError: the file is an archive; says how to unpack it.
    """
    if kind_of_archive(file):
        raise UserError(f"{one_line(file)}: is an archive, not a folder; {_how_to_unpack(file, option)}")


def archive_beside(path: Path, option: str) -> str:
    """The end of a sentence about a missing folder: its archive is there; "" where it is not."""
    for ending in (".zip", *_TARS, ".rar", ".7z"):
        file = path.with_name(path.name + ending)
        if path.name and file.is_file():
            return f"; {one_line(file)} is an archive: {_how_to_unpack(file, option)}"
    return ""


def _how_to_unpack(file: Path, option: str) -> str:
    """The command that unpacks an archive beside it, then the option that takes what was in it."""
    ending = max((e for e in _TARS if file.name.lower().endswith(e)), key=len, default=file.suffix)
    name = file.name[: len(file.name) - len(ending)] if ending else f"{file.name}_unpacked"
    folder = shell_quoted(file.with_name(name))
    command = _COMMANDS[kind_of_archive(file) or ".zip"].format(file=shell_quoted(file), folder=folder)
    return f"unpack it: {command}; then {option}{folder}"


def shell_quoted(path: Path) -> str:
    """A path as it can be pasted into a shell, on one line."""
    return shlex.quote(one_line(path))
