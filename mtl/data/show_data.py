"""Showing a person what the image set of a config holds."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtl.config import Config, Data
from mtl.data import Splits, load_splits
from mtl.data.class_imbalance import share_out
from mtl.data.folder_report import Account, Duplicates, what_to_do
from mtl.data.image_groups import shared_names
from mtl.data.levels import told as told_of_levels
from mtl.data.summary import SplitRow, describe, pair_sheet, sample_sheet
from mtl.errors import UserError
from mtl.runtime.figure_files import drawn_here

_COLOURS = {1: "grey", 3: "colour"}


def show_data(config: Config, sheet: Path | None) -> None:
    """Prints the splits of the image set as a table, and draws a sheet of samples.

    Where `sheet` is None, the sheet goes to `<data.name>.png` in the working folder, away from the pictures;
    beside it goes a picture of what is there twice. A set that is too small for the episodes of the config is
    shown all the same, and so is a folder with pictures that training would refuse.

    Raises:
        UserError: the set cannot be had, or the sheet cannot be written.
    """
    path = sheet or Path(f"{config.data.name}.png")
    beside = path.with_name(f"{path.stem}-duplicates.png")
    if sheet is None:
        _require_ours(path, beside)
    splits, account = _look_at(config.data)
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(_table(splits.name, describe(splits)))
    if told := _changes(splits, config.data):
        console.print(told, highlight=False, soft_wrap=True)
    lines = group_lines(splits) + ([] if account is None else findings(account, config.data))
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    sample_sheet(splits, path, config.data.split_seed)
    console.print(f"Samples: {escape(str(path))}", highlight=False, soft_wrap=True)
    if account is not None and account.duplicates is not None and account.duplicates.pairs:
        pair_sheet(account.duplicates, beside)
        console.print(f"Duplicates: {escape(str(beside))}", highlight=False, soft_wrap=True)


def _require_ours(*paths: Path) -> None:
    """
    Raises:
        UserError: a sheet would be written over a file that this program has not drawn.
    """
    for path in paths:
        if path.exists() and not drawn_here(path):
            raise UserError(
                f"{path}: is there already and no sheet of this program; --sheet writes elsewhere"
            )


def _look_at(data: Data) -> tuple[Splits, Account | None]:
    """The set, and for a person's own images what was found beside it."""
    if data.name != "image_folder":
        return load_splits(data, data.split_seed), None
    from mtl.data.sources.image_folder import survey

    found = survey(data, data.split_seed)
    return found.splits, found.account


def _changes(splits: Splits, data: Data) -> str:
    """What becomes of the training images; nothing where pretraining sees all of them as they are."""
    shares, train = share_out(splits.train, data), splits.train
    parts = []
    if len(shares.held_out):
        parts.append(f"{len(shares.held_out):,} held out")
    if len(shares.seen) + len(shares.held_out) < len(train):
        counts = torch.bincount(train.labels[shares.seen], minlength=train.num_classes)
        parts.append(f"{int(counts.min())} to {int(counts.max())} a class")
    if wrong := int(shares.mislabelled.sum()):
        parts.append(f"{wrong:,} of them mislabelled")
    return (
        f"Pretraining sees {len(shares.seen):,} of the training images: {', '.join(parts)}." if parts else ""
    )


def _table(name: str, rows: list[SplitRow]) -> Table:
    table = Table(title=f"{name}: {sum(row.classes for row in rows):,} classes", title_justify="left")
    for column in ("split", "classes", "images", "images a class", "size", "groups"):
        table.add_column(column, justify="left" if column == "split" else "right", no_wrap=True)
    for row in rows:
        spread = f"{row.fewest}" if row.fewest == row.most else f"{row.fewest} – {row.median:g} – {row.most}"
        table.add_row(
            row.split,
            f"{row.classes:,}",
            f"{row.images:,}",
            spread,
            f"{row.size}×{row.size} {_COLOURS.get(row.channels, f'{row.channels} channels')}",
            "–" if row.groups is None else str(row.groups),
        )
    if any(row.fewest != row.most for row in rows):
        table.caption, table.caption_justify = "images a class: fewest – median – most", "left"
    return table


_NAMED = 8  # classes of a sentence
_LISTED = 20  # files below one
_PLACES = {"splits": "in two splits", "classes": "in two classes of a split", "class": "within a class"}


