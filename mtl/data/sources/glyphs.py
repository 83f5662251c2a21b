"""Glyphs: letters of many scripts, rendered from the fonts that matplotlib ships. Needs no download.

Splits are by script, so that no test script was seen in training. Letters that look alike when brought to
one size and place (Latin A, Greek Α, Cyrillic А; but also o and O) count once, and belong to the script that
stands first below. Every sample has its own font face and its own distortion.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.config import Data
from mtl.data.cache import cached
from mtl.data.image_set import ImageSet, Splits
from mtl.data.sources.glyph_fonts import Face, faces, letters
from mtl.data.sources.glyph_samples import distorted, reference, rendered
from mtl.errors import UserError
from mtl.runtime.seeds import generator

SCRIPTS = {
    "train": ("LATIN", "CYRILLIC", "CANADIAN SYLLABICS", "ARABIC"),
    "val": ("GEORGIAN", "LAO", "LISU"),
    "test": ("GREEK", "ARMENIAN", "HEBREW", "TIFINAGH", "NKO", "OLD ITALIC", "OGHAM"),
}

#: Two letters count as one where this share of the ink of each lies within REACH pixels of the other's ink.
#: Looked at in pairs: from 0.99 on they are one shape in two weights, at 0.97 half of them differ (K and Қ).
ALIKE, REACH = 0.98, 2


@dataclass(frozen=True)
class Letter:
    """One class."""

    codepoint: int
    script: str
    name: str  # unique, begins with the script, ends with the character itself
    faces: tuple[Face, ...]  # those that hold it


def load(config: Data, seed: int) -> Splits:
    """Renders the set, or opens it from its cache; ink is 255 on 0, 28×28 unless the config says otherwise.

    Raises:
        UserError: colour is asked for.
    """
    if config.grayscale is False:
        raise UserError("data.grayscale: glyphs have one channel; leave it out or say true")
    size = config.image_size or 28
    key = (size, config.samples_per_class, seed, matplotlib.__version__, SCRIPTS, ALIKE, REACH)
    return cached(Path(config.root), "glyphs", key, lambda: render(size, config.samples_per_class, seed))


def render(size: int, samples: int, seed: int) -> Splits:
    """The whole set, `samples` images of `size` pixels a letter, drawn from `seed`."""
    order = [script for scripts in SCRIPTS.values() for script in scripts]
    kept = without_look_alikes([Letter(*found) for script in order for found in letters(script, faces())])
    parts = []
    for scripts in SCRIPTS.values():
        part = sorted((letter for letter in kept if letter.script in scripts), key=lambda x: x.name)
        images, files = zip(*(_samples(letter, size, samples, seed) for letter in part), strict=True)
        parts.append(
            ImageSet(
                torch.cat(images),
                torch.arange(len(part)).repeat_interleave(samples),
                tuple(letter.name for letter in part),
                tuple(letter.script.title() for letter in part),
                tuple(f for group in files for f in group),
            )
        )
    return Splits(*parts, name="glyphs")


def without_look_alikes(candidates: list[Letter]) -> list[Letter]:
    """The candidates, without those that look like one before them; empty pictures are left out too."""
    ink = torch.stack([reference(letter.codepoint, letter.faces[0]) for letter in candidates])
    amount = ink.flatten(1).sum(1)
    near = F.max_pool2d(ink[:, None], 2 * REACH + 1, 1, REACH).flatten(1)
    covered = ink.flatten(1) @ near.T / amount.clamp_min(1)[:, None]
    alike = torch.minimum(covered, covered.T) >= ALIKE
    kept: list[int] = []
    for i in range(len(candidates)):
        if amount[i] > 0 and not alike[i, kept].any():
            kept.append(i)
    return [candidates[i] for i in kept]


def _samples(letter: Letter, size: int, samples: int, seed: int) -> tuple[Tensor, list[str]]:
    random = generator(seed, "glyph", letter.codepoint)
    chosen = torch.randint(len(letter.faces), (samples,), generator=random).tolist()
    canvas = torch.stack([rendered(letter.codepoint, letter.faces[i], 2 * size) for i in chosen])
    files = [f"{letter.faces[f].name} U+{letter.codepoint:04X} #{n}" for n, f in enumerate(chosen)]
    return distorted(canvas, random), files
