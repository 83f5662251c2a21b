"""What lies in folders of pictures: sorted, whatever the file system's order, and odd things by name."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mtl.data.formats import COMMON, EXTENSIONS
from mtl.errors import UserError, one_line

#: Waste baskets, thumbnails and the like, in lower case: what hides them is not a dot but a convention.
_SYSTEM = frozenset(
    {
        *("@eadir", "@recycle", "@recently-snapshot", "@tmp", "@__thumb", "#recycle", "#snapshot"),
        *("$recycle.bin", "$extend", "system volume information", "lost+found", "__macosx"),
        *("network trash folder", "temporary items", "thevolumesettingsfolder"),
    }
)
_FOUND = re.compile(r"found\.\d{3}")  # what Windows repaired on a disk


@dataclass(frozen=True)
class Contents:
    """What is not hidden in a folder, sorted by name; files of other kinds do not count."""

    pictures: tuple[Path, ...]  # files with the ending of a picture, and links to such
    folders: tuple[Path, ...]  # and links to folders
    odd: Mapping[
        Path, str
    ]  # what leads nowhere, or is called a picture and is no file: what is wrong with it
    system: tuple[Path, ...] = ()  # folders that computers and file servers keep among those of people


def contents(folder: Path) -> Contents:
    """What lies right in a folder.

    Raises:
        UserError: it cannot be read.
    """
    pictures, folders, odd, system = [], [], dict[Path, str](), []
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
                elif _is_called_a_picture(entry.name):
                    odd[path] = "is no file"
    except OSError as error:
        raise UserError(f"{one_line(folder)}: cannot be read ({error.strerror})") from None
    return Contents(tuple(pictures), tuple(folders), odd, tuple(system))


def is_system(name: str) -> bool:
    """Whether a folder of this name, in any case of letters, is of an operating system or a file server."""
    plain = name.casefold()
    return plain in _SYSTEM or _FOUND.fullmatch(plain) is not None


def image_files(folder: Path) -> list[Path]:
    """The images of a class folder, sorted by name; hidden files, folders and other kinds are passed over.

    Raises:
        UserError: it holds none, or cannot be read.
    """
    if not (files := contents(folder).pictures):
        raise UserError(f"{one_line(folder)}: the class holds no images ({COMMON})")
    return list(files)


def class_folders(folder: Path) -> list[Path]:
    """The folders below `folder`, and links to folders, sorted by name; hidden ones are passed over.

    Raises:
        UserError: it cannot be read.
    """
    return list(contents(folder).folders)


def is_image_file(entry: os.DirEntry[str]) -> bool:
    """Whether this is a file, or a link to one, that bears the name of a picture and is not hidden."""
    if entry.name.startswith(".") or not _is_called_a_picture(entry.name):
        return False
    with suppress(OSError):  # a link to itself
        return entry.is_file()
    return False


def _is_called_a_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS
