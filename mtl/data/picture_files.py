"""Which files a person means: the pictures of classes, and pictures by folder, pattern or name."""

import difflib
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl.data.class_tree import require_distinct_names
from mtl.data.folders import (
    Part,
    archive_beside,
    class_contents,
    contents,
    is_system,
    no_classes,
    refuse_archive,
    refuse_detection,
    shell_quoted,
)
from mtl.data.formats import COMMON
from mtl.data.picture_lists import is_list, read_list
from mtl.errors import UserError, counted, one_line
from mtl.runtime.figure_files import drawn_here

_MAGIC = "*?["
_NEAR = 0.6  # of the letters of the longer name: two names that share this many are near each other


@dataclass(frozen=True)
class ClassFiles:
    """The files of a support folder."""

    files: dict[str, tuple[Path, ...]]  # by class, both sorted; no class is empty
    left_out: tuple[str, ...]  # what holds no pictures of a class, a sentence each


@dataclass(frozen=True)
class PictureFiles:
    """The pictures to classify."""

    files: tuple[Path, ...]  # sorted, each once
    left_out: tuple[str, ...]  # what cannot be searched, a sentence each


def support_files(source: Path, option: str = "--support ", part: Part = "train") -> ClassFiles:
    """The pictures right in each folder below a folder, whose name is that of the class; or those of a list.

    Hidden files and folders, and files that are not pictures by their ending, are passed over. Folders in a
    class are not looked into, which `left_out` says, except one called `images` that holds all its pictures.

    Args:
        source: a folder `<source>/<class>/*`, or a CSV file of `read_list`.
        option: how the user gave it, for messages.
        part: which split of a list is taken, where it has any.

    Raises:
        UserError: there is no such folder, no class has pictures, two have names that look the same, or a row
            of the list is wrong.
    """
    if os.path.isfile(source):
        return _of_list(source, option, part)
    if not os.path.isdir(source):
        raise UserError(_missing(source, "folder", option))
    refuse_detection(source)
    files: dict[str, tuple[Path, ...]] = {}
    left_out: list[str] = []
    top = contents(source, left_out)
    for folder in top.folders:
        _, inside = class_contents(folder, left_out)
        if pictures := _not_drawn_here(inside.pictures, left_out):
            files[folder.name] = pictures
        else:
            left_out.append(f"{one_line(folder)}: holds no pictures; the class is left out")
        if inside.folders:
            deeper = counted(len(inside.folders), "folder")
            left_out.append(
                f"{one_line(folder)}: {deeper} not looked into; pictures must be right in <class>/"
            )
    if loose := _not_drawn_here(top.pictures, left_out):
        pictures_of_none = counted(len(loose), "picture")
        left_out.append(
            f"{one_line(source)}: {pictures_of_none} of no class, beside the folders of the classes"
        )
    if not files:
        raise no_classes(source, option, "; ".join(left_out))
    require_distinct_names(files, source)
    return ClassFiles(files, tuple(left_out))


def _of_list(source: Path, option: str, part: Part) -> ClassFiles:
    """The pictures of a list by their classes."""
    rows = read_list(source, option)
    taken = [row for row in rows if row.part in {part, None}]
    left_out: list[str] = []
    if not taken:
        raise UserError(f"{one_line(source)}: no row of it is of the split {part}")
    if others := len(rows) - len(taken):
        left_out.append(f"{one_line(source)}: {counted(others, 'row')} of other splits than {part}")
    files: dict[str, list[Path]] = {}
    for row in taken:
        files.setdefault(row.label, []).append(row.file)
    require_distinct_names(files, source)
    return ClassFiles({name: tuple(sorted(files[name])) for name in sorted(files)}, tuple(left_out))


def _not_drawn_here(pictures: Sequence[Path], left_out: list[str]) -> tuple[Path, ...]:
    """Without the sheets and plots of this program, which go to `left_out`."""
    drawn = {file for file in pictures if drawn_here(file)}
    left_out += [f"{one_line(file)}: is a drawing of this program, not a picture" for file in sorted(drawn)]
    return tuple(file for file in pictures if file not in drawn)


