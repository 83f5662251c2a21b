"""One picture of a person's own, brought to what the training images look like.

Where these are ink on a plain ground (`mtl.data.ink`), a picture gets the same ink: dark ink becomes light or
the other way round, and what no training image looks like, such as pencil on paper, a photographed page with
shadows, coloured or transparent pictures, or a sign that is lost on a large page, is drawn anew from what
differs from its ground. A picture that is as training images are is not touched, and each picture is
treated by itself: the same file always gives the same pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mtl.data.decode import has_transparency, to_tensor, unreadable, upright
from mtl.data.formats import in_words, opened
from mtl.data.ink import Ink, colourfulness, strokes
from mtl.data.levels import FULL, eight_bits, is_deep
from mtl.errors import UserError

_DETAIL = 8  # a picture is looked at with at most so many times the pixels a side that the network takes
_COLOURFUL = 40.0  # of 255: channels that differ by more, somewhere in a picture, are looked at as colours
_GREY_MODES = {"1", "L", "LA"}
_COLOURS_SLACK = 2.0  # of 255: more colour than training images have
_WHITE_INK = 160.0  # of 255: ink that is lighter is laid on black where the ground is transparent
_GRID, _ROUNDS, _KEPT = 48, 6, 2.5  # fitting the ground: pixels a side, how often, and how many deviations
#   away is still ground
_SPECKS = 0.003  # of the ink: so little at each edge does not count as part of the drawing
_FAINT, _MOST_STRETCH = (
    0.75,
    6.0,
)  # fine strokes fade when a picture is made small: by so much they are strengthened

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """What was done to a picture beyond scaling it."""

    inverted: bool = False
    evened: bool = False  # its ground and ink were brought to those of training images
    framed: bool = False  # it was cut or padded around its ink
    untold: bool = False  # there is no plain ground with ink on it
    clipped: bool = False  # grey values beyond the one that is white


def own_picture(
    file: Path, size: int, grayscale: bool, ink: Ink | None = None, top: int = FULL
) -> tuple[Tensor, Change]:
    """The picture in a file as `brought` makes it; it may be called from several threads at once.

    Raises:
        UserError: the file is no readable image; one sentence with its name and, in plain words, why.
    """
    try:
        with opened(file, _DETAIL * size if ink is not None and ink.sides else size) as image:
            return brought(upright(image), size, grayscale, ink, top)
    except Exception as error:  # a damaged file provokes anything, from EOFError to struct.error
        raise UserError(unreadable(file, in_words(error))) from None


def brought(
    image: Image.Image, size: int, grayscale: bool, ink: Ink | None = None, top: int = FULL
) -> tuple[Tensor, Change]:
    """(channels, size, size) uint8 of an upright picture, and what was changed.

    Without `ink` it is `to_tensor` of it.

    Args:
        image: of any mode.
        size, grayscale, top: as of `to_tensor`.
        ink: of the training images.

    Raises:
        ValueError: as of `to_tensor`.
    """
    clipped = is_deep(image) and int(np.asarray(image).max(initial=0)) > top
    image = eight_bits(image, top)
    plain = to_tensor(image, size, grayscale)
    if ink is None:
        return plain, Change(clipped=clipped)
    pixels, change = _in_ink(image, plain, size, ink)
    return pixels, replace(change, clipped=clipped)


def _in_ink(image: Image.Image, plain: Tensor, size: int, ink: Ink) -> tuple[Tensor, Change]:
    found = strokes(plain[None])
    side, ground, transparent = int(found.side), float(found.ground), has_transparency(image)
    inverted = side == -ink.side or (not side and not ink.has_ground(ground) and ink.has_ground(255 - ground))
    level = 255 - ground if inverted else ground
    if side:
        alike = (
            ink.has_ground(level)
            if _is_of_the_sets_size(image, ink)
            else ink.has_levels(level, float(found.contrast), float(found.uneven))
        )
    else:  # some training images show no ink either
        alike = ink.has_ground(level) and not transparent
    alike = alike and _colour(image, plain, ink) <= ink.colour + _COLOURS_SLACK
    framed = bool(ink.sides) and not _is_of_the_sets_size(image, ink)
    if alike and not framed:
        return (255 - plain if inverted else plain), Change(inverted=inverted, untold=not side)
    if (drawn := _drawn(image, size, ink)) is not None:
        pixels, was_inverted = drawn
        change = Change(inverted=was_inverted, evened=not alike, framed=framed)
        return pixels.expand(len(plain), -1, -1).contiguous(), change
    return (255 - plain if inverted else plain), Change(inverted=inverted, untold=True)


def told(changes: Sequence[Change], ink: Ink | None, top: int = FULL, what: str = "picture") -> list[str]:
    """How many of some pictures were changed and why: a sentence on ink, one on grey values that were cut.

    Args:
        changes: of each picture.
        ink, top: as of `own_picture`.
        what: one of the pictures is called.
    """
    lines = [] if ink is None else _told_of_ink(changes, ink, what)
    if clipped := sum(change.clipped for change in changes):
        lines.append(
            f"{_counted(clipped, what)} with grey values beyond {top:,}, which is white here: cut off."
        )
    return lines


def _told_of_ink(changes: Sequence[Change], ink: Ink, what: str) -> list[str]:
    counts = {
        "inverted": sum(change.inverted for change in changes),
        "evened in ground and contrast": sum(change.evened for change in changes),
        "cut or padded around the ink": sum(change.framed for change in changes),
        "left as they are, since no ink on a plain ground was found": sum(
            change.untold and not change.inverted for change in changes
        ),
    }
    done = [f"{count:,} were {how}" for how, count in counts.items() if count]
    if not done:
        return []
    wanted = "light ink on a dark ground" if ink.light else "dark ink on a light ground"
    total = _counted(len(changes), what)
    return [f"The network was trained on {wanted}; to match, of {total} {', '.join(done)}."]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _is_of_the_sets_size(image: Image.Image, ink: Ink) -> bool:
    """Whether it may be one of the set's own, in which the ink is as large as it is meant to be."""
    return image.size in {(side, side) for side in ink.sides}


