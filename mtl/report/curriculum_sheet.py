"""One picture of a self-paced pretraining: how many images count, which, and what they look like."""

import textwrap
from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, TransformedBbox
from torch import Tensor

from mtl.report import curriculum_stats as admission
from mtl.report.curriculum_stats import Strip
from mtl.runtime.figure_files import DPI, FONTS, short, text
from mtl.training.curriculum import Curriculum

#: What marks a wrong label: vermilion, which is told from blue and grey by all eyes (Okabe and Ito, 2008).
MARK = "#d55e00"

_WIDTH, _TOP, _PANEL, _BELOW = 12.6, 0.95, 3.1, 0.75  # inches: the sheet, above, in and below the panels
_STRIP, _EDGE = 1.56, 0.55  # inches: a strip with its text; left and right of everything
_SHOWN, _GAP = 14, 0.12  # images of a strip; between two, share of an image
_ROWS, _COARSE = 300, 40  # bins of the heat map, and of the shares of wrong labels beside it
_FAINT, _QUIET = "0.88", "0.35"
_LOOKS: dict[str, dict[str, Any]] = {
    "all": {"color": "0.1", "linewidth": 2.2},
    "mean v": {"color": "0.5", "linewidth": 1.6, "linestyle": (0, (1, 1))},
    "right labels": {"color": "#0072b2", "linewidth": 1.8},
    "wrong labels": {"color": MARK, "linewidth": 1.8, "linestyle": (0, (4, 1.5))},
    "many": {"color": "#332288", "linewidth": 1.8},
    "medium": {"color": "#117733", "linewidth": 1.8, "linestyle": (0, (4, 1.5))},
    "few": {"color": "#cc6677", "linewidth": 1.8, "linestyle": (0, (1.5, 1))},
}


def sheet(curriculum: Curriculum, images: Tensor, title: str, seed: int) -> Figure:
    """Lines of what counts, a heat map of all images, and strips of some of them.

    Args:
        curriculum: the record.
        images: (M, channels, size, size) uint8 of the train split.
        title: of the sheet.
        seed: decides which images are shown, and nothing else.
    """
    strips = admission.strips(curriculum.weights, _SHOWN, seed)
    height = _TOP + _PANEL + _BELOW + _STRIP * len(strips) + 0.25
    figure = Figure(figsize=(_WIDTH, height), dpi=DPI, facecolor="white")
    text(figure, _EDGE, height - 0.27, title, fontsize=13, weight="bold")
    labels, sizes = admission.by_label(curriculum), admission.by_class_size(curriculum)
    bottom = height - _TOP - _PANEL
    *widths, broad = (2.8, 2.8, 4.0) if sizes else (4.7, 5.5)  # inches of the panels
    left = _EDGE + 0.1
    for width, groups in zip(widths, (labels, sizes), strict=False):
        axes = _axes(figure, left, bottom, width, _PANEL)
        _lines(axes, curriculum.weights, groups, whole=groups is labels)
        left += width + 0.65
    _heat_map(figure, left, bottom, broad, curriculum)
    for i, strip in enumerate(strips):
        low = height - _TOP - _PANEL - _BELOW - (i + 1) * _STRIP
        _strip(figure, low, strip, curriculum, images)
    return figure


def _lines(axes: Axes, weights: Tensor, groups: Mapping[str, Tensor], whole: bool) -> None:
    """Shares over epochs of each group, and where `whole` of all images."""
    _title(axes, "Share of the images met that count (%)" if whole else "By images that a class has (%)")
    drawn: dict[str, Tensor] = {}
    if whole:
        of_all = admission.pace(weights)
        drawn["all"] = of_all.share
        if not torch.equal(of_all.share.nan_to_num(-1), of_all.weight.nan_to_num(-1)):
            drawn["mean v"] = of_all.weight  # else one line would hide the other
    drawn |= {name: admission.pace(weights, own).share for name, own in groups.items()}
    epochs = range(1, len(weights) + 1)
    marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(epochs) <= 30 else {}
    for name, values in drawn.items():
        axes.plot(epochs, (100 * values).tolist(), label=name, **_LOOKS[name], **marker)
    axes.set_ylim(-2, 102)
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _epochs(axes, len(epochs))
    columns = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "ncols": 4, "columnspacing": 1.0}
    axes.legend(frameon=False, fontsize=8, handlelength=1.9, handletextpad=0.5, borderaxespad=0, **columns)


