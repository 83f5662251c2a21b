"""Which folders of a person's own images are base, validation and novel classes, and which files count."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby, pairwise
from pathlib import Path

import torch

from mtl.config import Data
from mtl.data.class_names import composed, nearly_same, require_told_apart
from mtl.data.class_tree import PARTS, find_classes
from mtl.data.decode import escaped
from mtl.data.image_groups import group_name
from mtl.data.layouts import shell_quoted
from mtl.errors import UserError, one_line
from mtl.runtime.seeds import derive_seed, generator


@dataclass(frozen=True)
class Choice:
    """The classes of train, val and test, and what was left out of them."""

    parts: tuple[dict[str, list[Path]], ...]  # the files of each class that count
    folders: tuple[Path, ...]  # of all these classes; none where a list names the files
    groups: Mapping[str, str] | None  # of each class the folder that it is in (data.layout = nested)
    unnamed: tuple[str, ...]  # classes that no split names, where all have names
    scarce: Mapping[str, int]  # classes with fewer images than `min_images`, and how many
    capped: Mapping[str, int]  # classes with more images than `max_images`, and how many
    passed_over: Mapping[str, str]  # links, folders and pipes that hold no class or image, and why
    alike: tuple[str, ...] = ()  # classes that have nearly the same name, a sentence for each group


def choose(root: Path, config: Data, seed: int) -> Choice:
    """The classes of a folder or list in their splits, as `data.classes`, `min_images` and `max_images` say.

    Raises:
        UserError: there are too few classes, one is in two splits, or a name in `data.classes` fits none.
    """
    found = find_classes(root, config.layout)
    names = {part: getattr(config.classes, part) for part in PARTS}
    if found.parts is not None and any(names.values()):
        raise UserError(
            f"data.classes: {one_line(root)} is divided into train, val and test already; leave data.classes "
            "out, or let data.layout=merge put the pictures of all splits together"
        )
    named = {} if found.parts is not None else claimed(found.files, names, root)
    files = dict(found.files)
    require_told_apart(files, root)
    scarce = {name: len(f) for name, f in files.items() if len(f) < config.min_images}
    kept = [name for name in files if name not in scarce]
    if config.group_by is not None:
        _require_groups(root, files, config.group_by)
    unnamed: list[str] = []
    if found.parts is None:
        lists, unnamed = _lists(root, kept, named, config, seed, scarce)
    else:
        lists = [[name for name in sorted(part) if name not in scarce] for part in found.parts]
    for part, classes in zip(PARTS, lists, strict=True):
        if not classes:
            raise UserError(f"{one_line(root)}: {part} is left without a class{_of_scarce(scarce, config)}")
    capped = {
        name: len(files[name])
        for classes in lists
        for name in classes
        if config.max_images is not None and len(files[name]) > config.max_images
    }
    for name in capped:
        files[name] = drawn_images(files[name], name, config.max_images or 0, seed, config.group_by)
    chosen = tuple({name: files[name] for name in classes} for classes in lists)
    folders = tuple(f for classes in lists for name in classes for f in found.folders.get(name, ()))
    alike = tuple(nearly_same(name for classes in lists for name in classes))
    return Choice(chosen, folders, found.groups, tuple(unnamed), scarce, capped, found.passed_over, alike)


def _require_groups(root: Path, files: Mapping[str, Sequence[Path]], pattern: str) -> None:
    names = [escaped(file.name) for of_class in files.values() for file in of_class]
    if not any(group_name(name, pattern) for name in names):
        example = f", such as {names[0]}" if names else ""
        raise UserError(
            f"data.group_by: {pattern!r} fits no file below {one_line(root)}{example}; it is searched in the "
            "name of the file"
        )


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


def drawn_images(
    files: Sequence[Path], name: str, most: int, seed: int, group_by: str | None = None
) -> list[Path]:
    """`most` of a class's files, sorted: each has a number of its own, and those with the least stay.

    The number is made of seed, class and file name: other classes and other files change nothing of it. With
    `group_by` the number is that of the file's group, and a group that has no room left is passed over: only
    where none has is the first one cut.
    """

    def number(file: Path) -> int:
        group = group_name(escaped(file.name), group_by) if group_by else ""
        return derive_seed(seed, "max_images", name, group or file.name)

    order = sorted(files, key=number)
    if group_by is None:
        return sorted(order[:most])
    kept: list[Path] = []
    for _, group in groupby(order, number):
        members = list(group)
        kept += members if len(kept) + len(members) <= most else []
    return sorted(kept or order[:most])


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
        many = "1 class" if count == 1 else f"{count} classes"
        then = less or _untrained(root, count)
        return f"{where}: holds {many}; at least {len(PARTS)} are needed to split them{then}"
    return (
        f"{where}: {count} classes are left for {' and '.join(free)}, which data.classes does not name; each "
        f"needs one at least{less}"
    )


def _untrained(root: Path, count: int) -> str:
    """What can be done with one or two classes, which are too few to train a run."""
    fit = (
        f"run_meta.py fit --run checkpoints/RUN --support {shell_quoted(root)} --out "
        f"{shell_quoted(Path(f'{root.stem}.fewshot'))}"
    )
    told = {
        1: "to tell whether a picture is of it or not, add pictures of other things as a second class, and "
        f"fit a run that is trained on other classes: {fit}",
        2: f"a run that is trained on other classes tells these two apart: {fit}",
    }
    return f"; {told[count]}" if count in told else ""


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