def findings(account: Account, data: Data) -> list[str]:
    """Lines for a person to read; none where there is nothing to say but that nothing is there twice."""
    lines = []
    if account.unnamed:
        lines.append(f"Left out, not named in data.classes: {_counted(account.unnamed)}.")
    if account.scarce:
        least = data.min_images
        few = "no images" if least == 1 else f"fewer than data.min_images = {least} images"
        names = sorted(account.scarce) if least == 1 else _with_counts(account.scarce)
        lines.append(f"Left out, with {few}: {_counted(names)}.")
    if account.capped:
        most = data.max_images or 0
        aside = sum(account.capped.values()) - most * len(account.capped)
        lines.append(
            f"More than data.max_images = {most} images: {_counted(_with_counts(account.capped))}; {aside:,} "
            "of them are left out."
        )
    if account.passed_over:
        head = f"Passed over: {len(account.passed_over):,} of the names in the folder."
        lines += [head, *_listed_with_reasons(account.passed_over)]
    lines += [*account.alike, *told_of_levels(account.levels, account.deep)]
    if account.unreadable:
        lines += _unreadable(account.unreadable, data)
    return lines + _duplicates(account.duplicates, data)


def group_lines(splits: Splits) -> list[str]:
    """What there is to say of the groups of images (data.group_by); nothing where there are none."""
    lines, of_class, split_of = list[str](), dict[str, list[str]](), dict[str, str]()
    for split, images in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        if (groups := images.group_ids()) is None:
            continue
        of_group = dict(zip(groups.tolist(), images.labels.tolist(), strict=True))
        counts = Counter(of_group.values())
        few, most = min(counts.values()), max(counts.values())
        line = f"Groups in {split}: {len(of_group):,}, {few} to {most} a class"
        if alone := images.image_groups.count(""):
            line += f"; of these, {_number(alone, 'image')} that data.group_by does not match"
        lines.append(f"{line}.")
        if single := [name for c, name in enumerate(images.class_names) if counts[c] == 1]:
            lines.append(f"  All images of one group, so that there is no episode: {_counted(single)}.")
        for name, label in zip(images.image_groups, images.labels.tolist(), strict=True):
            of_class.setdefault(images.class_names[label], []).append(name)
            split_of[images.class_names[label]] = split
    if not (shared := shared_names(of_class)):
        return lines
    crossing = sum(len({split_of[name] for name in classes}) > 1 for classes in shared.values())
    head = (
        f"In several classes: {_number(len(shared), 'group name')}, {crossing:,} of them in two splits. "
        "Where such a name is one clip or one animal, its pictures leak from class to class; if each class "
        "counts its groups anew, nothing is wrong."
    )
    named = [f"{name}: {', '.join(classes[:_NAMED])}" for name, classes in shared.items()]
    return [*lines, head, *_listed(named, len(shared))]


def _unreadable(files: Mapping[str, str], data: Data) -> list[str]:
    then = "left out" if data.unreadable == "skip" else "training ends with that (data.unreadable = refuse)"
    head = f"Unreadable: {_number(len(files), 'image')}; {then}."
    return [head, *_listed_with_reasons(files)]


def _duplicates(found: Duplicates | None, data: Data) -> list[str]:
    if found is None:
        return ["The same picture twice: not looked for (data.duplicates = keep)."]
    if not found.pairs:
        exact = " (to the pixel; nearly equal ones were not looked for)" if data.duplicates == "exact" else ""
        return [f"The same picture twice: none{exact}."]
    near = (
        "nearly equal ones not looked for" if data.duplicates == "exact" else f"{found.total(False):,} nearly"
    )
    kinds = f"{_number(found.total(True), 'pair')} the same, {near}"
    places = [f"{sum(count):,} {_PLACES[place]}" for place, count in found.counts.items() if sum(count)]
    if data.duplicates == "drop":
        then = f" {_number(found.left_out, 'image')} left out (data.duplicates = drop)."
    elif found.crossing:
        then = (
            f" Training ends with those that are not within a class (data.duplicates = {data.duplicates}). "
            f"{what_to_do(found)}."
        )
    else:
        then = ""
    pairs = [f"{p.one} {'=' if p.exact else '≈'} {p.other}" for p in found.pairs]
    total = found.total(True) + found.total(False)
    return [f"The same picture twice: {kinds}; {', '.join(places)}.{then}", *_listed(pairs, total)]


def _counted(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{_number(len(names), 'class')} ({', '.join(names[:_NAMED])}{more})"


def _with_counts(classes: Mapping[str, int]) -> list[str]:
    return [f"{name} {count:,}" for name, count in sorted(classes.items())]


def _listed_with_reasons(files: Mapping[str, str]) -> list[str]:
    return _listed([f"{file}: {why}" for file, why in files.items()], len(files))


def _listed(lines: Iterable[str], total: int) -> list[str]:
    shown = [f"  {line}" for line in list(lines)[:_LISTED]]
    return [*shown, f"  and {total - len(shown):,} more"] if total > len(shown) else shown


def _number(count: int, thing: str) -> str:
    many = f"{thing}{'es' if thing.endswith('s') else 's'}"
    return f"{count:,} {thing if count == 1 else many}"
