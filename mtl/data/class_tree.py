"""All classes below a folder or in a list of files, whatever the layout, before any is chosen."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl.config.values import Layout
from mtl.data.decode import escaped
from mtl.data.layouts import (
    advice,
    archive_beside,
    home_of_class,
    refuse_archive,
    refuse_detection,
    shell_quoted,
)
from mtl.data.listing import Contents, class_folders, contents
from mtl.data.picture_lists import is_list, is_spreadsheet, part_of, read_list
from mtl.errors import UserError, one_line

PARTS = ("train", "val", "test")
Classes = Mapping[str, Path]  # the folder of each

_OPTION = "data.root="
_WANTED = "image_folder wants <root>/<class>/*, or a CSV file with a row path,label for each picture"
_ENOUGH = 6  # classes: two ways in each split
_MERGE = "data.layout=merge puts the pictures of each class together and splits by class"


@dataclass(frozen=True)
class Found:
    """The classes with their files."""

    files: Mapping[str, list[Path]]  # by class, sorted by name; a class may have none
    parts: Sequence[Collection[str]] | None  # the classes of train, val and test where these are given
    folders: Mapping[str, Sequence[Path]]  # of each class; empty for a list
    passed_over: Mapping[str, str]  # links, folders and pipes that hold no class or image, and why
    groups: Mapping[str, str] | None = None  # of each class of a nested layout the folder that it is in


def find_classes(root: Path, layout: Layout) -> Found:
    """The classes of a folder, as `data.layout` says, or of a CSV file.

    Raises:
        UserError: there is no such folder, no class has pictures, or the division into splits does not do.
    """
    if root.is_file():
        return _of_list(root, layout)
    if not root.is_dir():
        raise UserError(f"data.root: {one_line(root)} is no folder; {_WANTED}{archive_beside(root, _OPTION)}")
    for folder in (root, *_part_folders(root).values()):
        refuse_detection(folder)
    parts: list[Classes] | None = None
    folders: dict[str, list[Path]] = {}
    groups: dict[str, str] = {}
    tops = [root]  # whose folders are classes
    if layout == "nested":
        tops = [*_by_name(_below(root)).values()]
        for top in tops:
            for name, folder in _by_name(_below(top)).items():
                folders[f"{escaped(top.name)}/{name}"] = [folder]
                groups[f"{escaped(top.name)}/{name}"] = escaped(top.name)
    elif layout == "auto" and (parts := divided(root, _MERGE)) is not None:
        tops = [*_part_folders(root).values()]
        folders = {name: [folder] for part in parts for name, folder in part.items()}
    else:
        if layout == "merge":
            tops = [*_part_folders(root).values()] or tops
        for top in tops:
            for name, folder in _by_name(_below(top)).items():
                folders.setdefault(name, []).append(folder)
    opened = {name: [_home(folder) for folder in folders[name]] for name in sorted(folders)}
    homes = {name: [home for home, _ in of_class] for name, of_class in opened.items()}
    inside = {name: [there for _, there in of_class] for name, of_class in opened.items()}
    files = {name: [file for at in of_class for file in at.pictures] for name, of_class in inside.items()}
    if not any(files.values()) and (better := advice(root, _OPTION)):
        raise UserError(f"{one_line(root)}: no class in it has pictures; {better}")
    passed_over = _passed_over(root, tops, (at for of_class in inside.values() for at in of_class))
    return Found(files, parts, homes, passed_over, groups if layout == "nested" else None)


def _home(folder: Path) -> tuple[Path, Contents]:
    """The folder that the pictures of a class are in, and what is there."""
    there = contents(folder)
    home = home_of_class(folder, there)
    return home, there if home == folder else contents(home)


def divided(root: Path, otherwise: str = "") -> list[Classes] | None:
    """The classes below the folders of train, val and test; None where there is none of these.

    `valid` and `validation` are val, `training` is train, `testing` is test. A folder of such a name that
    holds pictures, and no folders, is a class like any other.

    Args:
        root: of these folders.
        otherwise: what else can be done with a division that does not do, to end a sentence; "": nothing.

    Raises:
        UserError: only some of them are there, one holds no classes, or a class is in two.
    """
    found = _part_folders(root)
    if not found:
        return None
    parts: dict[str, Classes] = {part: _by_name(_below(folder)) for part, folder in found.items()}
    at = {part: one_line(folder.name) for part, folder in found.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        if shared := sorted(set(parts.get(one, ())) & set(parts.get(other, ()))):
            more = f" and {len(shared) - 1} more are" if len(shared) > 1 else " is"
            where = f"class {one_line(shared[0])}{more} in {at[one]} and in {at[other]}"
            enough = len({name for classes in parts.values() for name in classes}) >= _ENOUGH
            ways = f"; {_ways(found, enough)}" if otherwise else ""
            raise UserError(f"{one_line(root)}: {where}; splits are by class{ways}")
    if len(found) < len(PARTS):
        missing = ", ".join(part for part in PARTS if part not in found)
        ways = f"; or {otherwise}" if otherwise else ""
        raise UserError(
            f"{one_line(root)}: has {', '.join(at.values())} but not {missing}; give all three, or classes "
            f"alone{ways}"
        )
    for part, classes in parts.items():
        if not classes:
            raise UserError(f"{one_line(found[part])}: holds no class folders")
    return [parts[part] for part in PARTS]


def _part_folders(root: Path) -> dict[str, Path]:
    """The folders of train, val and test, in this order, as far as they are there.

    Raises:
        UserError: two have names of one split.
    """
    found: dict[str, Path] = {}
    for folder in _below(root):
        part = part_of(folder.name)
        if part is None or _is_class(folder):
            continue
        if part in found:
            names = f"{one_line(found[part].name)} and {one_line(folder.name)}"
            raise UserError(f"{one_line(root)}: {names} both are the {part} split; put one into the other")
        found[part] = folder
    return {part: found[part] for part in PARTS if part in found}


def _ways(found: Mapping[str, Path], enough: bool) -> str:
    """What can be done with an ordinary classification set, whose classes are the same in every split.

    Args:
        found: the folder of each split, or the list that has it.
        enough: whether there are classes enough to train on.
    """
    merge = f"{_MERGE}, or " if enough else "there are too few of them to train on, but "
    learn = next(iter(found.values()))
    ask = found.get("test", [*found.values()][-1])
    name = f"{learn.absolute().parent.name or 'pictures'}.fewshot"
    return (
        f"{merge}a trained run learns these classes and is asked for the other pictures: run_meta.py fit "
        f"--run checkpoints/RUN --support {shell_quoted(learn)} --out {shell_quoted(Path(name))}, then "
        f"run_meta.py score --classifier {shell_quoted(Path(name))} --pictures {shell_quoted(ask)}"
    )


def _of_list(root: Path, layout: Layout) -> Found:
    """The classes of a CSV file, divided where it has a column of splits, and the layout does not merge them.

    Raises:
        UserError: it is no such file, a row of it is wrong, or the splits do not do.
    """
    refuse_archive(root, _OPTION)
    if not (is_list(root) or is_spreadsheet(root)):
        raise UserError(f"data.root: {one_line(root)} is a file of another kind; {_WANTED}")
    files: dict[str, list[Path]] = {}
    of_part: dict[str, dict[str, int]] = {part: {} for part in PARTS}  # the classes, and a line of each
    for row in read_list(root):
        name = escaped(row.label)
        files.setdefault(name, []).append(row.file)
        if row.part is not None:
            of_part[row.part].setdefault(name, row.line)
    files = {name: sorted(files[name]) for name in sorted(files)}
    if layout == "merge" or not any(of_part.values()):
        return Found(files, None, {}, {})
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        if shared := sorted(set(of_part[one]) & set(of_part[other])):
            name = shared[0]
            lines = f"line {of_part[one][name]} and in {other} in line {of_part[other][name]}"
            raise UserError(
                f"{one_line(root)}: class {one_line(name)} is in {one} in {lines}; splits are by class; "
                f"{_ways({'train': root, 'test': root}, len(files) >= _ENOUGH)}"
            )
    if missing := [part for part in PARTS if not of_part[part]]:
        raise UserError(f"{one_line(root)}: has no row of {' and '.join(missing)}; {_MERGE}")
    return Found(files, [of_part[part] for part in PARTS], {}, {})


def _below(folder: Path) -> list[Path]:
    """The folders below a folder, but for links to itself or to one above it."""
    return [inner for inner in class_folders(folder) if not _leads_up(inner)]


def _leads_up(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _is_class(folder: Path) -> bool:
    inside = contents(folder)
    return bool(inside.pictures) and not inside.folders


def _passed_over(root: Path, tops: Sequence[Path], classes: Iterable[Contents]) -> dict[str, str]:
    """By name below the root, and why."""
    found: dict[Path, str] = {}
    seen: list[Contents] = []
    for folder in dict.fromkeys([root, *tops]):
        at = contents(folder)
        seen.append(at)
        found |= {link: "is a link to a folder above it" for link in at.folders if _leads_up(link)}
    if root not in tops:
        beside = (folder for folder in _below(root) if folder not in tops)
        found |= dict.fromkeys(beside, "lies beside train, val and test")
    for inside in classes:
        seen.append(inside)
        found |= dict.fromkeys(inside.folders, "is a folder in a class")
    for at in seen:
        found |= at.odd
        found |= dict.fromkeys(at.system, "is a folder of the system, not of pictures")
    return {escaped(str(path.relative_to(root))): why for path, why in found.items()}


def _by_name(folders: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        name = escaped(folder.name)
        if name in found:
            raise UserError(
                f"{one_line(folder.parent)}: two classes would be called {name}; rename one of them"
            )
        found[name] = folder
    return found
