"""Ink on a plain ground: which of the two is lighter, how far apart they are, and how large the drawing is.

The images of a set of drawn signs agree in this (Omniglot and glyphs: light ink on a dark ground), while
scans and photographs of paper are the other way round, paler, and framed differently. Pure functions of
pixels.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter
from torch import Tensor

from mtl.config import Data
from mtl.data.catalogue import SOURCES

_PLAIN = 0.35  # of the contrast: how much a border may vary and still be ground
_SIDED = 4.0  # times as much must differ from the ground on the side of the ink as on the other
_LEAST = 10.0  # of 255: less contrast is noise
_MOST_INK = 0.5  # of the pixels
_COLOURLESS = 12.0  # of 255: mean difference between the channels of a picture without colours
_LOOKED_AT = 4096  # images of a set, spread evenly over it
_ONE_SIDED, _TELLABLE = 0.995, 0.9  # of the images of a set

Spread = tuple[float, float, float]  # the least, the median, the most


@dataclass(frozen=True, eq=False)
class Strokes:
    """What M pictures look like, each by itself. Values are in 0..255."""

    side: Tensor  # (M,) int64: 1 light ink on a dark ground, -1 dark on light, 0 no plain ground or no ink
    ground: Tensor  # (M,) median of the border
    uneven: Tensor  # (M,) how much the border varies, without its extreme tenths
    contrast: Tensor  # (M,) mean difference from the ground of the 2 % of pixels that differ most
    extent: Tensor  # (M,) longer side of the box around the ink, as a share of the picture's


@dataclass(frozen=True)
class Ink:
    """The ink that the images of a training set have.

    Raises:
        ValueError: numbers out of range.
    """

    ground_slack: ClassVar[float] = (
        6.0  # of 255: a ground so far beyond the training images' still counts as theirs
    )
    contrast_slack: ClassVar[float] = 0.75  # this share of their least contrast still counts as theirs

    light: bool  # lighter than the ground
    ground: Spread  # 0..255
    contrast: Spread  # 0..255
    uneven: float  # of their borders at most, 0..255
    extent: Spread  # shares of the side
    colour: float = 0.0  # mean difference between the channels of an image at most, 0..255
    sides: tuple[int, ...] = ()  # of the square files of the set; own pictures of another size are framed by
    #   their ink, as large as in the set. Empty: their middle square is taken

    def __post_init__(self) -> None:
        values = (*self.ground, *self.contrast, self.uneven, self.colour)
        in_range = all(0 <= value <= 255 for value in values) and all(
            0 <= share <= 1 for share in self.extent
        )
        if not in_range:
            raise ValueError("ground, contrast, uneven and colour must be in 0..255, extent in 0..1")
        if any(list(part) != sorted(part) for part in (self.ground, self.contrast, self.extent)):
            raise ValueError("least, median and most must be in this order")
        if not self.contrast[1] or not self.extent[1]:
            raise ValueError("an ink has contrast and extent")

    @property
    def side(self) -> int:
        """As in `Strokes`."""
        return 1 if self.light else -1

    def has_ground(self, ground: float) -> bool:
        """True if training images have such a ground."""
        return self.ground[0] - self.ground_slack <= ground <= self.ground[2] + self.ground_slack

    def has_levels(self, ground: float, contrast: float, uneven: float) -> bool:
        """True if training images have such a ground and such an ink."""
        even = uneven <= self.uneven + 2 * self.ground_slack
        return even and self.has_ground(ground) and contrast >= self.contrast_slack * self.contrast[0]


def strokes(images: Tensor) -> Strokes:
    """Measures pictures (M, channels, H, W), uint8 or floats in 0..255; colours count by their mean."""
    grey = images.float().mean(1)
    m, height, width = grey.shape
    low, ground, high = _border(grey).quantile(torch.tensor([0.1, 0.5, 0.9]), dim=1)
    away = (grey - ground[:, None, None]).flatten(1)
    noise = 3 * (away.abs().median(1).values + 1)  # most pixels are ground
    lighter, darker = ((sign * away - noise[:, None]).clamp(min=0).sum(1) for sign in (1, -1))
    side = torch.where(lighter >= darker, 1, -1)
    inked = away * side[:, None]
    contrast = inked.topk(max(1, round(0.02 * height * width)), dim=1).values.mean(1).clamp(0, 255)
    ink = inked > 0.5 * contrast[:, None]
    tellable = (
        (contrast >= noise.clamp(min=_LEAST))
        & (torch.maximum(lighter, darker) >= _SIDED * torch.minimum(lighter, darker))
        & (high - low <= _PLAIN * contrast)
        & (ink.float().mean(1) <= _MOST_INK)
    )
    extent = _extent(ink.view(m, height, width))
    return Strokes(torch.where(tellable, side, 0), ground, high - low, contrast, extent)


def ink_of_set(images: Tensor, sides: Sequence[int] = ()) -> Ink | None:
    """The ink that nearly all images (M, channels, H, W) uint8 of a training set share, or None.

    None where under 90 % of the images show ink on a plain ground, where more than one in 200 of these has it
    the other way round, and where the images have colours, since inverting would change those.

    Args:
        images: of base classes only.
        sides: as of `Ink`.
    """
    some = images[:: max(1, -(-len(images) // _LOOKED_AT))]
    if not len(some) or (some.shape[1] > 1 and colourfulness(some) > _COLOURLESS):
        return None
    measured = strokes(some)
    known = measured.side != 0
    if known.float().mean() < _TELLABLE:
        return None
    light = (measured.side[known] > 0).float().mean().item()
    if max(light, 1 - light) < _ONE_SIDED:
        return None
    return Ink(
        light=light >= 0.5,
        ground=_spread(measured.ground),
        contrast=_spread(measured.contrast[known]),
        uneven=float(measured.uneven[known].max()),
        extent=_spread(measured.extent[known]),
        colour=float(_colours(some).max()),
        sides=tuple(sides),
    )


def _spread(values: Tensor) -> Spread:
    return float(values.min()), float(values.median()), float(values.max())


def as_plain(ink: Ink | None) -> dict[str, Any] | None:
    """An ink in plain containers, as checkpoints hold it."""
    if ink is None:
        return None
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(ink).items()}


def from_plain(plain: Any) -> Ink | None:
    """What `as_plain` made."""
    return TypeAdapter(Ink | None).validate_python(plain)


def colourfulness(images: Tensor) -> float:
    """Mean difference between the channels (0..255), of the most colourful hundredth of the pictures."""
    return float(_colours(images).quantile(0.99))


def _colours(images: Tensor) -> Tensor:
    """(M,) mean difference between the channels, 0..255."""
    parts = [part.amax(1).float() - part.amin(1).float() for part in torch.split(images, 256)]
    return torch.cat([part.flatten(1).mean(1) for part in parts])


def _border(grey: Tensor) -> Tensor:
    """(M, B) the pixels of a frame that is one thirtieth of the side wide."""
    wide = max(1, round(min(grey.shape[1:]) / 30))
    parts = grey[:, :wide], grey[:, -wide:], grey[:, wide:-wide, :wide], grey[:, wide:-wide, -wide:]
    return torch.cat([part.flatten(1) for part in parts], 1)


def _extent(ink: Tensor) -> Tensor:
    """(M,) longer side of the box around the ink (M, H, W) bool, as a share of the longer side."""
    sides = []
    for axis in (2, 1):
        along = ink.any(axis).float()
        steps = torch.arange(1, along.shape[1] + 1)
        first, last = along.shape[1] + 1 - (along * steps.flip(0)).amax(1), (along * steps).amax(1)
        sides.append((last - first + 1).clamp(min=0))
    return torch.stack(sides).amax(0) / max(ink.shape[1:])


def file_sides(data: Data, size: int) -> tuple[int, ...]:
    """The sides of the square files of a set, and of its images of `size` pixels; none for other sets."""
    names = data.sets if data.name == "several" else (data.name,)
    known = [SOURCES[name].file_sides for name in names]
    if None in known:
        return ()
    return tuple(sorted({size, *(side for sides in known for side in sides or ())}))