def _heat_map(figure: Figure, left: float, bottom: float, width: float, curriculum: Curriculum) -> None:
    """All images over epochs, and beside them, where there are any, the shares of wrong labels."""
    weights, order = curriculum.weights, admission.in_order(curriculum.weights)
    wrong = bool(curriculum.mislabelled.any())
    aside = 0.85 if wrong else 0.0  # inches
    axes = _axes(figure, left, bottom, width - aside, _PANEL)
    axes.set_facecolor("0.75")  # what an epoch did not meet
    shades = axes.imshow(
        admission.heat(weights, order, _ROWS).numpy(),
        extent=(0.5, len(weights) + 0.5, 0, 100),
        vmin=0,
        vmax=1,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="YlGnBu",
    )
    _epochs(axes, len(weights))
    _title(axes, "Every image by when it first counted (%), and its weight")
    if wrong:
        beside = _axes(figure, left + width - aside + 0.2, bottom, aside - 0.2, _PANEL)
        beside.set_ylim(0, 100)
        _wrong_labels(beside, curriculum.mislabelled[order])
    bar = _axes(figure, left + width + 0.1, bottom, 0.1, _PANEL)
    figure.colorbar(shades, cax=bar, ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=8, length=2)
    bar.set_title("v", fontsize=8.5, style="italic", pad=5)


def _wrong_labels(axes: Axes, wrong: Tensor) -> None:
    """Share of wrong labels among images (P,) bool that are next to each other in the heat map."""
    bins = wrong.tensor_split(min(_COARSE, len(wrong)))
    shares = [100 * float(own.double().mean()) for own in bins]
    edges = [100 * i / len(bins) for i in range(len(bins) + 1)]
    axes.stairs(shares, edges, orientation="horizontal", fill=True, color=MARK, alpha=0.75, linewidth=0)
    axes.axvline(100 * float(wrong.double().mean()), color="0.1", linewidth=0.9, linestyle=(0, (3, 2)))
    axes.set_xlim(0, max(10.0, 1.05 * max(shares)))
    axes.set_xlabel("wrong\nlabels (%)", fontsize=8.5)
    axes.xaxis.set_major_locator(MaxNLocator(2, integer=True))
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _strip(figure: Figure, low: float, strip: Strip, curriculum: Curriculum, images: Tensor) -> None:
    """A row of images over their class names, `low` inches above the lower edge."""
    text(figure, _EDGE, low + _STRIP - 0.2, strip.name, fontsize=10.5, weight="bold")
    text(figure, _EDGE + 0.85, low + _STRIP - 0.2, _told(strip, curriculum), fontsize=9, color=_QUIET)
    across = _SHOWN * (1 + _GAP) - _GAP  # in images
    side = (_WIDTH - 2 * _EDGE) / across  # inches of an image
    axes = _axes(figure, _EDGE, low + _STRIP - 0.36 - side, _WIDTH - 2 * _EDGE, side)
    for i, place in enumerate(strip.shown.tolist()):
        x, wrong = i * (1 + _GAP), bool(curriculum.mislabelled[place])
        axes.imshow(pixels(images[curriculum.images[place]]).numpy(), extent=(x, x + 1, 0, 1), vmin=0, vmax=1)
        colour, thickness = (MARK, 2.4) if wrong else ("0.8", 0.6)
        axes.add_patch(
            Rectangle((x, 0), 1, 1, fill=False, clip_on=False, edgecolor=colour, linewidth=thickness)
        )
        name = axes.text(
            x + 0.5, -0.08, _in_lines(curriculum.class_names[int(curriculum.labels[place])]), fontsize=5.8,
            ha="center", va="top", color=MARK if wrong else "0.15", fontfamily=list(FONTS), parse_math=False,
            linespacing=1.1,
        )  # fmt: skip
        column = Bbox([[x - _GAP / 2, -1], [x + 1 + _GAP / 2, 1]])
        name.set_clip_box(TransformedBbox(column, axes.transData))  # letters may be wider than is usual
        name.set_clip_on(True)
    axes.set(xlim=(0, across), ylim=(0, 1))
    axes.axis("off")


def _told(strip: Strip, curriculum: Curriculum) -> str:
    """`counted first in epochs 3 to 4: 1,204 images, 12 % of them mislabelled (framed)`."""
    if strip.epochs is None:
        when = "counted in no epoch"
    else:
        first, last = (epoch + 1 for epoch in strip.epochs)
        when = "counted first in " + (f"epoch {first}" if first == last else f"epochs {first} to {last}")
    count = len(strip.members)
    told = f"{when}: {count:,} image{'s' if count > 1 else ''}"
    if curriculum.mislabelled.any():
        wrong = float(curriculum.mislabelled[strip.members].double().mean())
        told += f", {100 * wrong:.0f} % of them mislabelled (framed)"
    return told


def _in_lines(name: str) -> str:
    """A class name in at most three lines that are as wide as an image, where letters are of usual width."""
    return "\n".join(textwrap.wrap(short(name, 40), 15)[:3])


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _epochs(axes: Axes, epochs: int) -> None:
    axes.set_xlim(0.5, epochs + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.tick_params(labelsize=8.5)
    axes.set_xlabel("epoch", fontsize=9)


def _title(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left", pad=24)


def pixels(image: Tensor) -> Tensor:
    """(size, size, 3) floats in [0, 1] of an image (channels, size, size) uint8, in grey or colour."""
    return image.expand(3, *image.shape[1:]).permute(1, 2, 0).float() / 255
