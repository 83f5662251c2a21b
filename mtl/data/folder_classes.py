"""Which folders of a person's own images are base, validation and novel classes, and which files count."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby, pairwise
from pathlib import Path

import torch

from mtl.config import Data
from mtl.data.class_tree import PARTS, composed, find_classes, require_distinct_names, similar_name_messages
from mtl.data.decode import escaped
from mtl.data.folder_report import FolderReport
from mtl.data.folders import shell_quoted
from mtl.data.image_groups import group_name
from mtl.errors import UserError, counted, one_line
from mtl.runtime.seeds import derive_seed, generator


@dataclass(frozen=True)
class Choice:
    """The classes of train, val and test."""

    parts: tuple[dict[str, list[Path]], ...]  # the files of each class that count
    folders: tuple[Path, ...]  # of all these classes; none where a list names the files
    groups: Mapping[str, str] | None  # of each class the folder that it is in (data.layout = nested)
    report: FolderReport  # what was left out, as far as names of files and folders show

    def files(self) -> list[Path]:
        """Of all classes."""
        return [file for part in self.parts for files in part.values() for file in files]


def choose(root: Path, config: Data, seed: int) -> Choice:
    """The classes of a folder or list in their splits, as `data.classes`, `min_images` and `max_images` say.

    Raises:
        UserError: there are too few classes, one is in two splits, or a name in `data.classes` matches none.
    """
    tree = find_classes(root, config.layout)
    patterns = {part: getattr(config.classes, part) for part in PARTS}
    if tree.parts is not None and any(patterns.values()):
        raise UserError(
            f"data.classes: {one_line(root)} is divided into train, val and test already; leave data.classes "
            "out, or let data.layout=merge put the pictures of all splits together"
        )
    named = {} if tree.parts is not None else claimed(tree.files, patterns, root)
    files = dict(tree.files)
    require_distinct_names(files, root)
    scarce = {name: len(of_class) for name, of_class in files.items() if len(of_class) < config.min_images}
    enough = [name for name in files if name not in scarce]
    if config.group_by is not None:
        _require_groups(root, files, config.group_by)
    left_out = _scarce_text(scarce, config.min_images)
    unnamed: list[str] = []
    if tree.parts is None:
        lists, unnamed = _divide(root, enough, named, config, seed, left_out)
    else:
        lists = [[name for name in sorted(part) if name not in scarce] for part in tree.parts]
    for part, classes in zip(PARTS, lists, strict=True):
        if not classes:
            raise UserError(f"{one_line(root)}: {part} is left without a class{left_out}")
    chosen = [name for classes in lists for name in classes]
    most = config.max_images
    capped = {name: len(files[name]) for name in chosen if most is not None and len(files[name]) > most}
    for name in capped:
        files[name] = drawn_images(files[name], name, most or 0, seed, config.group_by)
    return Choice(
        parts=tuple({name: files[name] for name in classes} for classes in lists),
        folders=tuple(folder for name in chosen for folder in tree.folders.get(name, ())),
        groups=tree.groups,
        report=FolderReport(
            unnamed=tuple(unnamed),
            scarce=scarce,
            capped=capped,
            passed_over=tree.passed_over,
            similar_names=tuple(similar_name_messages(chosen)),
        ),
    )


def _require_groups(root: Path, files: Mapping[str, Sequence[Path]], pattern: str) -> None:
    names = [escaped(file.name) for of_class in files.values() for file in of_class]
    if not any(group_name(name, pattern) for name in names):
        example = f", such as {names[0]}" if names else ""
        raise UserError(
            f"data.group_by: {pattern!r} fits no file below {one_line(root)}{example}; it is searched in the "
            "name of the file"
        )


def claimed(classes: Iterable[str], patterns: Mapping[str, Sequence[str]], root: Path) -> dict[str, str]:
    """The split of each class that `data.classes` names, by itself or by a pattern such as `dog*`.

    Raises:
        UserError: a name or pattern matches no class, or two splits claim one.
    """
    claims: dict[str, tuple[str, str]] = {}  # of each class the split and the name that claim it
    known = {composed(name): name for name in classes}  # as keyboards write é, and macOS does not
    for part, of_part in patterns.items():
        for pattern in of_part:
            wanted = composed(pattern)
            fitting = [wanted] if wanted in known else [n for n in known if fnmatchcase(n, wanted)]
            if not fitting:
                near = difflib.get_close_matches(wanted, known, 1, 0.5)
                hint = f"; did you mean {known[near[0]]}?" if near else ""
                raise UserError(f"data.classes.{part}: {pattern!r} fits no class of {one_line(root)}{hint}")
            for name in fitting:
                before, other = claims.setdefault(known[name], (part, pattern))
                if before != part:
                    raise UserError(
                        f"data.classes: class {known[name]} is claimed by {before} ({other!r}) and by {part} "
                        f"({pattern!r}); a class can be in one split only"
                    )
    return {name: part for name, (part, _) in claims.items()}


def drawn_images(
    files: Sequence[Path], name: str, most: int, seed: int, group_by: str | None = None
) -> list[Path]:
    """`most` of a class's files, sorted: those with the lowest numbers, out of seed, class and file name.

    Other classes and other files do not change them. With `group_by` the number is that of the file's group,
    and a group for which no room is left is passed over: only where there is room for none is the first one
    cut.
    """

    def number(file: Path) -> int:
        group = group_name(escaped(file.name), group_by) if group_by else ""
        return derive_seed(seed, "max_images", name, group or file.name)

    order = sorted(files, key=number)
    if group_by is None:
        return sorted(order[:most])
    drawn: list[Path] = []
    for _, group in groupby(order, number):
        members = list(group)
        drawn += members if len(drawn) + len(members) <= most else []
    return sorted(drawn or order[:most])


def drawn_classes(names: Sequence[str], shares: Sequence[float], seed: int) -> list[list[str]]:
    """The sorted names, no fewer than the shares, divided at random: a list for each share, none empty."""
    order = torch.randperm(len(names), generator=generator(seed, "split")).tolist()
    ends, total = [0], 0.0
    for i, share in enumerate(shares, 1):
        total += share / sum(shares) * len(names)
        ends.append(min(max(ends[-1] + 1, round(total)), len(names) - len(shares) + i))
    ends[-1] = len(names)
    return [[names[i] for i in order[a:b]] for a, b in pairwise(ends)]


def _divide(
    root: Path, names: Sequence[str], named: Mapping[str, str], config: Data, seed: int, left_out: str
) -> tuple[list[list[str]], list[str]]:
    """The classes of each split, and those that no split names where all have names.

    `named` has, by class, the split that names it; `left_out` ends a sentence with what other classes lack.
    """
    lists = {part: [name for name in names if named.get(name) == part] for part in PARTS}
    free = [part for part in PARTS if not getattr(config.classes, part)]
    rest = [name for name in names if name not in named]
    if not free:
        return [lists[part] for part in PARTS], rest
    if len(rest) < len(free) < len(PARTS):
        raise UserError(
            f"{one_line(root)}: {counted(len(rest), 'class')} left for {' and '.join(free)}, which "
            f"data.classes does not name; each needs one at least{left_out}"
        )
    if len(rest) < len(free):
        raise UserError(
            f"{one_line(root)}: holds {counted(len(rest), 'class')}; at least {len(PARTS)} are needed to "
            f"split them{left_out or _fit_instead(root, len(rest))}"
        )
    shares = [config.split_fractions[PARTS.index(part)] for part in free]
    lists |= dict(zip(free, drawn_classes(rest, shares, seed), strict=True))
    return [lists[part] for part in PARTS], []


def _fit_instead(root: Path, classes: int) -> str:
    out = shell_quoted(Path(f"{root.stem}.fewshot"))
    fit = f"run_meta.py fit --run checkpoints/RUN --support {shell_quoted(root)} --out {out}"
    if classes == 1:
        return (
            "; to tell whether a picture is of it or not, add pictures of other things as a second class, "
            f"and fit a run that is trained on other classes: {fit}"
        )
    return f"; a run that is trained on other classes tells these two apart: {fit}" if classes == 2 else ""


def _scarce_text(scarce: Mapping[str, int], least: int) -> str:
    if not scarce:
        return ""
    few = "no images" if least == 1 else f"fewer images than data.min_images = {least}"
    deeper = "; images must be right in <class>/, folders below that are not looked into"
    return f" ({len(scarce)} more have {few}{'' if min(scarce.values()) else deeper})"
