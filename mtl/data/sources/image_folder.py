"""A person's own images: `<root>/<class>/*`, `<root>/{train,val,test}/<class>/*`, or a CSV list of files."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mtl.config import Data
from mtl.data.cache import Notes, cached_with_notes, fingerprint_of_files, fingerprint_of_folders
from mtl.data.class_tree import PARTS
from mtl.data.decode import decode, decode_readable, escaped, require_readable, source_name
from mtl.data.duplicates import ALIKE, COLOUR, DETAIL, LOCAL, find_copies, surplus
from mtl.data.folder_classes import Choice, choose
from mtl.data.folder_report import Account, Duplicates, Survey, from_notes, to_notes, what_to_do, with_names
from mtl.data.image_groups import group_name
from mtl.data.image_set import ImageSet, Splits
from mtl.data.levels import FULL, largest_values, top_of
from mtl.data.levels import told as told_of_levels
from mtl.errors import UserError, one_line
from mtl.runtime.figure_files import drawn_here

_log = logging.getLogger(__name__)
_ADVICE = "; the command data lists what cannot be read, and data.unreadable = skip leaves it out"


def load(config: Data, seed: int) -> Splits:
    """Splits as the folders or `data.classes` give them, or drawn by `seed`; 84×84 unless it says otherwise.

    Raises:
        UserError: no folder or too few classes; an image that cannot be read, or one that is in two classes,
            unless `data.unreadable` or `data.duplicates` say what to do with them.
    """
    found = survey(config, seed, sound=True)
    account = found.account
    if config.unreadable == "refuse":
        require_readable(account.unreadable, _base(config), _ADVICE)
    if account.duplicates is not None and config.duplicates in {"refuse", "exact"}:
        require_apart(account.duplicates, _base(config))
    if told := _left_out(account):
        _log.warning("%s: left out %s; the command data names them", one_line(config.root), told)
    for sentence in (*account.alike, *told_of_levels(account.levels, account.deep)):
        _log.warning("%s: %s", one_line(config.root), sentence)
    return found.splits


def survey(config: Data, seed: int, sound: bool = False) -> Survey:
    """The set of a folder, whatever is wrong with single files, and an account of what.

    Args:
        config: `data` of a config.
        seed: of all that is drawn.
        sound: ends with the first mistake that `load` would end with, before more is found or kept.

    Raises:
        UserError: no folder, or too few classes.
    """
    choice = choose(Path(config.root), config, seed)
    root = _base(config)
    size, grayscale = config.image_size or 84, bool(config.grayscale)
    search, drop, near = (
        config.duplicates != "keep",
        config.duplicates == "drop",
        config.duplicates != "exact",
    )
    files = [f for part in choice.parts for fs in part.values() for f in fs]

    def build() -> tuple[Splits, Notes]:
        parts, unreadable = [], dict[str, str]()
        drawn = {file for file in files if drawn_here(file)}
        deep = largest_values(file for file in files if file not in drawn)
        top = top_of(deep, config.levels) if deep else None
        for classes in choice.parts:
            pictures = {name: [f for f in fs if f not in drawn] for name, fs in classes.items()}
            part, told = decode_readable(pictures, size, grayscale, root, choice.groups, top or FULL)
            parts.append(part)
            unreadable |= told
        if sound and config.unreadable == "refuse":
            require_readable(unreadable, root, _ADVICE)
        duplicates = None
        if search:
            parts, duplicates = _searched(parts, drop, near)
        parts, scarce = _large_enough(parts, config, root)
        splits = Splits(parts[0], parts[1], parts[2], config.name)
        names = [source_name(file, root) for file in sorted(drawn)]
        found = {"drawn": names, "levels": top, "deep": len(deep)}
        return splits, {**to_notes(unreadable, scarce, duplicates), **found}

    def still_unreadable(notes: Notes) -> bool:
        """A file may have become readable by rights or by a package, and look the same from outside."""
        if not notes["unreadable"]:
            return True
        by_name = {source_name(file, root): file for file in files}
        return not any(_is_readable(by_name[name], size) for name in notes["unreadable"])

    key = (
        *(size, grayscale, [sorted(part) for part in choice.parts], config.min_images),
        *((config.max_images, seed) if choice.capped else ()),
        *((config.group_by,) if choice.capped and config.group_by else ()),
        ("levels", config.levels),
        *((ALIKE, DETAIL, LOCAL, COLOUR, drop) if search and near else ("exact",) if search else ()),
        *((choice.groups,) if choice.groups is not None else ()),
        fingerprint_of_folders(choice.folders, root)
        if choice.folders
        else _fingerprint_of_list(choice, root),
    )
    splits, notes = cached_with_notes(root, config.name, key, build, still_unreadable, config.cache)
    if config.group_by is not None:
        splits = _in_groups(splits, {source_name(file, root): file for file in files}, config.group_by)
    unreadable, scarce, duplicates = from_notes(notes)
    drawn = dict.fromkeys(notes.get("drawn", ()), "is a drawing of this program, not a picture")
    account = Account(
        choice.unnamed,
        {**choice.scarce, **scarce},
        choice.capped,
        {**choice.passed_over, **drawn},
        unreadable,
        duplicates,
        notes["levels"],
        notes["deep"],
        choice.alike,
    )
    return Survey(replace(splits, levels=account.levels), account)


def _base(config: Data) -> Path:
    """The folder that names of files are relative to, and that keeps the decoded copy."""
    root = Path(config.root)
    return root.parent if root.is_file() else root


def _fingerprint_of_list(choice: Choice, root: Path) -> str:
    return fingerprint_of_files(
        {
            f"{name}\0{source_name(file, root)}": file
            for part in choice.parts
            for name, files in part.items()
            for file in files
        }
    )


def require_apart(found: Duplicates, root: Path) -> None:
    """Refuses a picture that is in two classes; copies within a class are harmless.

    Raises:
        UserError: there is one.
    """
    if not found.crossing:
        return
    pair = found.pairs[0]  # those of two classes stand foremost
    one, other = (one_line(root / file) for file in (pair.one, pair.other))
    same = f"{'' if pair.exact else 'nearly '}the same picture in two {pair.place}"
    rest = found.crossing - 1
    more = (
        f", and there {'is 1 more such pair' if rest == 1 else f'are {rest:,} more such pairs'}"
        if rest
        else ""
    )
    raise UserError(f"{one} and {other} are {same}{more}; the command data shows them. {what_to_do(found)}")


def _in_groups(splits: Splits, files: Mapping[str, Path], pattern: str) -> Splits:
    """The splits with the groups of their images, by the names of the files.

    Args:
        splits: without groups.
        files: of the images, by the names that the splits have for them.
        pattern: regular expression, as `data.group_by` has it.
    """
    names = {source: group_name(escaped(file.name), pattern) for source, file in files.items()}

    def grouped(images: ImageSet) -> ImageSet:
        found = replace(images, image_groups=tuple(names[file] for file in images.files))
        found.recall_mean_std(images.mean_std())
        return found

    return Splits(grouped(splits.train), grouped(splits.val), grouped(splits.test), splits.name)


def _left_out(account: Account) -> str:
    """How many images were left out for what is wrong with them; nothing where none was."""
    twice = account.duplicates.left_out if account.duplicates else 0
    counts = {"unreadable": len(account.unreadable), "there twice": twice}
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    return f"images: {' and '.join(parts)}" if parts else ""


def _searched(parts: Sequence[ImageSet], drop: bool, near: bool) -> tuple[list[ImageSet], Duplicates]:
    copies = find_copies(parts, near)
    out = surplus(copies) if drop else torch.zeros(len(copies.first), dtype=torch.bool)
    duplicates = with_names(copies, parts, int(out.sum()))
    if not out.any():
        return list(parts), duplicates
    stays = torch.split(~out, [len(part) for part in parts])
    return [_kept(part, rows) for part, rows in zip(parts, stays, strict=True)], duplicates


def _kept(images: ImageSet, rows: Tensor) -> ImageSet:
    files = tuple(file for file, stays in zip(images.files, rows.tolist(), strict=True) if stays)
    return ImageSet(images.images[rows], images.labels[rows], images.class_names, images.groups, files)


def _large_enough(
    parts: Sequence[ImageSet], config: Data, root: Path
) -> tuple[list[ImageSet], dict[str, int]]:
    """The splits without classes that have lost too many images, and those classes with what they have."""
    scarce: dict[str, int] = {}
    kept = []
    for name, part in zip(PARTS, parts, strict=True):
        counts = part.class_counts()
        few = counts < config.min_images
        scarce |= {part.class_names[c]: int(counts[c]) for c in few.nonzero().flatten().tolist()}
        if few.all():
            raise UserError(
                f"{one_line(root)}: {name} is left without a class; none has data.min_images = "
                f"{config.min_images} images that can be read and show something of their own"
            )
        kept.append(part.select((~few).nonzero().flatten().tolist()) if few.any() else part)
    return kept, scarce


def _is_readable(file: Path, size: int) -> bool:
    try:
        decode(file, size, grayscale=True)
    except UserError:
        return False
    return True
