"""Glyphs: letters of many scripts, rendered from the fonts that matplotlib ships. Needs no download.

Splits are by script, so that no test script was seen in training. Letters that look the same when brought to
one size and place (Latin A, Greek Α, Cyrillic А; but also o and O) count once, and belong to the script that
comes first below. Every sample has its own font face and its own distortion.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import PIL
import torch
import torch.nn.functional as F
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mtl.config import Data, Log
from mtl.data.cache import cached
from mtl.data.image_set import ImageSet, Splits
from mtl.errors import UserError
from mtl.runtime.seeds import generator

SCRIPTS = {
    "train": ("LATIN", "CYRILLIC", "CANADIAN SYLLABICS", "ARABIC"),
    "val": ("GEORGIAN", "LAO", "LISU"),
    "test": ("GREEK", "ARMENIAN", "HEBREW", "TIFINAGH", "NKO", "OLD ITALIC", "OGHAM"),
}

#: Two letters count as one if this share of the ink of each is within REACH pixels of the other's ink.
#: Looked at in pairs: from 0.99 on they are one shape in two weights, at 0.97 half of them differ (K and Қ).
#: Between splits a lower limit applies, so that no test letter nearly equals one of training (F and Old
#: Italic 𐌅: 0.979).
ALIKE, ALIKE_BETWEEN_SPLITS, REACH = 0.98, 0.96, 2

_FAMILIES = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")
_BESIDES = ("DejaVuSansDisplay", "DejaVuSerifDisplay")  # decorative pieces, not letters
_COMPUTER_MODERN = ("cmr10", "cmss10", "cmtt10", "cmb10", "cmti10")  # encoded differently beyond ASCII
_LETTERS = {"Lu", "Ll", "Lo"}
_REFERENCE = 32  # side of the pictures that letters are compared by
_TURN, _SHEAR, _ZOOM, _SHIFT = 0.30, 0.25, 0.20, 0.10  # radians, slope, share of size, share of the side
_WAVE = 0.06  # elastic displacement, share of the side
_STROKE = 0.5  # how much of a picture grown or shrunk by one pixel is mixed in


@dataclass(frozen=True)
class Face:
    """One font file."""

    name: str
    path: str
    codepoints: frozenset[int]


@dataclass(frozen=True)
class Letter:
    """One class."""

    codepoint: int
    script: str
    name: str  # unique, begins with the script, ends with the character itself
    faces: tuple[Face, ...]  # those that hold it


def load(config: Data, seed: int, log: Log | None = None) -> Splits:
    """Renders the set, or opens it from its cache; ink is 255 on 0, 28×28 unless the config says otherwise.

    Raises:
        UserError: the config says colour.
    """
    if config.grayscale is False:
        raise UserError("data.grayscale: glyphs have one channel; leave it out or say true")
    size = config.image_size or 28
    samples, versions = config.samples_per_class, (matplotlib.__version__, PIL.__version__)
    key = (size, samples, seed, versions, SCRIPTS, ALIKE, ALIKE_BETWEEN_SPLITS, REACH)
    return cached(Path(config.root), "glyphs", key, lambda: draw_set(size, samples, seed), config.cache)


def draw_set(size: int, samples: int, seed: int) -> Splits:
    """The whole set, `samples` images of `size` pixels a letter, drawn from `seed`."""
    order = [script for scripts in SCRIPTS.values() for script in scripts]
    distinct = without_look_alikes([letter for script in order for letter in letters(script, faces())])

    def split(part: str) -> ImageSet:
        chosen = sorted((x for x in distinct if x.script in SCRIPTS[part]), key=lambda x: x.name)
        images, files = zip(*(_samples(letter, size, samples, seed) for letter in chosen), strict=True)
        return ImageSet(
            torch.cat(images),
            torch.arange(len(chosen)).repeat_interleave(samples),
            tuple(letter.name for letter in chosen),
            tuple(letter.script.title() for letter in chosen),
            tuple(f for group in files for f in group),
        )

    return Splits(split("train"), split("val"), split("test"), "glyphs")


def letters(script: str, among: tuple[Face, ...]) -> list[Letter]:
    """Every letter of a script, by codepoint.

    Letters that Unicode decomposes into another with a mark (É), or another's form (ﺏ), are left out: many of
    them differ by a dot.
    """
    of_script = []
    for code in sorted(set().union(*(f.codepoints for f in among))):
        character = chr(code)
        name = unicodedata.name(character, "")
        known = unicodedata.category(character) in _LETTERS and not unicodedata.decomposition(character)
        if known and name.startswith(script + " "):
            short = " ".join(w for w in name.removeprefix(script).lower().split() if w != "letter")
            holds = tuple(f for f in among if code in f.codepoints)
            of_script.append(Letter(code, script, f"{script.title()} {short} {character}", holds))
    return of_script


@cache
def faces() -> tuple[Face, ...]:
    """All faces in a fixed order, the plain DejaVu Sans first: it has the most letters."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    usable = []
    for path in sorted(folder.glob("*.ttf"), key=lambda p: (p.stem != "DejaVuSans", p.stem)):
        if path.stem in _COMPUTER_MODERN:
            codepoints = {c for c in range(128) if chr(c).isalpha()}
        elif path.stem.startswith(_FAMILIES) and path.stem not in _BESIDES:
            codepoints = set(FT2Font(str(path)).get_charmap())
        else:
            continue
        usable.append(Face(path.stem, str(path), frozenset(codepoints)))
    return tuple(usable)


def without_look_alikes(candidates: list[Letter]) -> list[Letter]:
    """The candidates without those that look like one before them, and without empty pictures."""
    ink = torch.stack([reference(letter.codepoint, letter.faces[0]) for letter in candidates])
    amount = ink.flatten(1).sum(1)
    near = F.max_pool2d(ink[:, None], 2 * REACH + 1, 1, REACH).flatten(1)
    covered = ink.flatten(1) @ near.T / amount.clamp_min(1)[:, None]
    inside = [[letter.script in scripts for scripts in SCRIPTS.values()] for letter in candidates]
    part = torch.tensor(inside).int().argmax(1)
    limit = torch.where(part[:, None] == part, ALIKE, ALIKE_BETWEEN_SPLITS)
    alike = torch.minimum(covered, covered.T) >= limit
    distinct: list[int] = []
    for i in range(len(candidates)):
        if amount[i] > 0 and not alike[i, distinct].any():
            distinct.append(i)
    return [candidates[i] for i in distinct]


def reference(codepoint: int, face: Face) -> Tensor:
    """(32, 32) of 0 and 1: the ink of the letter scaled to fill the picture, to compare letters by."""
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


def _samples(letter: Letter, size: int, samples: int, seed: int) -> tuple[Tensor, list[str]]:
    random = generator(seed, "glyph", letter.codepoint)
    chosen = torch.randint(len(letter.faces), (samples,), generator=random).tolist()
    drawn = {i: rendered(letter.codepoint, letter.faces[i], 2 * size) for i in set(chosen)}
    canvas = torch.stack([drawn[i] for i in chosen])
    files = [f"{letter.faces[f].name} U+{letter.codepoint:04X} #{n}" for n, f in enumerate(chosen)]
    return distorted(canvas, random), files


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


@lru_cache(maxsize=64)
def _font(path: str, points: int) -> ImageFont.FreeTypeFont:
    # the basic engine on every machine: the image set must not depend on whether Pillow finds the other one
    return ImageFont.truetype(path, points, layout_engine=ImageFont.Layout.BASIC)


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
