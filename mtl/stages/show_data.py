"""Showing a person what the image set of a config holds."""

import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtl.config import Config, Data
from mtl.data import Splits, load_splits
from mtl.data.account import Account
from mtl.data.describe import SplitRow, describe, pair_sheet, sample_sheet
from mtl.data.shares import share_out
from mtl.errors import UserError
from mtl.runtime.pictures import drawn_here
from mtl.stages.show_folder import findings, group_lines

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
