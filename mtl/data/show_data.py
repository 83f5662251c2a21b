"""Showing a person what the image set of a config holds: numbers, a sheet of samples, what is wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure, FigureBase
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from mtl.config import Config, Data
from mtl.data import ImageSet, Splits, load_splits
from mtl.data.class_imbalance import share_out
from mtl.data.duplicates import Place
from mtl.data.folder_report import Duplicates, FolderReport, findings, group_lines
from mtl.errors import UserError
from mtl.runtime.figure_files import DPI, FONTS, drawn_here, save_png, short, text
from mtl.runtime.seeds import generator

_CLASSES, _SAMPLES = 10, 8  # of a split on the sheet; samples of a class
_GAP = 0.08  # between two samples, share of an image's side
_PAPER = 1.0  # between them, as bright as the sheet
_LONGEST = 44  # characters of a class name
_HEAD, _ROW, _FOOT = 0.62, 0.72, 0.16  # inches
_HEIGHT = _HEAD + _ROW * _CLASSES + _FOOT
_COLUMNS = 3  # pairs beside each other
_WIDTH, _PAIR, _NAMES = 3.6, 1.5, 0.72  # inches: of a pair; of its pictures; of the words below
_PLACES: dict[Place, str] = {"splits": "in two splits", "classes": "in two classes", "class": "in one class"}


def show_data(config: Config, sheet: Path | None) -> None:
    """Prints the splits of the image set as a table, and draws a sheet of samples.

    The sheet goes to `<data.name>.png` in the working folder unless `sheet` names another file; beside it
    goes a picture of what is there twice. Also shows a set that is too small for the episodes of the config,
    and a folder with pictures that training would refuse.

    Raises:
        UserError: the set cannot be loaded, the sheet cannot be written, or the default one would replace a
            file that this program has not drawn.
    """
    path = sheet or Path(f"{config.data.name}.png")
    beside = path.with_name(f"{path.stem}-duplicates.png")
    for file in (path, beside):
        if sheet is None and file.exists() and not drawn_here(file):
            raise UserError(
                f"{file}: is there already and no sheet of this program; --sheet writes elsewhere"
            )
    splits, report = _load(config.data)
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(summary(splits))
    if changes := _changes(splits, config.data):
        console.print(changes, highlight=False, soft_wrap=True)
    for line in group_lines(splits) + ([] if report is None else findings(report, config.data)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    sample_sheet(splits, path, config.data.split_seed)
    console.print(f"Samples: {escape(str(path))}", highlight=False, soft_wrap=True)
    if report is not None and report.duplicates is not None and report.duplicates.pairs:
        pair_sheet(report.duplicates, beside)
        console.print(f"Duplicates: {escape(str(beside))}", highlight=False, soft_wrap=True)


def _load(data: Data) -> tuple[Splits, FolderReport | None]:
    """The set, and for a person's own images what was found beside it."""
    if data.name != "image_folder":
        return load_splits(data, data.split_seed), None
    from mtl.data.sources.image_folder import survey

    surveyed = survey(data, data.split_seed)
    return surveyed.splits, surveyed.report


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
    if not parts:
        return ""
    return f"Pretraining sees {len(shares.seen):,} of the training images: {', '.join(parts)}."


def summary(splits: Splits) -> Table:
    """One row for each split: train, val, test."""
    parts = list(_parts(splits))
    title = f"{splits.name}: {sum(images.num_classes for _, images in parts):,} classes"
    table = Table(title=title, title_justify="left")
    for column in ("split", "classes", "images", "images a class", "size", "groups"):
        table.add_column(column, justify="left" if column == "split" else "right", no_wrap=True)
    for name, images in parts:
        counts = images.class_counts()
        fewest, most = int(counts.min()), int(counts.max())
        median = float(counts.double().quantile(0.5))
        if fewest != most:
            table.caption, table.caption_justify = "images a class: fewest – median – most", "left"
        table.add_row(
            name,
            f"{images.num_classes:,}",
            f"{len(images):,}",
            f"{fewest}" if fewest == most else f"{fewest} – {median:g} – {most}",
            f"{images.size}×{images.size} {'grey' if images.channels == 1 else 'colour'}",
            "–" if images.groups is None else str(len(set(images.groups))),
        )
    return table


