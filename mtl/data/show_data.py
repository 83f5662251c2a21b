"""Showing a person what the image set of a config holds: numbers, a sheet of samples, what is wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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
from mtl.runtime.figure_files import DPI, PLAIN_TEXT, drawn_here, save_png, short
from mtl.runtime.seeds import generator

_CLASSES, _SAMPLES = 10, 8  # of a split on the sheet; samples of a class
_GAP = 0.08  # between two samples, share of an image's side
_PAPER = 1.0  # between them, as bright as the sheet
_LONGEST = 44  # characters of a class name
_COLUMNS = 3  # pairs beside each other
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
    with rc_context(PLAIN_TEXT):
        figure = Figure(figsize=(12.6, 8), dpi=DPI, layout="constrained")
        columns = figure.subfigures(1, 3, squeeze=False)[0]
        for column, (name, images) in zip(columns, _parts(splits), strict=True):
            column.suptitle(f"{name}: {images.num_classes:,} classes", x=0.03, ha="left", weight="bold")
            random = generator(seed, "sheet", name)
            chosen = torch.randperm(images.num_classes, generator=random)[:_CLASSES].sort().values.tolist()
            rows = column.subplots(_CLASSES, 1)
            for axes, label in zip(rows, chosen, strict=False):
                members = (images.labels == label).nonzero().flatten()
                shown = members[torch.randperm(len(members), generator=random)[:_SAMPLES]]
                axes.set_title(short(images.class_names[label], _LONGEST), loc="left", fontsize=8)
                _draw_strip(axes, images.images[shown], _SAMPLES)
            for axes in rows[len(chosen) :]:
                axes.axis("off")
    save_png(figure, path)


def pair_sheet(duplicates: Duplicates, path: Path) -> None:
    """Draws one PNG: the first pairs of pictures that show the same, side by side, by file."""
    rows = -(-len(duplicates.pairs) // _COLUMNS)
    with rc_context(PLAIN_TEXT):
        figure = Figure(figsize=(10.8, 2.4 * rows), dpi=DPI, layout="constrained")
        panels = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
        for axes, pair, pictures in zip(panels, duplicates.pairs, duplicates.pictures, strict=False):
            kind = "the same" if pair.exact else "nearly the same"
            files = "\n".join(short(file, _LONGEST) for file in (pair.one, pair.other))
            axes.set_title(f"{kind}, {_PLACES[pair.place]}\n{files}", loc="left", fontsize=8)
            _draw_strip(axes, pictures, 2)
        for axes in panels[len(duplicates.pairs) :]:
            axes.axis("off")
    save_png(figure, path)


def _draw_strip(axes: Axes, images: Tensor, places: int) -> None:
    axes.imshow(_strip(images, places).numpy(), vmin=0, vmax=1, interpolation="nearest")
    axes.set_anchor("W")
    axes.axis("off")


def _strip(images: Tensor, places: int) -> Tensor:
    """(size, width, 3) floats in [0, 1]: (n, channels, size, size) side by side, in room for `places`."""
    size = images.shape[-1]
    step = size + max(1, round(_GAP * size))
    strip = torch.full((3, size, places * step), _PAPER)
    for i, image in enumerate(images):
        strip[:, :, i * step : i * step + size] = image.float() / 255  # one channel becomes three equal ones
    return strip.permute(1, 2, 0)
