"""All classes below a folder or in a list of files, whatever the layout, and their names."""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from mtl.config.values import Layout
from mtl.data.decode import escaped
from mtl.data.folders import (
    Contents,
    advice,
    archive_beside,
    class_contents,
    class_folders,
    contents,
    part_of,
    refuse_detection,
    shell_quoted,
)
from mtl.data.picture_lists import read_list
from mtl.errors import UserError, one_line

PARTS = ("train", "val", "test")
Classes = Mapping[str, Path]  # the folder of each

_OPTION = "data.root="
_ENOUGH = 6  # classes: two ways in each split
_MERGE = "data.layout=merge puts the pictures of each class together and splits by class"


@dataclass(frozen=True)
class ClassTree:
    """The classes with their files."""

    files: Mapping[str, list[Path]]  # by class, sorted by name; a class may have none
    parts: Sequence[Collection[str]] | None = None  # the classes of train, val and test where these are given
    folders: Mapping[str, Sequence[Path]] = field(default_factory=dict)  # of each class; empty for a list
    passed_over: Mapping[str, str] = field(default_factory=dict)  # what holds no class or image, and why
    groups: Mapping[str, str] | None = None  # of each class of a nested layout the folder that it is in


def find_classes(root: Path, layout: Layout) -> ClassTree:
    """The classes of a folder, as `data.layout` says, or of a CSV file.

    Raises:
        UserError: there is no such folder, no class has pictures, or the splits overlap or are incomplete.
    """
    if root.is_file():
        return _of_list(root, layout)
    if not root.is_dir():
        raise UserError(
            f"data.root: {one_line(root)} is not a folder; image_folder wants <root>/<class>/*, or a CSV "
            f"file with a row path,label for each picture{archive_beside(root, _OPTION)}"
        )
    splits = _split_folders(root)
    refuse_detection(root)
    parts = divided(root, may_merge=True) if layout == "auto" else None
    nested = layout == "nested"
    tops = [*(_by_name(_below(root)) if nested else splits).values()] or [root]  # whose folders are classes
    folders: dict[str, list[Path]] = {}
    groups: dict[str, str] = {}
    for top in tops:
        for name, folder in _by_name(_below(top)).items():
            full_name = f"{escaped(top.name)}/{name}" if nested else name
            folders.setdefault(full_name, []).append(folder)
            groups[full_name] = escaped(top.name)
    files: dict[str, list[Path]] = {}
    homes: dict[str, list[Path]] = {}
    opened: list[Contents] = []
    for name in sorted(folders):
        of_class = [class_contents(folder) for folder in folders[name]]
        homes[name] = [home for home, _ in of_class]
        files[name] = [file for _, inside in of_class for file in inside.pictures]
        opened += [inside for _, inside in of_class]
    if not any(files.values()) and (better := advice(root, _OPTION)):
        raise UserError(f"{one_line(root)}: no class in it has pictures; {better}")
    return ClassTree(files, parts, homes, _passed_over(root, tops, opened), groups if nested else None)


def is_undivided(root: Path, layout: Layout) -> bool:
    """True if a folder or list of classes has no splits of its own."""
    return find_classes(root, layout).parts is None


def divided(root: Path, may_merge: bool = False) -> list[Classes] | None:
    """The classes below the folders of train, val and test; None where there is none of these.

    With `may_merge` the messages say that the set may be taken undivided instead.

    Raises:
        UserError: only some of them are there, one holds no classes, or a class is in two.
    """
    splits = _split_folders(root)
    if not splits:
        return None
    parts = {part: _by_name(_below(folder)) for part, folder in splits.items()}
    names = {part: one_line(folder.name) for part, folder in splits.items()}
    count = len({name for classes in parts.values() for name in classes})
    _require_disjoint(
        root,
        {part: dict.fromkeys(classes, names[part]) for part, classes in parts.items()},
        f"; {_ways(splits, count)}" if may_merge else "",
    )
    if missing := [part for part in PARTS if part not in splits]:
        or_merge = f"; or {_MERGE}" if may_merge else ""
        raise UserError(
            f"{one_line(root)}: has {', '.join(names.values())} but not {', '.join(missing)}; give all "
            f"three, or only classes{or_merge}"
        )
    for part, classes in parts.items():
        if not classes:
            raise UserError(f"{one_line(splits[part])}: holds no class folders")
    return [parts[part] for part in PARTS]


def _split_folders(root: Path) -> dict[str, Path]:
    """The folders of train, val and test, in this order, as far as they are there, by any usual name.

    A folder of such a name that holds pictures, and no folders, is a class like any other.

    Raises:
        UserError: two have names of one split.
    """
    splits: dict[str, Path] = {}
    for folder in _below(root):
        if (part := part_of(folder.name)) is None:
            continue
        inside = contents(folder)
        if inside.pictures and not inside.folders:  # which is a class
            continue
        if part in splits:
            names = f"{one_line(splits[part].name)} and {one_line(folder.name)}"
            raise UserError(f"{one_line(root)}: {names} both are the {part} split; put one into the other")
        splits[part] = folder
    return {part: splits[part] for part in PARTS if part in splits}


