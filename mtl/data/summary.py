"""What an image set holds: in numbers, and as one picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure, FigureBase
from torch import Tensor

from mtl.data.duplicates import Place
from mtl.data.folder_report import Duplicates
from mtl.data.image_set import ImageSet, Splits
from mtl.runtime.figure_files import DPI, FONTS, save_png, short, text
from mtl.runtime.seeds import generator

_CLASSES, _SAMPLES = 10, 8  # of a split on the sheet; samples of a class
_GAP = 0.08  # between two samples, share of an image's side
_PAPER = 1.0  # what lies between them, as bright as the sheet
_LONGEST = 44  # characters of a class name
_HEAD, _ROW, _FOOT = 0.62, 0.72, 0.16  # inches
_HEIGHT = _HEAD + _ROW * _CLASSES + _FOOT
_COLUMNS = 3  # pairs beside each other
_WIDTH, _PAIR, _NAMES = 3.6, 1.5, 0.72  # inches: of a pair; of its pictures; of the words below
_PLACES: dict[Place, str] = {"splits": "in two splits", "classes": "in two classes", "class": "in one class"}


@dataclass(frozen=True)
class SplitRow:
    """One split in numbers."""

    split: str
    classes: int
    images: int
    fewest: int  # images of a class: the smallest, the middle and the largest count
    median: float
    most: int
    size: int  # pixels a side
    channels: int
    groups: int | None  # superclasses, alphabets or scripts; None where the set has none


def describe(splits: Splits) -> list[SplitRow]:
    """One row for each split: train, val, test."""
    rows = []
    for name, images in _parts(splits):
        counts = images.class_counts()
        groups = None if images.groups is None else len(set(images.groups))
        rows.append(
            SplitRow(
                split=name,
                classes=images.num_classes,
                images=len(images),
                fewest=int(counts.min()),
                median=float(counts.double().quantile(0.5)),
                most=int(counts.max()),
                size=images.size,
                channels=images.channels,
                groups=groups,
            )
        )
    return rows


def sample_sheet(splits: Splits, path: Path, seed: int) -> None:
    """Draws one PNG: a column for each split, in it some classes by name, with some images of each.

    Classes and images are drawn from `seed` alone.

    Raises:
        UserError: the file cannot be written.
    """
    figure = Figure(figsize=(12.6, _HEIGHT), dpi=DPI, facecolor="white")
    grid = figure.add_gridspec(1, 3)
    for i, (name, images) in enumerate(_parts(splits)):
        _draw_split(figure.add_subfigure(grid[0, i]), name, images, generator(seed, "sheet", name))
    save_png(figure, path)


def pair_sheet(duplicates: Duplicates, path: Path) -> None:
    """Draws one PNG: the first pairs of pictures that show the same, side by side, by file.

    Raises:
        UserError: the file cannot be written.
    """
    count = len(duplicates.pairs)
    rows = -(-count // _COLUMNS)
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


def _parts(splits: Splits) -> Iterator[tuple[str, ImageSet]]:
    yield from (("train", splits.train), ("val", splits.val), ("test", splits.test))


def _draw_split(column: FigureBase, name: str, images: ImageSet, random: torch.Generator) -> None:
    top, height = 1 - _HEAD / _HEIGHT, _ROW / _HEIGHT
    column.text(0.05, top + 0.035, name, fontsize=13, fontweight="bold", va="center")
    column.text(
        0.95, top + 0.035, f"{images.num_classes:,} classes", fontsize=9, color="0.4", ha="right", va="center"
    )
    chosen = torch.randperm(images.num_classes, generator=random)[:_CLASSES].sort().values.tolist()
    for row, label in enumerate(chosen):
        base = top - (row + 1) * height
        name = short(images.class_names[label], _LONGEST)
        how: dict[str, Any] = {"va": "center", "fontfamily": list(FONTS), "parse_math": False}  # a $ is a $
        column.text(0.05, base + 0.86 * height, name, fontsize=8, **how)
        axes = column.add_axes((0.05, base + 0.08 * height, 0.9, 0.66 * height))
        axes.axis("off")
        members = (images.labels == label).nonzero().flatten()
        shown = members[torch.randperm(len(members), generator=random)[:_SAMPLES]]
        axes.set_anchor("W")
        axes.imshow(_strip(images.images[shown]).numpy(), vmin=0, vmax=1, interpolation="nearest")


def _strip(images: Tensor, places: int = _SAMPLES) -> Tensor:
    """(size, width, 3) floats in [0, 1]: (n, channels, size, size) side by side, in room for `places`."""
    size = images.shape[-1]
    step = size + max(1, round(_GAP * size))
    strip = torch.full((3, size, places * step), _PAPER)
    for i, image in enumerate(images):
        strip[:, :, i * step : i * step + size] = image.float() / 255  # one channel becomes three alike
    return strip.permute(1, 2, 0)
