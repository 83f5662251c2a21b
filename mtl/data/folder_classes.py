"""Which folders of a person's own images are base, validation and novel classes, and which files count."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import torch

from mtl.config import Data
from mtl.data.class_names import composed, nearly_same, require_told_apart
from mtl.data.decode import escaped
from mtl.data.listing import Contents, class_folders, contents
from mtl.errors import UserError, one_line
from mtl.runtime.seeds import derive_seed, generator

PARTS = ("train", "val", "test")
Classes = Mapping[str, Path]  # the folder of each


@dataclass(frozen=True)
class Choice:
    """The classes of train, val and test, and what was left out of them."""

    parts: tuple[dict[str, list[Path]], ...]  # the files of each class that count
    folders: tuple[Path, ...]  # of all these classes
    unnamed: tuple[str, ...]  # classes that no split names, where all have names
    scarce: Mapping[str, int]  # classes with fewer images than `min_images`, and how many
    capped: Mapping[str, int]  # classes with more images than `max_images`, and how many
    passed_over: Mapping[str, str]  # links, folders and pipes that hold no class or image, and why
    alike: tuple[str, ...] = ()  # classes that have nearly the same name, a sentence for each group


def choose(root: Path, config: Data, seed: int) -> Choice:
    """The classes below a folder in their splits, as `data.classes`, `min_images` and `max_images` say.

    Raises:
        UserError: there are too few classes, one is in two splits, or a name in `data.classes` fits none.
    """
    parts = divided(root)
    names = {part: getattr(config.classes, part) for part in PARTS}
    if parts is not None and any(names.values()):
        raise UserError(
            f"data.classes: {one_line(root)} is divided into train, val and test already; leave data.classes "
            "out, or put all classes right below one folder"
        )
    found = _by_name(_below(root)) if parts is None else {n: f for part in parts for n, f in part.items()}
    require_told_apart(found, root)
    named = {} if parts is not None else claimed(found, names, root)
    inside = {name: contents(folder) for name, folder in sorted(found.items())}
    files = {name: list(inside[name].pictures) for name in inside}
    scarce = {name: len(f) for name, f in files.items() if len(f) < config.min_images}
    kept = [name for name in files if name not in scarce]
    unnamed: list[str] = []
    if parts is None:
        lists, unnamed = _lists(root, kept, named, config, seed, scarce)
    else:
        lists = [[name for name in sorted(part) if name not in scarce] for part in parts]
    for part, classes in zip(PARTS, lists, strict=True):
        if not classes:
            where = one_line(root if parts is None else root / part)
            raise UserError(f"{where}: {part} is left without a class{_of_scarce(scarce, config)}")
    capped = {
        name: len(files[name])
        for classes in lists
        for name in classes
        if config.max_images is not None and len(files[name]) > config.max_images
    }
    for name in capped:
        files[name] = drawn_images(files[name], name, config.max_images or 0, seed)
    chosen = tuple({name: files[name] for name in classes} for classes in lists)
    folders = tuple(found[name] for classes in lists for name in classes)
    passed_over = _passed_over(root, parts is not None, inside.values())
    alike = tuple(nearly_same(name for classes in lists for name in classes))
    return Choice(chosen, folders, tuple(unnamed), scarce, capped, passed_over, alike)


def divided(root: Path) -> list[Classes] | None:
    """The classes below `<root>/train`, `val` and `test`; None where there is none of these.

    A folder of such a name that holds pictures, and no folders, is a class like any other.

    Raises:
        UserError: only some of them are there, one holds no classes, or a class is in two.
    """
    found = {folder.name: folder for folder in _below(root) if folder.name in PARTS and not _is_class(folder)}
    given = [part for part in PARTS if part in found]
    if not given:
        return None
    if len(given) < len(PARTS):
        missing = ", ".join(part for part in PARTS if part not in found)
        raise UserError(
            f"{one_line(root)}: has {', '.join(given)} but not {missing}; give all three, or classes alone"
        )
    parts: list[Classes] = [_by_name(_below(found[part])) for part in PARTS]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shared = sorted(set(parts[one]) & set(parts[other]))
        if shared:
            raise UserError(
                f"{one_line(root)}: class {shared[0]} is in {PARTS[one]} and in {PARTS[other]}; "
                "splits are by class"
            )
    for part, classes in zip(PARTS, parts, strict=True):
        if not classes:
            raise UserError(f"{one_line(root / part)}: holds no class folders")
    return parts


def claimed(found: Iterable[str], names: Mapping[str, Sequence[str]], root: Path) -> dict[str, str]:
    """The split of each class that `data.classes` names, by itself or by a pattern such as `dog*`.

    Raises:
        UserError: a name or pattern fits no class, or two splits claim one.
    """
    by: dict[str, tuple[str, str]] = {}  # of each class the split and the name that claim it
    known = {composed(name): name for name in found}  # as keyboards write é, and macOS not
    for part, patterns in names.items():
        for pattern in patterns:
            wanted = composed(pattern)
            fitting = [wanted] if wanted in known else [n for n in known if fnmatchcase(n, wanted)]
            if not fitting:
                near = difflib.get_close_matches(wanted, known, 1, 0.5)
                hint = f"; did you mean {known[near[0]]}?" if near else ""
                raise UserError(f"data.classes.{part}: {pattern!r} fits no class of {one_line(root)}{hint}")
            for name in fitting:
                before, other = by.setdefault(known[name], (part, pattern))
                if before != part:
                    raise UserError(
                        f"data.classes: class {known[name]} is claimed by {before} ({other!r}) and by {part} "
                        f"({pattern!r}); a class is in one split alone"
                    )
    return {name: part for name, (part, _) in by.items()}


def drawn_images(files: Sequence[Path], name: str, most: int, seed: int) -> list[Path]:
    """`most` of a class's files, sorted: each has a number of its own, and those with the least stay.

    The number is made of seed, class and file name: other classes and other files change nothing of it.
    """
    order = sorted(files, key=lambda file: derive_seed(seed, "max_images", name, file.name))
    return sorted(order[:most])


def drawn_classes(names: Sequence[str], shares: Sequence[float], seed: int) -> list[list[str]]:
    """The sorted names divided at random: a list for each share, none empty, sizes as the shares say.

    Raises:
        ValueError: there are fewer names than shares.
    """
    if len(names) < len(shares):
        raise ValueError(f"{len(names)} classes cannot be divided into {len(shares)} parts")
    order = torch.randperm(len(names), generator=generator(seed, "split")).tolist()
    ends, total = [0], 0.0
    for i, share in enumerate(shares, 1):
        total += share / sum(shares) * len(names)
        ends.append(min(max(ends[-1] + 1, round(total)), len(names) - len(shares) + i))
    ends[-1] = len(names)
    return [[names[i] for i in order[a:b]] for a, b in pairwise(ends)]


def _lists(
    root: Path,
    kept: Sequence[str],
    named: Mapping[str, str],
    config: Data,
    seed: int,
    scarce: Mapping[str, int],
) -> tuple[list[list[str]], list[str]]:
    """The classes of each split, and those that no split names where all have names."""
    lists = {part: [name for name in kept if named.get(name) == part] for part in PARTS}
    free = [part for part in PARTS if not getattr(config.classes, part)]
    rest = [name for name in kept if name not in named]
    if free and len(rest) < len(free):
        raise UserError(_too_few(root, len(rest), free, scarce, config))
    if free:
        shares = [config.split_fractions[PARTS.index(part)] for part in free]
        lists |= dict(zip(free, drawn_classes(rest, shares, seed), strict=True))
    return [lists[part] for part in PARTS], [] if free else rest


def _too_few(root: Path, count: int, free: Sequence[str], scarce: Mapping[str, int], config: Data) -> str:
    where, less = one_line(root), _of_scarce(scarce, config)
    if len(free) == len(PARTS):
        return f"{where}: holds {count} class folders; at least {len(PARTS)} are needed to split them{less}"
    return (
        f"{where}: {count} classes are left for {' and '.join(free)}, which data.classes does not name; each "
        f"needs one at least{less}"
    )


def _of_scarce(scarce: Mapping[str, int], config: Data) -> str:
    if not scarce:
        return ""
    least = config.min_images
    few = "no images" if least == 1 else f"fewer images than data.min_images = {least}"
    where = (
        ""
        if min(scarce.values())
        else "; images lie right in <class>/, folders below that are not looked into"
    )
    return f" ({len(scarce)} more have {few}{where})"


def _below(folder: Path) -> list[Path]:
    """The folders below a folder, but for links to itself or to one above it."""
    return [inner for inner in class_folders(folder) if not _leads_up(inner)]


def _leads_up(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _is_class(folder: Path) -> bool:
    inside = contents(folder)
    return bool(inside.pictures) and not inside.folders


def _passed_over(root: Path, is_divided: bool, classes: Iterable[Contents]) -> dict[str, str]:
    """By name below the root, and why."""
    found: dict[Path, str] = {}
    for folder in (root, *((root / part for part in PARTS) if is_divided else ())):
        at = contents(folder)
        found |= at.odd
        found |= {link: "is a link to a folder above it" for link in at.folders if _leads_up(link)}
    if is_divided:
        beside = (folder for folder in _below(root) if folder.name not in PARTS)
        found |= dict.fromkeys(beside, "lies beside train, val and test")
    for inside in classes:
        found |= inside.odd
        found |= dict.fromkeys(inside.folders, "is a folder in a class")
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
