"""A person's own images: `<root>/<class>/*`, `<root>/{train,val,test}/<class>/*`, or a CSV list of files."""

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from mtl.config import Data, Log
from mtl.data.cache import Notes, cached_notes, cached_with_notes, pixels_of, place
from mtl.data.class_tree import PARTS
from mtl.data.decode import DRAWN, require_readable
from mtl.data.decoded_set import DecodedSet, Form, decoded_set
from mtl.data.duplicates import ALIKE, COLOUR, DETAIL, LOCAL, find_copies, surplus
from mtl.data.folder_classes import choose
from mtl.data.folder_report import Duplicates, Survey, found_twice, what_to_do, with_names
from mtl.data.formats import levels_messages
from mtl.data.image_groups import group_name
from mtl.data.image_set import ImageSet, Splits, mean_std_of
from mtl.data.pixel_file import PixelWriter, images_a_block, mapped
from mtl.errors import UserError, counted, one_line

_log = logging.getLogger(__name__)
_ADVICE = "; the command data lists what cannot be read, and data.unreadable = skip leaves it out"


def load(config: Data, seed: int, log: Log | None = None) -> Splits:
    """Splits as the folders or `data.classes` give them, or drawn by `seed`; 84×84 is the default size.

    Raises:
        UserError: no folder or too few classes; an image that cannot be read, or one that is in two classes,
            unless `data.unreadable` or `data.duplicates` say what to do with them.
    """
    surveyed = survey(config, seed, sound=True, log=log)
    report, twice = surveyed.report, surveyed.report.duplicates
    if twice is not None and config.duplicates in {"refuse", "exact"}:
        _require_apart(twice, _base(config))
    counts = {"unreadable": len(report.unreadable), "there twice": twice.left_out if twice else 0}
    if left_out := " and ".join(f"{count:,} {what}" for what, count in counts.items() if count):
        _log.warning("%s: left out images: %s; the command data names them", one_line(config.root), left_out)
    for sentence in (*report.similar_names, *levels_messages(report.levels, report.deep)):
        _log.warning("%s: %s", one_line(config.root), sentence)
    return surveyed.splits


def survey(config: Data, seed: int, sound: bool = False, log: Log | None = None) -> Survey:
    """The set of a folder, whatever is wrong with single files, and a report on that.

    Args:
        config: `data` of a config.
        seed: of all that is drawn.
        sound: ends with the first file that cannot be read, if `load` would, before more is searched.
        log: how progress is shown.

    Raises:
        UserError: no folder, or too few classes.
    """
    choice = choose(Path(config.root), config, seed)
    root = _base(config)
    kept_in = root if config.cache else None
    form = Form(config.image_size or 84, bool(config.grayscale), config.levels)
    decoded = decoded_set(root, config.name, choice.parts, form, choice.groups, kept_in, log)
    unreadable = {file: why for file, why in decoded.failed.items() if why != DRAWN}
    if sound and config.unreadable == "refuse":
        require_readable(unreadable, root, _ADVICE)
    parts = (decoded.splits.train, decoded.splits.val, decoded.splits.test)
    duplicates, out = None, torch.zeros(sum(map(len, parts)), dtype=torch.bool)
    if config.duplicates != "keep":
        key = (*decoded.key, config.duplicates, ALIKE, DETAIL, LOCAL, COLOUR)
        duplicates, out = found_twice(
            cached_notes(root, config.name, key, lambda: _searched(parts, config, log), config.cache)
        )
    splits, scarce = _without(decoded, out, config)
    if config.group_by is not None:
        splits = _in_groups(splits, config.group_by)
    drawn = dict.fromkeys(sorted(file for file, why in decoded.failed.items() if why == DRAWN), DRAWN)
    report = replace(
        choice.report,
        scarce={**choice.report.scarce, **scarce},
        passed_over={**choice.report.passed_over, **drawn},
        unreadable=unreadable,
        duplicates=duplicates,
        levels=decoded.top,
        deep=decoded.deep,
    )
    return Survey(replace(splits, levels=decoded.top), report)


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


def _searched(parts: Sequence[ImageSet], config: Data, log: Log | None) -> Notes:
    """What is there twice, and which images `data.duplicates` leaves out."""
    copies = find_copies(parts, config.duplicates != "exact", log)
    out = surplus(copies) if config.duplicates == "drop" else torch.zeros(len(copies.first), dtype=torch.bool)
    return {**asdict(with_names(copies, parts, int(out.sum()))), "out": out}


def _without(decoded: DecodedSet, out: Tensor, config: Data) -> tuple[Splits, dict[str, int]]:
    """The set without images (M,) and classes that are left with too few; and these, with what they have."""
    root, scarce = _base(config), dict[str, int]()
    parts = (decoded.splits.train, decoded.splits.val, decoded.splits.test)
    chosen: list[tuple[list[int], Tensor]] = []  # classes and rows that stay, of each part
    outs = torch.split(out, [len(part) for part in parts])
    for name, part, of_part in zip(PARTS, parts, outs, strict=True):
        counts = torch.bincount(part.labels[~of_part], minlength=part.num_classes)
        few = counts < config.min_images
        scarce |= {part.class_names[c]: int(counts[c]) for c in few.nonzero().flatten().tolist()}
        if few.all():
            raise UserError(
                f"{one_line(config.root)}: {name} is left without a class; none has data.min_images = "
                f"{config.min_images} images that can be read and are not copies of others"
            )
        stay = ~of_part & ~few[part.labels]
        chosen.append(((~few).nonzero().flatten().tolist(), stay.nonzero().flatten()))

    def selected(path: Path | None) -> tuple[Splits, Notes]:
        train, val, test = (
            _selected(part, classes, rows, path and pixels_of(path, name))
            for name, part, (classes, rows) in zip(PARTS, parts, chosen, strict=True)
        )
        return Splits(train, val, test, config.name), {}

    if all(len(rows) == len(part) for part, (_, rows) in zip(parts, chosen, strict=True)):
        return selected(None)[0], scarce  # the same pixels
    digest = hashlib.blake2b(digest_size=16)
    for classes, rows in chosen:
        digest.update(repr(classes).encode() + rows.numpy().tobytes())
    path = place(root, config.name, (*decoded.key, "without", digest.hexdigest()))
    size = sum(len(rows) * parts[0].images[:1].nbytes for _, rows in chosen)
    return cached_with_notes(path, config.name, selected, keep=config.cache, size=size)[0], scarce


def _selected(images: ImageSet, classes: Sequence[int], rows: Tensor, keep: Path | None) -> ImageSet:
    """Some images of some classes; their pixels are copied to a file if there is one, piece by piece."""
    if len(rows) == len(images):
        selected = images.select(classes, rows, images.images)
        selected.recall_mean_std(images.mean_std())
        return selected
    if keep is None:
        return images.select(classes, rows)
    shape = (images.channels, images.size, images.size)
    with PixelWriter(keep, shape, resume=False) as copy:
        for some in torch.split(rows, images_a_block(shape)):
            copy.append(images.images[some])
    selected = images.select(classes, rows, mapped(keep, shape))
    selected.recall_mean_std(mean_std_of(copy.counts))
    return selected