def _require_disjoint(root: Path, parts: Mapping[str, Mapping[str, object]], ways: str) -> None:
    """
    Raises:
        UserError: a class is in two of `parts`, which say where each class is; the sentence ends with `ways`.
    """
    for one, other in combinations(PARTS, 2):
        if shared := sorted(set(parts.get(one, ())) & set(parts.get(other, ()))):
            name = shared[0]
            more = f" and {len(shared) - 1} more are" if len(shared) > 1 else " is"
            where = f"class {one_line(name)}{more} in {parts[one][name]} and in {parts[other][name]}"
            raise UserError(f"{one_line(root)}: {where}; splits are by class{ways}")


def _ways(splits: Mapping[str, Path], classes: int) -> str:
    """What can be done with an ordinary classification set, whose classes are the same in every split."""
    merge = f"{_MERGE}, or " if classes >= _ENOUGH else "there are too few of them to train on, but "
    learn = next(iter(splits.values()))
    others = splits.get("test", [*splits.values()][-1])
    file = shell_quoted(Path(f"{learn.absolute().parent.name or 'pictures'}.fewshot"))
    return (
        f"{merge}a trained run learns these classes and names the other pictures: run_meta.py fit --run "
        f"checkpoints/RUN --support {shell_quoted(learn)} --out {file}, then run_meta.py score --classifier "
        f"{file} --pictures {shell_quoted(others)}"
    )


def _of_list(root: Path, layout: Layout) -> ClassTree:
    """The classes of a CSV file, divided if it has a column of splits and the layout does not merge them."""
    files: dict[str, list[Path]] = {}
    parts: dict[str, dict[str, str]] = {part: {} for part in PARTS}  # the classes, and a line of each
    for row in read_list(root, _OPTION):
        name = escaped(row.label)
        files.setdefault(name, []).append(row.file)
        if row.part is not None:
            parts[row.part].setdefault(name, f"{row.part} in line {row.line}")
    files = {name: sorted(files[name]) for name in sorted(files)}
    if layout == "merge" or not any(parts.values()):
        return ClassTree(files)
    _require_disjoint(root, parts, f"; {_ways({'train': root, 'test': root}, len(files))}")
    if missing := [part for part in PARTS if not parts[part]]:
        raise UserError(f"{one_line(root)}: has no row of {' and '.join(missing)}; {_MERGE}")
    return ClassTree(files, [parts[part] for part in PARTS])


def _below(folder: Path) -> list[Path]:
    """The folders below a folder, but for links to itself or to one above it."""
    return [inner for inner in class_folders(folder) if not _leads_up(inner)]


def _leads_up(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _passed_over(root: Path, tops: Sequence[Path], classes: Sequence[Contents]) -> dict[str, str]:
    """What holds no class or image, by name below the root, and why."""
    above = [contents(folder) for folder in dict.fromkeys([root, *tops])]
    reasons: dict[Path, str] = {}
    for inside in above:
        reasons |= {link: "is a link to a folder above it" for link in inside.folders if _leads_up(link)}
    if root not in tops:
        beside = (folder for folder in _below(root) if folder not in tops)
        reasons |= dict.fromkeys(beside, "is beside train, val and test")
    for inside in classes:
        reasons |= dict.fromkeys(inside.folders, "is a folder in a class")
    for inside in (*above, *classes):
        reasons |= inside.odd
        reasons |= dict.fromkeys(inside.system, "is a folder of the system, not of pictures")
    return {escaped(str(path.relative_to(root))): why for path, why in reasons.items()}


def _by_name(folders: Iterable[Path]) -> dict[str, Path]:
    by_name: dict[str, Path] = {}
    for folder in folders:
        name = escaped(folder.name)
        if name in by_name:
            raise UserError(
                f"{one_line(folder.parent)}: two classes would be called {name}; rename one of them"
            )
        by_name[name] = folder
    return by_name


def composed(name: str) -> str:
    """A name in the Unicode form NFC: an é is one character there, two in the form NFD."""
    return unicodedata.normalize("NFC", name)


def require_distinct_names(names: Iterable[str], where: object) -> None:
    """
    Raises:
        UserError: two names are the same text in two Unicode forms, and so look the same everywhere; says
            which, and `where`.
    """
    if same := _groups(names, composed):
        shown = " and ".join(ascii(name) for name in same[0])
        raise UserError(
            f"{one_line(where)}: class {one_line(same[0][0])} is there {len(same[0])} times, in different "
            f"Unicode forms ({shown}), which look the same; put them into one, or rename one of them"
        )


def similar_name_messages(names: Iterable[str], among: Iterable[str] | None = None) -> list[str]:
    """A sentence for each group of classes whose names differ only in case or outer spaces.

    With `among`, only groups that have one of these.
    """
    wanted = None if among is None else set(among)
    groups = _groups(names, lambda name: composed(name).strip().casefold())
    return [
        ", ".join(f'"{one_line(name)}"' for name in group)
        + ": are different classes, whose names differ only in upper and lower case or outer spaces; if they "
        "are meant to be one, put them together"
        for group in groups
        if wanted is None or wanted & set(group)
    ]


def _groups(names: Iterable[str], plain: Callable[[str], str]) -> list[list[str]]:
    """The names that `plain` makes the same, where there are several."""
    by_plain: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        by_plain.setdefault(plain(name), []).append(name)
    return [group for group in by_plain.values() if len(group) > 1]