def _parts(splits: Splits) -> Iterator[tuple[str, ImageSet]]:
    yield from (("train", splits.train), ("val", splits.val), ("test", splits.test))


def sample_sheet(splits: Splits, path: Path, seed: int) -> None:
    """Draws one PNG: a column for each split, in it some classes by name, with some images, drawn from
    `seed`."""
    figure = Figure(figsize=(12.6, _HEIGHT), dpi=DPI, facecolor="white")
    grid = figure.add_gridspec(1, 3)
    for i, (name, images) in enumerate(_parts(splits)):
        _draw_split(figure.add_subfigure(grid[0, i]), name, images, generator(seed, "sheet", name))
    save_png(figure, path)


def _draw_split(column: FigureBase, name: str, images: ImageSet, random: torch.Generator) -> None:
    top, height = 1 - _HEAD / _HEIGHT, _ROW / _HEIGHT
    plain: dict[str, Any] = {"va": "center", "fontfamily": list(FONTS), "parse_math": False}  # a $ is a $
    column.text(0.05, top + 0.035, name, fontsize=13, fontweight="bold", va="center")
    counted = f"{images.num_classes:,} classes"
    column.text(0.95, top + 0.035, counted, fontsize=9, color="0.4", ha="right", va="center")
    chosen = torch.randperm(images.num_classes, generator=random)[:_CLASSES].sort().values.tolist()
    for row, label in enumerate(chosen):
        base = top - (row + 1) * height
        column.text(
            0.05, base + 0.86 * height, short(images.class_names[label], _LONGEST), fontsize=8, **plain
        )
        axes = column.add_axes((0.05, base + 0.08 * height, 0.9, 0.66 * height))
        axes.axis("off")
        members = (images.labels == label).nonzero().flatten()
        shown = members[torch.randperm(len(members), generator=random)[:_SAMPLES]]
        axes.set_anchor("W")
        axes.imshow(_strip(images.images[shown]).numpy(), vmin=0, vmax=1, interpolation="nearest")


def pair_sheet(duplicates: Duplicates, path: Path) -> None:
    """Draws one PNG: the first pairs of pictures that show the same, side by side, by file."""
    rows = -(-len(duplicates.pairs) // _COLUMNS)
    width, height = _COLUMNS * _WIDTH, rows * (_PAIR + _NAMES) + 2 * _FOOT
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    for i, (pair, pictures) in enumerate(zip(duplicates.pairs, duplicates.pictures, strict=True)):
        left = (i % _COLUMNS) * _WIDTH + _FOOT
        base = height - (i // _COLUMNS + 1) * (_PAIR + _NAMES)
        kind = "the same" if pair.exact else "nearly the same"
        text(figure, left, base + 0.45, f"{kind}, {_PLACES[pair.place]}", fontsize=8, fontweight="bold")
        for line, file in enumerate((pair.one, pair.other)):
            text(figure, left, base + 0.28 - 0.16 * line, short(file, _LONGEST), fontsize=7)
        strip = _strip(pictures, 2).numpy()
        across = _PAIR * strip.shape[1] / strip.shape[0]
        axes = figure.add_axes((left / width, (base + 0.6) / height, across / width, _PAIR / height))
        axes.axis("off")
        axes.imshow(strip, vmin=0, vmax=1, interpolation="nearest")
    save_png(figure, path)


def _strip(images: Tensor, places: int = _SAMPLES) -> Tensor:
    """(size, width, 3) floats in [0, 1]: (n, channels, size, size) side by side, in room for `places`."""
    size = images.shape[-1]
    step = size + max(1, round(_GAP * size))
    strip = torch.full((3, size, places * step), _PAPER)
    for i, image in enumerate(images):
        strip[:, :, i * step : i * step + size] = image.float() / 255  # one channel becomes three equal ones
    return strip.permute(1, 2, 0)
