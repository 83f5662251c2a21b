"""A person's own images: `<root>/<class>/*`, or `<root>/{train,val,test}/<class>/*`."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mtl.config import Data
from mtl.data.account import Account, Duplicates, Survey, from_notes, to_notes, with_names
from mtl.data.cache import Notes, cached_with_notes, fingerprint
from mtl.data.decode import decode, decode_readable, escaped, require_readable
from mtl.data.duplicates import ALIKE, COLOUR, DETAIL, LOCAL, find_copies, surplus
from mtl.data.folder_classes import PARTS, choose
from mtl.data.image_set import ImageSet, Splits
from mtl.data.levels import FULL, largest_values, top_of
from mtl.data.levels import told as told_of_levels
from mtl.errors import UserError, one_line

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
        require_readable(account.unreadable, Path(config.root), _ADVICE)
    if account.duplicates is not None and config.duplicates == "refuse":
        require_apart(account.duplicates, config.root)
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
    root = Path(config.root)
    if not root.is_dir():
        raise UserError(f"data.root: {one_line(root)} is no folder; image_folder wants <root>/<class>/*")
    choice = choose(root, config, seed)
    size, grayscale = config.image_size or 84, bool(config.grayscale)
    search, drop = config.duplicates != "keep", config.duplicates == "drop"
    files = {
        escaped(str(f.relative_to(root))): f for part in choice.parts for fs in part.values() for f in fs
    }

    def build() -> tuple[Splits, Notes]:
        parts, unreadable = [], dict[str, str]()
        deep = largest_values(files.values())
        top = top_of(deep, config.levels) if deep else None
        for classes in choice.parts:
            part, told = decode_readable(classes, size, grayscale, root, top=top or FULL)
            parts.append(part)
            unreadable |= told
        if sound and config.unreadable == "refuse":
            require_readable(unreadable, root, _ADVICE)
        duplicates = None
        if search:
            parts, duplicates = _searched(parts, drop)
        parts, scarce = _large_enough(parts, config, root)
        splits = Splits(parts[0], parts[1], parts[2], config.name)
        return splits, {**to_notes(unreadable, scarce, duplicates), "levels": top, "deep": len(deep)}

    def still_unreadable(notes: Notes) -> bool:
        """A file may have become readable by rights or by a package, and look the same from outside."""
        return not any(_is_readable(files[name], size) for name in notes["unreadable"])

    key = (
        *(size, grayscale, [sorted(part) for part in choice.parts], config.min_images),
        *((config.max_images, seed) if choice.capped else ()),
        ("levels", config.levels),
        *((ALIKE, DETAIL, LOCAL, COLOUR, drop) if search else ()),
        fingerprint(choice.folders, root),
    )
    splits, notes = cached_with_notes(root, config.name, key, build, still_unreadable)
    unreadable, scarce, duplicates = from_notes(notes)
    account = Account(
        choice.unnamed,
        {**choice.scarce, **scarce},
        choice.capped,
        choice.passed_over,
        unreadable,
        duplicates,
        notes["levels"],
        notes["deep"],
        choice.alike,
    )
    return Survey(replace(splits, levels=account.levels), account)


def require_apart(found: Duplicates, root: str) -> None:
    """Refuses a picture that is in two classes; copies within a class are harmless.

    Raises:
        UserError: there is one.
    """
    if not found.crossing:
        return
    pair = found.pairs[0]  # those of two classes stand foremost
    one, other = (one_line(Path(root) / file) for file in (pair.one, pair.other))
    same = f"{'' if pair.exact else 'nearly '}the same picture in two {pair.place}"
    rest = found.crossing - 1
    more = (
        f", and there {'is 1 more such pair' if rest == 1 else f'are {rest:,} more such pairs'}"
        if rest
        else ""
    )
    raise UserError(
        f"{one} and {other} are {same}{more}; the command data shows them. Remove those that are wrong, or "
        "set data.duplicates to drop (leaves out all of them) or keep (looks for none)"
    )


def _left_out(account: Account) -> str:
    """How many images were left out for what is wrong with them; nothing where none was."""
    twice = account.duplicates.left_out if account.duplicates else 0
    counts = {"unreadable": len(account.unreadable), "there twice": twice}
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    return f"images: {' and '.join(parts)}" if parts else ""


def _searched(parts: Sequence[ImageSet], drop: bool) -> tuple[list[ImageSet], Duplicates]:
    copies = find_copies(parts)
    out = surplus(copies) if drop else torch.zeros(len(copies.first), dtype=torch.bool)
    duplicates = with_names(copies, parts, int(out.sum()))
    if not out.any():
        return list(parts), duplicates
    stays = torch.split(~out, [len(part) for part in parts])
    return [_kept(part, rows) for part, rows in zip(parts, stays, strict=True)], duplicates


def _kept(images: ImageSet, rows: Tensor) -> ImageSet:
    files = tuple(file for file, stays in zip(images.files, rows.tolist(), strict=True) if stays)
    return ImageSet(images.images[rows], images.labels[rows], images.class_names, files=files)


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
