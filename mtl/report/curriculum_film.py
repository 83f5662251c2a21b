"""A self-paced pretraining as an animated picture: images light up when they count."""

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from PIL import Image
from torch import Tensor

from mtl.report import curriculum_stats as admission
from mtl.report.curriculum_sheet import MARK, pixels
from mtl.runtime.figure_files import short, text
from mtl.training.curriculum import UNMET, Curriculum

_CLASSES, _SAMPLES = 12, 8  # of the grid; images of a class
_DPI = 100
_SIDE, _EDGE, _STEP = 48, 3, 58  # pixels: an image, the mark around a wrong label, from image to image
_NAMES, _HEAD, _FOOT, _MARGIN = 216, 78, 44, 14  # pixels: left of, above and below the grid; the margin
_NAME = 28  # characters
_HOLD, _LAST = 330, 2000  # ms: a frame, the last one
_FRAMES, _BYTES, _COLOURS = 60, 1_500_000, 256  # of a film
_PALEST, _PALE = 0.18, 0.55  # how strongly an image is drawn that does not count, one that barely counts
_SHADES = 4  # from there to 1: more of them make larger files
_PAPER = 1.0

Pixels = npt.NDArray[np.float32]


def film(curriculum: Curriculum, images: Tensor, seed: int, limit: int = _BYTES) -> bytes:
    """A GIF that loops: a frame an epoch, in it a row of images for each of some classes.

    Images that count are drawn as they are, paler the less they weigh; those that do not nearly vanish. One
    that an epoch did not meet stays as it was. A long pretraining, or one whose film would be larger than
    `limit`, has frames for some epochs alone, the first and the last among them.

    Args:
        curriculum: the record.
        images: (M, channels, size, size) uint8 of the train split.
        seed: decides which classes and images are shown, and nothing else.
        limit: bytes.
    """
    rows = admission.grid(curriculum, _CLASSES, _SAMPLES, seed)
    frames = _frames(curriculum, images, rows, evenly(len(curriculum.weights), _FRAMES))
    while len(made := _encoded(frames)) > limit and len(frames) > 2:
        frames = [frames[i] for i in evenly(len(frames), max(2, len(frames) // 2))]
    return made


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to count − 1, evenly spread, the first and the last among them.

    Raises:
        ValueError: fewer than two.
    """
    if most < 2:
        raise ValueError(f"most: {most}; it must be at least 2")
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def strengths(weights: Tensor) -> Tensor:
    """(E, P) float32 in (0, 1]: how strongly images are drawn, from weights (E, P) of a record."""
    shade = (weights.float() / 100 * _SHADES).round() / _SHADES
    strength = torch.where(weights > 0, _PALE + (1 - _PALE) * shade, _PALEST)
    for epoch in range(1, len(weights)):
        strength[epoch] = torch.where(weights[epoch] == UNMET, strength[epoch - 1], strength[epoch])
    return strength


def _frames(
    curriculum: Curriculum, images: Tensor, rows: Mapping[int, Tensor], epochs: Sequence[int]
) -> list[Image.Image]:
    places = torch.cat(list(rows.values()))
    thumbnails = [_thumbnail(images[i]) for i in curriculum.images[places].tolist()]
    corners = [
        (_HEAD + row * _STEP, _NAMES + column * _STEP)
        for row, own in enumerate(rows.values())
        for column in range(len(own))
    ]
    wrong, strength = curriculum.mislabelled[places].tolist(), strengths(curriculum.weights[:, places])
    page = _page(curriculum, rows)
    frames = []
    for epoch in epochs:
        frame = page(epoch)
        for picture, corner, marked, shade in zip(
            thumbnails, corners, wrong, strength[epoch].tolist(), strict=True
        ):
            _put(frame, picture, corner, marked, shade)
        frames.append(Image.fromarray((255 * frame).round().astype(np.uint8)))
    return frames


def _page(curriculum: Curriculum, rows: Mapping[int, Tensor]) -> Callable[[int], Pixels]:
    """Draws all of a frame but its images, for any epoch: (height, width, 3) in [0, 1]."""
    width, height = _NAMES + _SAMPLES * _STEP + _MARGIN, _HEAD + len(rows) * _STEP + _FOOT
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)

    def at(x: float, y: float, words: str, **how: Any) -> Any:
        return text(figure, x / _DPI, (height - y) / _DPI, words, **how)

    def bar(length: float, colour: str) -> Any:
        corner = (_MARGIN / width, 1 - 52 / height)
        return figure.add_artist(Rectangle(corner, length * whole, 8 / height, color=colour, linewidth=0))

    for row, label in enumerate(rows):
        name = short(curriculum.class_names[label], _NAME)
        words = at(_NAMES - 12, _HEAD + row * _STEP + _SIDE / 2, name, fontsize=8.5, ha="right")
        words.set_clip_box(Bbox([[_MARGIN, 0], [width, height]]))  # letters may be wider than is usual
        words.set_clip_on(True)
    weights, wrong = curriculum.weights, curriculum.mislabelled
    whole = 1 - 2 * _MARGIN / width
    paler = "; paler: counts for less" if ((weights > 0) & (weights < 100)).any() else ""
    note = f"Faded: does not count{paler}. {len(rows)} of {len(torch.unique(curriculum.labels)):,} classes."
    if wrong.any():
        note += " Framed: wrong label."
    at(_MARGIN, height - 20, note, fontsize=8.5, color="0.35")
    number = at(_MARGIN, 24, "", fontsize=14, weight="bold")
    told = at(width - _MARGIN, 24, "", fontsize=10.5, ha="right")
    bar(1, "0.9")
    filled = bar(0, "#0072b2")
    of_all, of_wrong = admission.pace(weights).share, admission.pace(weights, wrong).share

    def page(epoch: int) -> Pixels:
        share, lost = float(of_all[epoch]), float(of_wrong[epoch])
        number.set_text(f"epoch {epoch + 1} of {len(weights)}")
        shares = f"{100 * share:.0f} % of all images count"
        told.set_text(shares if math.isnan(lost) else f"{shares}, {100 * lost:.0f} % of the mislabelled")
        filled.set_width(share * whole)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # names in any writing
            canvas.draw()
        return np.asarray(canvas.buffer_rgba(), dtype=np.float32)[..., :3] / 255

    return page


def _put(frame: Pixels, picture: Pixels, corner: tuple[int, int], marked: bool, strength: float) -> None:
    """Lays a picture on a frame, in place, with a mark around it where its label is wrong."""
    y, x = corner
    if marked:
        edge = slice(y - _EDGE, y + _SIDE + _EDGE), slice(x - _EDGE, x + _SIDE + _EDGE)
        frame[edge] = np.asarray(to_rgb(MARK), dtype=np.float32)
    frame[y : y + _SIDE, x : x + _SIDE] = _PAPER + strength * (picture - _PAPER)


def _thumbnail(image: Tensor) -> Pixels:
    """(_SIDE, _SIDE, 3) in [0, 1] of an image (channels, size, size) uint8."""
    full = Image.fromarray((255 * pixels(image)).round().to(torch.uint8).numpy())
    return np.asarray(full.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), dtype=np.float32) / 255


def _encoded(frames: Sequence[Image.Image]) -> bytes:
    """A GIF of one palette: a pixel that does not change from frame to frame then costs next to nothing."""
    some = [frames[i] for i in sorted({0, len(frames) // 2, len(frames) - 1})]
    together = Image.fromarray(np.concatenate([np.asarray(frame) for frame in some]))
    palette = together.quantize(_COLOURS, dither=Image.Dither.NONE)
    colours = np.asarray(palette.getpalette()).reshape(-1, 3)
    colours[(colours > 244).all(1)] = 255  # the paper stays white
    palette.putpalette(colours.flatten().tolist())
    first, *more = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    times = [_HOLD] * (len(frames) - 1) + [_LAST]
    file = io.BytesIO()
    first.save(file, format="GIF", save_all=True, append_images=more, duration=times, loop=0)
    return file.getvalue()
