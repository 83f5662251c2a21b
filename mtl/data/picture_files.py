"""Which files a person means: a support folder `<class>/*`, and pictures by folder, pattern or name."""

import difflib
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl.data.class_names import require_told_apart
from mtl.data.formats import COMMON
from mtl.data.listing import Contents, contents
from mtl.errors import UserError, one_line

_MAGIC = "*?["
_NEAR = 0.6  # of the letters of the longer name: two that share so many are near each other


@dataclass(frozen=True)
class ClassFiles:
    """The files of a support folder."""

    files: dict[str, tuple[Path, ...]]  # by class, both sorted; no class is empty
    left_out: tuple[str, ...]  # what holds no pictures of a class, a sentence each


@dataclass(frozen=True)
class PictureFiles:
    """The pictures that are to be answered."""

    files: tuple[Path, ...]  # sorted, each once
    left_out: tuple[str, ...]  # what cannot be searched, a sentence each


def support_files(folder: Path) -> ClassFiles:
    """The pictures right in each folder below `folder`; a class's name is that of its folder.

    Hidden files and folders, and files that are no pictures by their ending, are passed over. Folders in a
    class are not looked into, and said to be there.

    Raises:
        UserError: there is no such folder, it holds no class with pictures, or two whose names look the same.
    """
    if not os.path.isdir(folder):
        raise UserError(_missing(folder, "folder"))
    files: dict[str, tuple[Path, ...]] = {}
    left_out: list[str] = []
    at = _looked_into(folder, left_out)
    for inner in at.folders:
        found = _looked_into(inner, left_out)
        if found.pictures:
            files[inner.name] = found.pictures
        else:
            left_out.append(f"{one_line(inner)}: holds no pictures; the class is left out")
        if deeper := len(found.folders):
            many = "1 folder in it is" if deeper == 1 else f"{deeper:,} folders in it are"
            told = f"{many} not looked into; pictures lie right in <class>/"
            left_out.append(f"{one_line(inner)}: {told}")
    if loose := len(at.pictures):
        many = "1 picture lies" if loose == 1 else f"{loose:,} pictures lie"
        left_out.append(f"{one_line(folder)}: {many} beside the folders of the classes, and of no class")
    if not files:
        what = "; ".join(left_out) or "it is empty"
        raise UserError(
            f"{one_line(folder)}: holds no class with pictures ({COMMON}); wanted is <folder>/<class>/*, "
            f"but {what}"
        )
    require_told_apart(files, folder)
    return ClassFiles(files, tuple(left_out))


def query_files(sources: Sequence[str]) -> PictureFiles:
    """The pictures of folders, patterns and single files, sorted by path, each once.

    A folder is searched with all that lies below it; there hidden files, and files that are no pictures by
    their ending, are passed over. What is named itself, or met by a pattern, is taken whatever its ending.

    Args:
        sources: paths; one that does not exist and has *, ? or [ in it is a pattern.

    Raises:
        UserError: there is no such file, nothing fits a pattern, or there is no picture at all.
    """
    left_out: list[str] = []
    found: dict[str, Path] = {}
    for source in sources:
        for path in _meant(source):
            for file in _below(path, left_out) if os.path.isdir(path) else [_a_file(path)]:
                found.setdefault(os.path.abspath(file), file)
    if not found:
        where = ", ".join(one_line(source) for source in sources)
        more = "".join(f"; {sentence}" for sentence in left_out)
        raise UserError(f"{where}: holds no pictures ({COMMON}){more}")
    return PictureFiles(tuple(sorted(found.values())), tuple(left_out))


def _meant(source: str) -> list[Path]:
    if os.path.lexists(source):
        return [Path(source)]
    if not any(sign in source for sign in _MAGIC):
        raise UserError(_missing(Path(source), "file or folder"))
    if "**" in source:
        raise UserError(
            f"{one_line(source)}: ** is not known; a folder is searched with all that is below it"
        )
    met = sorted(glob.glob(source))
    if not met:
        raise UserError(f"{one_line(source)}: nothing fits this pattern")
    return [Path(path) for path in met]


def _a_file(path: Path) -> Path:
    """Nothing but a file: a pipe would be waited for without end."""
    if not os.path.isfile(path):
        what = "a link that leads nowhere" if os.path.islink(path) else "neither a file nor a folder"
        raise UserError(f"{one_line(path)}: is {what}")
    return path


def _below(folder: Path, left_out: list[str]) -> Iterator[Path]:
    """The pictures below a folder. Links are followed at last, and no folder is searched twice: loops end."""
    searched: set[tuple[int, int]] = set()
    folders, links = [folder], list[Path]()
    while folders or links:
        linked = not folders
        at = links.pop() if linked else folders.pop()
        place = _place(at)
        if place in searched:
            if linked:
                told = "is a link to a folder that is searched already; it is passed over"
                left_out.append(f"{one_line(at)}: {told}")
            continue
        searched.add(place)
        inside = _looked_into(at, left_out)
        yield from inside.pictures
        for inner in inside.folders:
            (links if inner.is_symlink() else folders).append(inner)


def _place(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino


def _looked_into(folder: Path, left_out: list[str]) -> Contents:
    """What lies in a folder; what is wrong with it goes to `left_out`."""
    try:
        inside = contents(folder)
    except UserError as error:
        left_out.append(f"{error}; it is left out")
        return Contents((), (), {})
    left_out += [f"{one_line(path)}: {why}; it is passed over" for path, why in inside.odd.items()]
    return inside


def _missing(path: Path, kind: str) -> str:
    if os.path.lexists(path):
        return f"{one_line(path)}: is no {kind}"
    at = _looked_into(path.parent, [])
    beside = [p.name for p in (*at.folders, *(at.pictures if kind != "folder" else ()))]
    close = difflib.get_close_matches(path.name, beside, 3, _NEAR)
    near = [name for name in close if _shared(path.name, name) >= _NEAR]
    hint = f"; did you mean {one_line(path.parent / near[0])}?" if near else ""
    return f"{one_line(path)}: there is no such {kind}{hint}"


def _shared(one: str, other: str) -> float:
    """The letters that two names share in one order, as a part of the longer; `ratio` favours long names."""
    blocks = difflib.SequenceMatcher(None, one, other).get_matching_blocks()
    return sum(block.size for block in blocks) / max(len(one), len(other))
