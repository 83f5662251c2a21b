"""Pictures of letters: rendered from a face, and distorted each on its own."""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mtl.data.sources.glyph_fonts import Face

_REFERENCE = 32  # side of the pictures that letters are compared by
_TURN, _SHEAR, _ZOOM, _SHIFT = 0.30, 0.25, 0.20, 0.10  # radians, slope, share of size, share of the side
_WAVE = 0.06  # elastic displacement, share of the side
_STROKE = 0.5  # how much of a picture grown or shrunk by one pixel is mixed in


@lru_cache(maxsize=64)
def _font(path: str, points: int) -> ImageFont.FreeTypeFont:
    # the basic engine on every machine: whether Pillow finds the other one is no part of the image set
    return ImageFont.truetype(path, points, layout_engine=ImageFont.Layout.BASIC)


def rendered(codepoint: int, face: Face, side: int) -> Tensor:
    """(side, side) float in [0, 1]: the letter at three fifths of the side, its ink in the middle."""
    canvas = Image.new("L", (2 * side, 2 * side), 0)
    font = _font(face.path, round(0.6 * side))
    ImageDraw.Draw(canvas).text((side // 2, side // 2), chr(codepoint), font=font, fill=255)
    box = canvas.getbbox()
    if box is None:
        return torch.zeros(side, side)
    left, top = ((box[i] + box[i + 2] - side) // 2 for i in (0, 1))
    values = np.asarray(canvas.crop((left, top, left + side, top + side)), dtype=np.float32)
    return torch.from_numpy(values / 255)


def reference(codepoint: int, face: Face) -> Tensor:
    """(32, 32) of 0 and 1: where the ink is, once the letter is scaled to fill the picture.

    It is what letters are compared by.
    """
    picture = rendered(codepoint, face, 4 * _REFERENCE)
    inked = picture > 0.5
    if not inked.any():
        return torch.zeros(_REFERENCE, _REFERENCE)
    rows, columns = inked.any(1).nonzero().flatten(), inked.any(0).nonzero().flatten()
    ink = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(2, round(_REFERENCE * s / max(ink.shape))) for s in ink.shape)
    small = F.interpolate(
        ink[None, None], (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    top, left = (_REFERENCE - height) // 2, (_REFERENCE - width) // 2
    whole = F.pad(small, (left, _REFERENCE - width - left, top, _REFERENCE - height - top))
    return (whole[0, 0] > 0.5).float()


def distorted(canvas: Tensor, random: torch.Generator) -> Tensor:
    """(B, 1, side/2, side/2) uint8 of letters (B, side, side).

    Each is turned, sheared, scaled, shifted, bent, and its stroke thinned or thickened.
    """
    b, side = len(canvas), canvas.shape[-1]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random) * 2 - 1

    turn, shear = uniform(b) * _TURN, uniform(b) * _SHEAR
    zoom = 1 + uniform(b, 2) * _ZOOM
    cos, sin = torch.cos(turn), torch.sin(turn)
    rows = [
        torch.stack([cos / zoom[:, 0], (shear * cos - sin) / zoom[:, 0]], -1),
        torch.stack([sin / zoom[:, 1], (shear * sin + cos) / zoom[:, 1]], -1),
    ]
    theta = torch.cat([torch.stack(rows, 1), 2 * _SHIFT * uniform(b, 2, 1)], -1)
    grid = F.affine_grid(theta, [b, 1, side, side], align_corners=False)
    wave = F.interpolate(uniform(b, 2, 4, 4) * 2 * _WAVE, side, mode="bicubic", align_corners=True)
    picture = F.grid_sample(canvas[:, None], grid + wave.permute(0, 2, 3, 1), align_corners=False)
    stroke = uniform(b)[:, None, None, None] * 2 * _STROKE
    sign = torch.where(stroke > 0, 1.0, -1.0)  # the largest neighbour thickens, the smallest thins
    picture = torch.lerp(picture, sign * F.max_pool2d(sign * picture, 3, 1, 1), stroke.abs())
    return (F.avg_pool2d(picture, 2) * 255).round().to(torch.uint8)