def query_files(sources: Sequence[str]) -> PictureFiles:
    """The pictures of folders, patterns and single files, sorted by path, each once.

    A folder is searched with all that is below it; there hidden files, and files that are not pictures by
    their ending, are passed over. What is named, or matched by a pattern, is taken whatever its ending.

    A path that does not exist and has *, ? or [ in it is a pattern; the longest part of it that exists is
    taken literally.

    Raises:
        UserError: there is no such file, nothing matches a pattern, or there is no picture at all.
    """
    left_out: list[str] = []
    files: dict[str, Path] = {}
    for source in sources:
        for path in _matches(source):
            for file in _below(path, left_out) if os.path.isdir(path) else [_checked_file(path)]:
                files.setdefault(os.path.abspath(file), file)
    pictures = _not_drawn_here([*files.values()], left_out)
    if not pictures:
        where = ", ".join(one_line(source) for source in sources)
        more = "".join(f"; {sentence}" for sentence in left_out)
        raise UserError(f"{where}: holds no pictures ({COMMON}){more}")
    return PictureFiles(tuple(sorted(pictures)), tuple(left_out))


def _matches(source: str) -> list[Path]:
    """The path itself, or those that a pattern matches."""
    if os.path.lexists(source):
        return [Path(source)]
    path = Path(source)
    literal = next((above for above in path.parents if os.path.lexists(above)), Path())
    rest = path.parts[len(literal.parts) :]
    if not any(sign in part for part in rest for sign in _MAGIC):
        raise UserError(_missing(path, "file or folder", "--query "))
    if any("**" in part for part in rest):
        raise UserError(
            f"{one_line(source)}: ** is not known; a folder is searched with all that is below it"
        )
    names = sorted(glob.glob(os.path.join(glob.escape(str(literal)), *rest)))
    paths = [Path(name) for name in names if not any(map(is_system, Path(name).parts[len(literal.parts) :]))]
    if not paths:
        raise UserError(f"{one_line(source)}: nothing fits this pattern")
    return paths


def _checked_file(path: Path) -> Path:
    """Refuses what is not a picture: an archive, a list, or a pipe, which would be waited for without end."""
    if not os.path.isfile(path):
        what = "a link that leads nowhere" if os.path.islink(path) else "neither a file nor a folder"
        raise UserError(f"{one_line(path)}: is {what}")
    refuse_archive(path, "--query ")
    if is_list(path) and path.suffix.lower() != ".txt":
        raise UserError(
            f"{one_line(path)}: is a list, not a picture; if it has labels, score --pictures "
            f"{shell_quoted(path)} answers its pictures and counts how many are right"
        )
    return path


def _below(folder: Path, left_out: list[str]) -> Iterator[Path]:
    """The pictures below a folder. Links are followed last, and no folder is searched twice: loops end."""
    searched: set[tuple[int, int]] = set()
    folders, links = [folder], list[Path]()
    while folders or links:
        linked = not folders
        folder = links.pop() if linked else folders.pop()
        state = folder.stat()
        if (state.st_dev, state.st_ino) in searched:
            if linked:
                left_out.append(
                    f"{one_line(folder)}: is a link to a folder that is searched already; it is passed over"
                )
            continue
        searched.add((state.st_dev, state.st_ino))
        inside = contents(folder, left_out)
        yield from inside.pictures
        for inner in inside.folders:
            (links if inner.is_symlink() else folders).append(inner)


def _missing(path: Path, kind: str, option: str) -> str:
    if os.path.lexists(path):
        return f"{one_line(path)}: is no {kind}"
    inside = contents(path.parent, [])
    beside = [p.name for p in (*inside.folders, *(inside.pictures if kind != "folder" else ()))]
    close = difflib.get_close_matches(path.name, beside, 3, _NEAR)
    near = next((name for name in close if _shared(path.name, name) >= _NEAR), None)
    hint = f"; did you mean {one_line(path.parent / near)}?" if near else archive_beside(path, option)
    return f"{one_line(path)}: there is no such {kind}{hint}"


def _shared(one: str, other: str) -> float:
    """The letters that two names share in one order, as a part of the longer; `ratio` favours long names."""
    blocks = difflib.SequenceMatcher(None, one, other).get_matching_blocks()
    return sum(block.size for block in blocks) / max(len(one), len(other))
