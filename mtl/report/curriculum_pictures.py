"""Shows which images of a self-paced pretraining counted when: a table, a picture and an animated one.

python run_meta.py curriculum checkpoints/omniglot
"""

import io
import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from mtl.config import load_config
from mtl.errors import UserError
from mtl.report import curriculum_stats as stats
from mtl.report.figures import style
from mtl.report.figures.style import BLUE, MOSS, TEAL, VERMILION, WINE
from mtl.report.run_files import at_home
from mtl.runtime.figure_files import save_png, short, write
from mtl.runtime.run_folder import RunFolder
from mtl.training import curriculum
from mtl.training.curriculum import UNMET, Curriculum
from mtl.training.run_data import load_run_data

_ROWS = 20  # of the table
_SIDE, _EDGE, _GAP = 48, 3, 2  # pixels: an image, the frame of a wrong label, white around both
_TILE = _SIDE + 2 * (_EDGE + _GAP)
_SHOWN = 14  # images of a strip
_BINS = 300  # of images, in the heat map
_CLASSES, _SAMPLES = 12, 8  # of the film; images of a class
_FRAMES, _MILLISECONDS, _LAST = 60, 330, 2000  # of the film at most; a frame, the last one
_PALEST, _PALE = 0.18, 0.55  # how strongly an image is drawn that does not count, one that barely counts
_COLOURS = {"all": "0.1", "mean v": "0.5", "right labels": BLUE, "wrong labels": VERMILION}
_COLOURS |= {"many": TEAL, "medium": MOSS, "few": WINE}


def draw_curriculum(folder: Path, out: Path | None = None) -> None:
    """Draws curriculum.png and curriculum.gif, and prints the shares of the epochs as a table.

    Args:
        folder: of a run whose pretraining was self-paced and has ended.
        out: where the pictures go; None: to the folder.

    Raises:
        UserError: the run has no record or no config, its images are not available or are no longer those of
            the record, or a picture cannot be written.
    """
    run = RunFolder(folder)
    record = curriculum.read(run.curriculum)
    config = at_home(load_config(run.config), folder)
    run_data = load_run_data(replace(config, data=replace(config.data, cache=False)))
    train = run_data.splits.train
    same = (
        train.class_names == record.class_names
        and torch.equal(run_data.pretrain_images, record.images)
        and torch.equal(train.labels[record.images], record.labels)
    )
    if not same:
        raise UserError(
            f"{run.curriculum}: was made of other images than those that {run.config} leads to now; "
            "put back the image set or the config of that pretraining"
        )
    still, moving = (out or folder) / "curriculum.png", (out or folder) / "curriculum.gif"
    wrong = f", {100 * record.mislabelled.double().mean():.0f} % of them mislabelled"
    title = f"{config.run}: self-paced pretraining, {len(record.images):,} images"
    title += wrong if record.mislabelled.any() else ""
    save_png(sheet(record, train.images, title, config.seed), still)
    gif = film(record, train.images, config.seed)
    write(moving, lambda path: path.write_bytes(gif))

    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(_table(record, title))
    never = stats.never(record.weights)
    mislabelled = int((never & record.mislabelled).sum())
    summary = f"Never counted: {int(never.sum()):,}"
    summary += f", {mislabelled:,} of them mislabelled" if mislabelled else ""
    for line in (summary, f"Pictures: {still}, {moving}"):
        console.print(escape(line), highlight=False, soft_wrap=True)