def _colour(image: Image.Image, plain: Tensor, ink: Ink) -> float:
    """Of a picture that becomes grey it counts as well, where the files of the set are known to have none."""
    if len(plain) == 1 and ink.sides and image.mode not in _GREY_MODES:
        plain = to_tensor(image, plain.shape[-1], grayscale=False)
    return colourfulness(plain[None])


def _drawn(image: Image.Image, size: int, ink: Ink) -> tuple[Tensor, bool] | None:
    """(1, size, size) the ink of a picture on the ground of the training images; None if it has no ink.

    And whether the ink was on the other side of the ground.
    """
    away = _away(_colours(image, _DETAIL * size))
    wide = -(-max(away.shape) // 20)  # of plain ground around it: ink may touch the edge
    found = strokes(torch.from_numpy(np.pad(away, wide))[None, None])
    side, noise = int(found.side), 1.4826 * float(np.median(np.abs(away)))
    if not side:
        return None
    inked = side * away[side * away > max(4 * noise, 0.25 * float(found.contrast))]
    if not len(inked):
        return None
    contrast = float(np.quantile(inked, 0.75))
    floor = min(3 * noise, 0.5 * contrast)
    strength = ((side * away - floor) / (contrast - floor)).clip(0, 1)
    small = _resized(strength, _frame(strength, image, ink), size)
    most = float(torch.from_numpy(small).flatten().topk(max(1, round(0.02 * size * size))).values.mean())
    if 0 < 255 * most < _FAINT * ink.contrast[1]:
        small = (small * min(ink.contrast[1] / 255 / most, _MOST_STRETCH)).clip(0, 1)
    values = ink.ground[1] + ink.side * ink.contrast[1] * small
    return torch.from_numpy(values.round().clip(0, 255).astype(np.uint8))[None], side != ink.side


def _frame(strength: Floats, image: Image.Image, ink: Ink) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the square to be seen, in which the ink is as large as in the set."""
    height, width = strength.shape
    if not ink.sides or _is_of_the_sets_size(image, ink):
        return _square(width / 2, height / 2, min(width, height))
    left, top, right, bottom = _box(strength)
    side = max(right - left, bottom - top) / ink.extent[1]
    return _square((left + right) / 2, (top + bottom) / 2, side)


def _colours(image: Image.Image, most: int) -> Floats:
    """(H, W, 3) of a picture with at most `most` pixels a side; transparent ground is the ink's opposite."""
    if has_transparency(image):
        image = image.convert("RGBA")
        image.thumbnail((most, most), Image.Resampling.BOX)
        pixels = np.asarray(image, dtype=np.float32)
        alpha = pixels[..., 3:] / 255
        visible = float((pixels[..., :3] * alpha).sum() / max(3 * float(alpha.sum()), 1e-6))
        ground = 0.0 if visible > _WHITE_INK else 255.0
        blended: Floats = pixels[..., :3] * alpha + ground * (1 - alpha)
        return blended
    image = image.convert("RGB")
    image.thumbnail((most, most), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32)


def _away(colours: Floats) -> Floats:
    """(H, W) how far pixels are from the ground, in grey where that shows the ink, else in its own colour."""
    grey = colours @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    plain = grey - _ground(grey)
    red, green, blue = (colours[..., c] for c in range(3))  # numpy is slow along an axis of three
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    if (most - least).max() <= _COLOURFUL:
        return plain
    channels = np.stack([colours[..., c] - _ground(colours[..., c]) for c in range(3)], -1)
    distance = np.sqrt((channels**2).mean(-1))
    far = distance >= np.quantile(distance, 0.98)
    if 2 * np.abs(plain[far]).mean() >= distance[far].mean():
        return plain
    towards = channels[far].mean(0)
    along: Floats = channels @ (towards / max(float(np.linalg.norm(towards)), 1e-6)) / np.sqrt(3)
    return along * (1 if plain[far].mean() >= 0 else -1)


def _ground(values: Floats) -> Floats:
    """(H, W) the ground below the ink: a quadratic surface, fitted to pixels that are not ink."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in values.shape)
    step = max(1, max(values.shape) // _GRID)
    some_x, some_y = np.broadcast_arrays(x[None, ::step], y[::step, None])
    terms = np.stack([part.ravel() for part in _terms(some_x, some_y)], 1).astype(np.float64)
    wanted = values[::step, ::step].ravel().astype(np.float64)
    found = np.array([np.median(wanted), 0, 0, 0, 0, 0])
    for _ in range(_ROUNDS):
        residual = np.abs(wanted - terms @ found)
        kept = residual <= max(_KEPT * 1.4826 * float(np.median(residual)), 2.0)
        part = terms[kept]
        found = np.linalg.solve(part.T @ part + 1e-6 * np.eye(6), part.T @ wanted[kept])
    weighted = (np.float32(c) * part for c, part in zip(found, _terms(x[None], y[:, None]), strict=True))
    surface: Floats = sum(weighted, np.zeros_like(values))
    return surface


def _terms(x: Floats, y: Floats) -> tuple[Floats, ...]:
    return np.ones_like(x * y), x + 0 * y, y + 0 * x, x * x + 0 * y, x * y, y * y + 0 * x


def _box(v: Floats) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the ink, without specks."""
    ends = []
    for axis in (0, 1):
        along = np.where(v > 0.5, v, 0).sum(axis).cumsum()
        low, high = np.searchsorted(along, [_SPECKS * along[-1], (1 - _SPECKS) * along[-1]])
        ends.append((float(low), float(high) + 1))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def _square(x: float, y: float, side: float) -> tuple[float, float, float, float]:
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def _resized(v: Floats, frame: tuple[float, float, float, float], size: int) -> Floats:
    """(size, size) what lies in a frame, which may reach beyond the picture."""
    left, top, right, bottom = (round(end) for end in frame)
    canvas = np.zeros((max(bottom - top, 1), max(right - left, 1)), dtype=np.float32)
    height, width = v.shape
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    part = v[rows, columns]
    canvas[rows.start - top : rows.start - top + part.shape[0], columns.start - left :][
        :, : part.shape[1]
    ] = part
    small = Image.fromarray(canvas).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.float32).clip(0, 1)
