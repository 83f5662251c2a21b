"""One picture of a person's own, brought to what the training images look like.

Where these are ink on a plain ground (`mtl.data.ink`), a picture gets the same ink: dark ink becomes light or
the other way round, and what no training image looks like, such as pencil on paper, a photographed page with
shadows, coloured or transparent pictures, or a sign that is lost on a large page, is drawn anew from what
differs from its ground. A picture that looks like the training images is not touched, and each picture is
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
from mtl.data.formats import FULL, eight_bits, in_words, is_deep, opened
from mtl.data.ink import Ink, colourfulness, strokes
from mtl.errors import UserError, counted

_DETAIL = 8  # a picture is looked at with at most this many times the pixels a side that the network takes
_COLOURFUL = 40.0  # of 255: where channels differ by more, somewhere in a picture, its colours are looked at
_GREY_MODES = {"1", "L", "LA"}
_COLOURS_SLACK = 2.0  # of 255: more colour than training images have
_WHITE_INK = 160.0  # of 255: ink that is lighter is laid on black where the ground is transparent
_GRID, _ROUNDS = 48, 6  # fitting the ground: pixels a side, and how often
_GROUND_WITHIN = 2.5  # deviations from the fit: what is further away is ink
_SPECKS = 0.003  # of the ink: this little at each edge does not count as part of the drawing
_FAINT, _MOST_STRETCH = (
    0.75,
    6.0,
)  # strokes that fade when a picture is made small are strengthened: of the set's
#   contrast, below which, and by what factor at most

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """What was done to a picture beyond scaling it."""

    inverted: bool = False
    evened: bool = False  # its ground and ink were brought to those of training images
    framed: bool = False  # it was cut or padded around its ink
    no_ink: bool = False  # there is no plain ground with ink on it
    clipped: bool = False  # grey values beyond the one that is white


def own_picture(
    file: Path, size: int, grayscale: bool, ink: Ink | None = None, top: int = FULL
) -> tuple[Tensor, Change]:
    """The picture in a file as `prepare_picture` makes it. Thread-safe.

    Raises:
        UserError: the file is not a readable image; names it and says why in plain words.
    """
    try:
        with opened(file, _DETAIL * size if ink is not None and ink.sides else size) as image:
            return prepare_picture(upright(image), size, grayscale, ink, top)
    except Exception as error:  # a damaged file provokes anything, from EOFError to struct.error
        raise UserError(unreadable(file, in_words(error))) from None


def prepare_picture(
    image: Image.Image, size: int, grayscale: bool, ink: Ink | None = None, top: int = FULL
) -> tuple[Tensor, Change]:
    """(channels, size, size) uint8 of an upright picture of any mode, and what was changed.

    Without `ink`, which is that of the training images, it is `to_tensor` of the picture, whose errors it
    raises.
    """
    clipped = is_deep(image) and int(np.asarray(image).max(initial=0)) > top
    image = eight_bits(image, top)
    plain = to_tensor(image, size, grayscale)
    if ink is None:
        return plain, Change(clipped=clipped)
    pixels, change = _in_ink(image, plain, size, ink)
    return pixels, replace(change, clipped=clipped)


def _in_ink(image: Image.Image, plain: Tensor, size: int, ink: Ink) -> tuple[Tensor, Change]:
    """`plain`, the pixels (channels, size, size) of a picture, brought to the ink of the training images."""
    drawing = strokes(plain[None])
    side, ground = int(drawing.side), float(drawing.ground)
    inverted = side == -ink.side or (not side and not ink.has_ground(ground) and ink.has_ground(255 - ground))
    level = 255 - ground if inverted else ground
    own_size = _is_of_the_sets_size(image, ink)
    if not side:  # some training images show no ink either
        similar = ink.has_ground(level) and not has_transparency(image)
    elif own_size:
        similar = ink.has_ground(level)
    else:
        similar = ink.has_levels(level, float(drawing.contrast), float(drawing.uneven))
    similar = similar and _colour(image, plain, ink) <= ink.colour + _COLOURS_SLACK
    framed = bool(ink.sides) and not own_size
    if similar and not framed:
        return (255 - plain if inverted else plain), Change(inverted=inverted, no_ink=not side)
    if (redrawn := _redrawn(image, size, ink)) is not None:
        pixels, was_inverted = redrawn
        change = Change(inverted=was_inverted, evened=not similar, framed=framed)
        return pixels.expand(len(plain), -1, -1).contiguous(), change
    return (255 - plain if inverted else plain), Change(inverted=inverted, no_ink=True)


def change_messages(
    changes: Sequence[Change], ink: Ink | None, top: int = FULL, what: str = "picture"
) -> list[str]:
    """How many pictures were changed and why: a sentence on ink, one on grey values that were cut.

    `what` is the word for one picture.
    """
    lines = []
    counts = {
        "inverted": sum(change.inverted for change in changes),
        "evened in ground and contrast": sum(change.evened for change in changes),
        "cut or padded around the ink": sum(change.framed for change in changes),
        "left alone, since no ink on a plain ground was found": sum(
            change.no_ink and not change.inverted for change in changes
        ),
    }
    done = ", ".join(
        f"{count:,} {'was' if count == 1 else 'were'} {text}" for text, count in counts.items() if count
    )
    if ink is not None and done:
        wanted = "light ink on a dark ground" if ink.light else "dark ink on a light ground"
        total = counted(len(changes), what)
        lines.append(f"The network was trained on {wanted}; to match, of {total} {done}.")
    if clipped := sum(change.clipped for change in changes):
        lines.append(
            f"{counted(clipped, what)} with grey values beyond {top:,}, which is white here: cut off."
        )
    return lines


def _is_of_the_sets_size(image: Image.Image, ink: Ink) -> bool:
    """True if it may be one of the set's own, in which the ink is as large as it is meant to be."""
    return image.size in {(side, side) for side in ink.sides}