def _table(record: Curriculum, title: str) -> Table:
    table = Table(title=escape(title), title_justify="left")
    groups = stats.groups(record)
    for column in ("epoch", "images met", "that count", "share", "mean weight", *groups):
        table.add_column(column, justify="right")
    of_all = stats.pace(record.weights)
    shares = [of_all.share, *(stats.pace(record.weights, among).share for among in groups.values())]
    for e in evenly(len(record.weights), _ROWS):
        share, *of_groups = ("–" if math.isnan(s[e]) else f"{100 * float(s[e]):.1f} %" for s in shares)
        counts = f"{int(of_all.met[e]):,}", f"{int(of_all.counted[e]):,}"
        table.add_row(str(e + 1), *counts, share, f"{float(of_all.weight[e]):.3f}", *of_groups)
    if groups:
        table.caption, table.caption_justify = "last columns: the share within each group", "left"
    return table


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to count − 1, evenly spread, the first and the last among them."""
    shown = min(count, most)
    return [round(i * (count - 1) / max(shown - 1, 1)) for i in range(shown)]


def tiles(record: Curriculum, images: Tensor, places: Tensor) -> Tensor:
    """(n, 3, 58, 58) in [0, 1]: the images at these places of the record, on white, wrong labels framed."""
    pictures = torch.stack([images[i] for i in record.images[places].tolist()]).float() / 255
    found = torch.ones(len(places), 3, _TILE, _TILE)
    frame = found[:, :, _GAP:-_GAP, _GAP:-_GAP]
    frame[record.mislabelled[places]] = torch.tensor(to_rgb(VERMILION))[:, None, None]
    _inner(found)[:] = F.interpolate(pictures, (_SIDE, _SIDE), mode="bilinear", antialias=True).clamp(0, 1)
    return found


def _inner(tiles: Tensor) -> Tensor:
    """The images of tiles (..., 58, 58), without what is around them."""
    margin = _EDGE + _GAP
    return tiles[..., margin:-margin, margin:-margin]


def _mosaic(rows: Sequence[Tensor], columns: int) -> Any:
    """(R·58, C·58, 3) of R rows with at most C tiles."""
    page = torch.ones(len(rows), columns, 3, _TILE, _TILE)
    for row, found in zip(page, rows, strict=True):
        row[: len(found)] = found
    return page.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1).numpy()


@style.in_look
def sheet(record: Curriculum, images: Tensor, title: str, seed: int) -> Figure:
    """Lines of what counts, a heat map of all images, and strips of some of them, drawn from `seed`.

    `images` (M, channels, size, size) uint8 are those of the train split.
    """
    strips = stats.strips(record.weights, _SHOWN, seed)
    figure = style.new_figure(4.4 + 1.5 * len(strips), 12.6)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    rows = figure.add_gridspec(1 + len(strips), 1, height_ratios=[3, *[1] * len(strips)])
    top = rows[0].subgridspec(1, 2)
    _draw_lines(figure.add_subplot(top[0]), record)
    _draw_heat_map(figure.add_subplot(top[1]), record)
    for row, strip in enumerate(strips, 1):
        axes = figure.add_subplot(rows[row])
        axes.imshow(_mosaic([tiles(record, images, strip.shown)], _SHOWN))
        axes.set_title(caption(strip, record))
        labels, wrong = record.labels[strip.shown].tolist(), record.mislabelled[strip.shown].tolist()
        names = [_in_lines(record.class_names[label]) for label in labels]
        axes.set_xticks([_TILE * (i + 0.5) for i in range(len(names))], names, fontsize=6)
        for name, is_wrong in zip(axes.get_xticklabels(), wrong, strict=True):
            name.set_color(VERMILION if is_wrong else style.INK)
        axes.set(yticks=[], frame_on=False)
        axes.grid(visible=False)
    return figure


def _draw_lines(axes: Axes, record: Curriculum) -> None:
    """Shares over epochs of all images and of each group."""
    of_all = stats.pace(record.weights)
    lines = {"all": of_all.share}
    if not torch.equal(of_all.share.nan_to_num(-1), of_all.weight.nan_to_num(-1)):
        lines["mean v"] = of_all.weight  # else one line would hide the other
    lines |= {name: stats.pace(record.weights, among).share for name, among in stats.groups(record).items()}
    epochs = range(1, len(record.weights) + 1)
    for name, values in lines.items():
        axes.plot(epochs, (100 * values).tolist(), marker="o", color=_COLOURS[name], label=name)
    axes.set(title="Share of the images met that count (%)", xlabel="epoch", ylim=(-2, 102))
    style.ticks(axes.xaxis, 8, whole=True)
    axes.legend()


def _draw_heat_map(axes: Axes, record: Curriculum) -> None:
    """All images over epochs; grey is what an epoch did not meet."""
    means = stats.heat(record.weights, stats.in_order(record.weights), _BINS).numpy()
    extent = (0.5, len(record.weights) + 0.5, 0, 100)
    look: dict[str, Any] = {"cmap": "YlGnBu", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    shades = axes.imshow(means, extent=extent, origin="lower", aspect="auto", **look)
    axes.set(
        title="Every image by when it first counted (%), and its weight", xlabel="epoch", facecolor="0.75"
    )
    axes.grid(visible=False)
    style.ticks(axes.xaxis, 8, whole=True)
    axes.figure.colorbar(shades, ax=axes, ticks=[0, 0.5, 1], label="v")


def caption(strip: stats.Strip, record: Curriculum) -> str:
    """`Midway: counted first in epochs 3 to 4: 1,204 images, 12 % of them mislabelled (framed)`."""
    when = "counted in no epoch"
    if strip.epochs is not None:
        first, last = (epoch + 1 for epoch in strip.epochs)
        when = "counted first in " + (f"epoch {first}" if first == last else f"epochs {first} to {last}")
    count, wrong = len(strip.members), record.mislabelled[strip.members].double().mean()
    words = f"{strip.name}: {when}: {count:,} image{'s' if count > 1 else ''}"
    return words + (f", {100 * wrong:.0f} % of them mislabelled (framed)" if record.mislabelled.any() else "")


def _in_lines(name: str) -> str:
    """A class name in at most three lines that are as wide as an image of a strip."""
    return "\n".join(style.fitted(line, 0.75, 6) for line in textwrap.wrap(short(name, 40), 15)[:3])


def film(record: Curriculum, images: Tensor, seed: int) -> bytes:
    """A GIF that loops: a frame an epoch, in it a row of images for each of some classes.

    Images that count are drawn as they are, paler the less they weigh; those that do not nearly vanish. A
    long pretraining has frames for some epochs alone, the first and the last among them. Which classes and
    images are shown is drawn from `seed`.
    """
    rows, weights = stats.grid(record, _CLASSES, _SAMPLES, seed), record.weights
    epochs = evenly(len(weights), _FRAMES)
    of_all, of_wrong = (stats.pace(weights, among).share for among in (None, record.mislabelled))
    titles = []
    for epoch in epochs:
        wrong = "" if math.isnan(of_wrong[epoch]) else f", {100 * of_wrong[epoch]:.0f} % of the mislabelled"
        share = f"{100 * of_all[epoch]:.0f} % of all images count{wrong}"
        titles.append(f"epoch {epoch + 1} of {len(weights)}: {share}")
    pictures = mosaics(record, images, list(rows.values()), epochs)
    figure = _film_page(record, pictures[-1], list(rows), titles[-1])
    canvas, frames = FigureCanvasAgg(figure), []
    for title, picture in zip(titles, pictures, strict=True):
        figure.axes[0].images[0].set_data(picture)
        figure.texts[0].set_text(title)
        with style.no_glyph_warnings():
            canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    palette = frames[-1].quantize()
    first, *more = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    times = [_MILLISECONDS] * len(more) + [_LAST]
    file = io.BytesIO()
    first.save(file, format="GIF", save_all=True, append_images=more, duration=times, loop=0)
    return file.getvalue()


@style.in_look
def _film_page(record: Curriculum, picture: Any, labels: Sequence[int], title: str) -> Figure:
    """A row of images for each class, named at the left, between a title and what the looks mean."""
    figure = style.new_figure(1 + 0.6 * len(labels), 7.4)
    figure.set(facecolor="white", dpi=100)
    figure.set_layout_engine("constrained", rect=(0.015, 0, 0.985, 1))  # small letters are drawn wider
    figure.suptitle(title, x=0.015, ha="left")
    axes = figure.add_subplot()
    axes.imshow(picture)
    names = [style.fitted(record.class_names[label], 2.2, 8) for label in labels]
    axes.set_yticks([_TILE * (i + 0.5) for i in range(len(labels))], names, fontsize=8)
    axes.set(xticks=[], frame_on=False)
    axes.grid(visible=False)
    paler = "; paler: counts for less" if ((record.weights > 0) & (record.weights < 100)).any() else ""
    legend = f"Faded: does not count{paler}. {len(labels)} of {len(torch.unique(record.labels)):,} classes."
    legend += " Framed: wrong label." if record.mislabelled.any() else ""
    figure.supxlabel(legend, x=0.015, ha="left", fontsize=9)
    return figure


def mosaics(record: Curriculum, images: Tensor, rows: list[Tensor], epochs: list[int]) -> list[Any]:
    """For each epoch (R·58, 8·58, 3) in [0, 1]: the images of R rows, as strongly as they weigh."""
    places, sizes = torch.cat(rows), [len(row) for row in rows]
    strength, made, found = strengths(record.weights[:, places]), tiles(record, images, places), []
    for epoch in epochs:
        faded = made.clone()
        _inner(faded)[:] = 1 + strength[epoch][:, None, None, None] * (_inner(made) - 1)
        found.append(_mosaic(torch.split(faded, sizes), _SAMPLES))
    return found


def strengths(weights: Tensor) -> Tensor:
    """(E, P) float32 in (0, 1]: how strongly images are drawn, from weights (E, P) of a record.

    An image that an epoch did not meet stays as it was.
    """
    shade = (weights.float() / 25).round() / 4  # more shades make larger files
    strength = torch.where(weights > 0, _PALE + (1 - _PALE) * shade, _PALEST)
    for epoch in range(1, len(weights)):
        strength[epoch] = torch.where(weights[epoch] == UNMET, strength[epoch - 1], strength[epoch])
    return strength
