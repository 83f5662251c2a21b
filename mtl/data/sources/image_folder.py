"""A person's own images: `<root>/<class>/*`, `<root>/{train,val,test}/<class>/*`, or a CSV list of files."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from mtl.config import Data
from mtl.data.cache import Notes, cached_with_notes, fingerprint_of_files, fingerprint_of_folders
from mtl.data.class_tree import PARTS
from mtl.data.decode import decode_readable, require_readable, source_name
from mtl.data.duplicates import ALIKE, COLOUR, DETAIL, LOCAL, find_copies, surplus
from mtl.data.folder_classes import Choice, choose
from mtl.data.folder_report import (
    Duplicates,
    FolderReport,
    Survey,
    from_notes,
    to_notes,
    what_to_do,
    with_names,
)
from mtl.data.formats import FULL, largest_values, levels_messages, top_of
from mtl.data.image_groups import group_name
from mtl.data.image_set import ImageSet, Splits
from mtl.errors import UserError, counted, one_line
from mtl.runtime.figure_files import drawn_here

_log = logging.getLogger(__name__)
_ADVICE = "; the command data lists what cannot be read, and data.unreadable = skip leaves it out"


def load(config: Data, seed: int) -> Splits:
    """Splits as the folders or `data.classes` give them, or drawn by `seed`; 84×84 is the default size.

    Raises:
        UserError: no folder or too few classes; an image that cannot be read, or one that is in two classes,
            unless `data.unreadable` or `data.duplicates` say what to do with them.
    """
    surveyed = survey(config, seed, sound=True)
    report, twice = surveyed.report, surveyed.report.duplicates
    if config.unreadable == "refuse":
        require_readable(report.unreadable, _base(config), _ADVICE)
    if twice is not None and config.duplicates in {"refuse", "exact"}:
        _require_apart(twice, _base(config))
    counts = {"unreadable": len(report.unreadable), "there twice": twice.left_out if twice else 0}
    if left_out := " and ".join(f"{count:,} {what}" for what, count in counts.items() if count):
        _log.warning("%s: left out images: %s; the command data names them", one_line(config.root), left_out)
    for sentence in (*report.similar_names, *levels_messages(report.levels, report.deep)):
        _log.warning("%s: %s", one_line(config.root), sentence)
    return surveyed.splits


def survey(config: Data, seed: int, sound: bool = False) -> Survey:
    """The set of a folder, whatever is wrong with single files, and a report on that.

    Args:
        config: `data` of a config.
        seed: of all that is drawn.
        sound: ends with the first mistake that `load` would end with, before more is searched or stored.

    Raises:
        UserError: no folder, or too few classes.
    """
    choice = choose(Path(config.root), config, seed)
    root = _base(config)

    def still_unreadable(notes: Notes) -> bool:
        """A file may become readable by permissions or by a package, and look the same from outside."""
        if not notes["unreadable"]:
            return True
        files = [file for file in choice.files() if source_name(file, root) in notes["unreadable"]]
        _, failed = decode_readable({"": files}, *_form(config), root)
        return len(failed) == len(notes["unreadable"])

    def build() -> tuple[Splits, Notes]:
        splits, report = _decoded(choice, config, sound)
        return splits, to_notes(report)

    if choice.folders:
        files_print = fingerprint_of_folders(choice.folders, root)
    else:
        of_classes = (item for part in choice.parts for item in part.items())
        names = {f"{name}\0{source_name(f, root)}": f for name, files in of_classes for f in files}
        files_print = fingerprint_of_files(names)
    key = (
        *(files_print, [sorted(part) for part in choice.parts], choice.groups),
        *(_form(config), config.min_images, config.levels),
        *((config.max_images, seed, config.group_by) if choice.report.capped else ()),
        *(config.duplicates, ALIKE, DETAIL, LOCAL, COLOUR),
    )
    splits, notes = cached_with_notes(root, config.name, key, build, still_unreadable, config.cache)
    if config.group_by is not None:
        splits = _in_groups(splits, config.group_by)
    decoded, listed = from_notes(notes), choice.report
    report = replace(
        decoded,
        unnamed=listed.unnamed,
        scarce={**listed.scarce, **decoded.scarce},
        capped=listed.capped,
        passed_over={**listed.passed_over, **decoded.passed_over},
        similar_names=listed.similar_names,
    )
    return Survey(replace(splits, levels=report.levels), report)


def _decoded(choice: Choice, config: Data, sound: bool) -> tuple[Splits, FolderReport]:
    """The splits of the files that are chosen, and what only decoding tells of them."""
    root = _base(config)
    drawn = {file for file in choice.files() if drawn_here(file)}
    deep = largest_values(file for file in choice.files() if file not in drawn)
    top = top_of(deep, config.levels) if deep else None
    parts, unreadable = [], dict[str, str]()
    for classes in choice.parts:
        pictures = {name: [f for f in files if f not in drawn] for name, files in classes.items()}
        part, failed = decode_readable(pictures, *_form(config), root, choice.groups, top or FULL)
        parts.append(part)
        unreadable |= failed
    if sound and config.unreadable == "refuse":
        require_readable(unreadable, root, _ADVICE)
    duplicates = None
    if config.duplicates != "keep":
        parts, duplicates = _searched(parts, config)
    parts, scarce = _large_enough(parts, config, root)
    why = "is a drawing of this program, not a picture"
    report = FolderReport(
        scarce=scarce,
        passed_over={source_name(file, root): why for file in sorted(drawn)},
        unreadable=unreadable,
        duplicates=duplicates,
        levels=top,
        deep=len(deep),
    )
    return Splits(parts[0], parts[1], parts[2], config.name), report


def _form(config: Data) -> tuple[int, bool]:
    """Pixels a side, and True for grey images."""
    return config.image_size or 84, bool(config.grayscale)


def _base(config: Data) -> Path:
    """The folder that names of files are relative to, and that keeps the decoded copy."""
    root = Path(config.root)
    return root.parent if root.is_file() else root


def _require_apart(duplicates: Duplicates, root: Path) -> None:
    """
    Raises:
        UserError: a picture is in two classes; copies within a class are harmless.
    """
    if not duplicates.crossing:
        return
    pair = duplicates.pairs[0]  # those of two classes come first
    one, other = (one_line(root / file) for file in (pair.one, pair.other))
    same = f"{'' if pair.exact else 'nearly '}the same picture in two {pair.place}"
    rest = duplicates.crossing - 1
    more = f" (and {counted(rest, 'more pair')})" if rest else ""
    raise UserError(
        f"{one} and {other} are {same}{more}; the command data shows them. {what_to_do(duplicates)}"
    )


def _in_groups(splits: Splits, pattern: str) -> Splits:
    """The splits with the groups of their images, by the names of the files."""

    def grouped(images: ImageSet) -> ImageSet:
        names = tuple(group_name(os.path.basename(file), pattern) for file in images.files)
        with_groups = replace(images, image_groups=names)
        with_groups.recall_mean_std(images.mean_std())
        return with_groups

    return Splits(grouped(splits.train), grouped(splits.val), grouped(splits.test), splits.name)


def _searched(parts: Sequence[ImageSet], config: Data) -> tuple[list[ImageSet], Duplicates]:
    """The splits without the copies that `data.duplicates` drops, and what is there twice."""
    copies = find_copies(parts, near=config.duplicates != "exact")
    drop = config.duplicates == "drop"
    out = surplus(copies) if drop else torch.zeros(len(copies.first), dtype=torch.bool)
    duplicates = with_names(copies, parts, int(out.sum()))
    if not out.any():
        return list(parts), duplicates
    remaining = []
    for part, rows in zip(parts, torch.split(~out, [len(part) for part in parts]), strict=True):
        files = tuple(file for file, stays in zip(part.files, rows.tolist(), strict=True) if stays)
        remaining.append(ImageSet(part.images[rows], part.labels[rows], part.class_names, part.groups, files))
    return remaining, duplicates


def _large_enough(
    parts: Sequence[ImageSet], config: Data, root: Path
) -> tuple[list[ImageSet], dict[str, int]]:
    """The splits without classes that have lost too many images, and those classes with what they have."""
    scarce: dict[str, int] = {}
    large = []
    for name, part in zip(PARTS, parts, strict=True):
        counts = part.class_counts()
        few = counts < config.min_images
        scarce |= {part.class_names[c]: int(counts[c]) for c in few.nonzero().flatten().tolist()}
        if few.all():
            raise UserError(
                f"{one_line(root)}: {name} is left without a class; none has data.min_images = "
                f"{config.min_images} images that can be read and are not copies of others"
            )
        large.append(part.select((~few).nonzero().flatten().tolist()) if few.any() else part)
    return large, scarce