def _colour(image: Image.Image, plain: Tensor, ink: Ink) -> float:
    """How colourful a picture is; also one that becomes grey, where the files of the set are known to be."""
    if len(plain) == 1 and ink.sides and image.mode not in _GREY_MODES:
        plain = to_tensor(image, plain.shape[-1], grayscale=False)
    return colourfulness(plain[None])


def _redrawn(image: Image.Image, size: int, ink: Ink) -> tuple[Tensor, bool] | None:
    """(1, size, size) a picture's ink on the ground of the training images, and True if it was inverted.

    None if it has no ink.
    """
    away = _away(_colours(image, _DETAIL * size))
    wide = -(-max(away.shape) // 20)  # of plain ground around it: ink may touch the edge
    drawing = strokes(torch.from_numpy(np.pad(away, wide))[None, None])
    side, noise = int(drawing.side), 1.4826 * float(np.median(np.abs(away)))
    if not side:
        return None
    inked = side * away[side * away > max(4 * noise, 0.25 * float(drawing.contrast))]
    if not len(inked):
        return None
    contrast = float(np.quantile(inked, 0.75))
    floor = min(3 * noise, 0.5 * contrast)
    strength = ((side * away - floor) / (contrast - floor)).clip(0, 1)
    small = _framed(strength, image, size, ink)
    most = float(torch.from_numpy(small).flatten().topk(max(1, round(0.02 * size * size))).values.mean())
    if 0 < 255 * most < _FAINT * ink.contrast[1]:
        small = (small * min(ink.contrast[1] / 255 / most, _MOST_STRETCH)).clip(0, 1)
    values = ink.ground[1] + ink.side * ink.contrast[1] * small
    return torch.from_numpy(values.round().clip(0, 255).astype(np.uint8))[None], side != ink.side


def _framed(strength: Floats, image: Image.Image, size: int, ink: Ink) -> Floats:
    """(size, size) the square of a drawing (H, W) in which the ink is as large as in the set, scaled."""
    height, width = strength.shape
    x, y, side = width / 2, height / 2, float(min(width, height))
    if ink.sides and not _is_of_the_sets_size(image, ink):
        (left, right), (top, bottom) = _ends(strength, 0), _ends(strength, 1)
        x, y, side = (left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top) / ink.extent[1]
    left, top, right, bottom = (
        round(end) for end in (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    )
    square = Image.fromarray(strength).crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS), dtype=np.float32).clip(0, 1)


def _ends(strength: Floats, axis: int) -> tuple[float, float]:
    """Where the ink begins and ends, summed along an axis, without specks."""
    along = np.where(strength > 0.5, strength, 0).sum(axis).cumsum()
    low, high = np.searchsorted(along, [_SPECKS * along[-1], (1 - _SPECKS) * along[-1]])
    return float(low), float(high) + 1


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
    direction = channels[far].mean(0)
    along: Floats = channels @ (direction / max(float(np.linalg.norm(direction)), 1e-6)) / np.sqrt(3)
    return along * (1 if plain[far].mean() >= 0 else -1)


def _ground(values: Floats) -> Floats:
    """(H, W) the ground below the ink: a quadratic surface, fitted to pixels that are not ink."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in values.shape)
    step = max(1, max(values.shape) // _GRID)
    some_x, some_y = np.broadcast_arrays(x[None, ::step], y[::step, None])
    terms = np.stack([part.ravel() for part in _terms(some_x, some_y)], 1).astype(np.float64)
    wanted = values[::step, ::step].ravel().astype(np.float64)
    coefficients = np.array([np.median(wanted), 0, 0, 0, 0, 0])
    for _ in range(_ROUNDS):
        residual = np.abs(wanted - terms @ coefficients)
        near = residual <= max(_GROUND_WITHIN * 1.4826 * float(np.median(residual)), 2.0)
        part = terms[near]
        coefficients = np.linalg.solve(part.T @ part + 1e-6 * np.eye(6), part.T @ wanted[near])
    on_pixels = _terms(x[None], y[:, None])
    weighted = (np.float32(c) * part for c, part in zip(coefficients, on_pixels, strict=True))
    surface: Floats = sum(weighted, np.zeros_like(values))
    return surface


def _terms(x: Floats, y: Floats) -> tuple[Floats, ...]:
    return np.ones_like(x * y), x + 0 * y, y + 0 * x, x * x + 0 * y, x * y, y * y + 0 * x
