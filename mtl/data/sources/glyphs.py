"""Glyphs: letters of many scripts, rendered from the fonts that matplotlib ships. Needs no download.

Splits are by script, so that no test script was seen in training. Letters that look alike when brought to
one size and place (Latin A, Greek Α, Cyrillic А; but also o and O) count once, and belong to the script that
stands first below. Every sample has its own font face and its own distortion.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import PIL
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
#: Between splits less is asked, so that no test letter is nearly one of training (F and Old Italic 𐌅: 0.979).
ALIKE, ALIKE_BETWEEN_SPLITS, REACH = 0.98, 0.96, 2


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
    samples, versions = config.samples_per_class, (matplotlib.__version__, PIL.__version__)
    key = (size, samples, seed, versions, SCRIPTS, ALIKE, ALIKE_BETWEEN_SPLITS, REACH)
    return cached(Path(config.root), "glyphs", key, lambda: render(size, samples, seed), config.cache)


def render(size: int, samples: int, seed: int) -> Splits:
    """The whole set, `samples` images of `size` pixels a letter, drawn from `seed`."""
    order = [script for scripts in SCRIPTS.values() for script in scripts]
    kept = without_look_alikes([Letter(*found) for script in order for found in letters(script, faces())])

    def split(part: str) -> ImageSet:
        chosen = sorted((x for x in kept if x.script in SCRIPTS[part]), key=lambda x: x.name)
        images, files = zip(*(_samples(letter, size, samples, seed) for letter in chosen), strict=True)
        return ImageSet(
            torch.cat(images),
            torch.arange(len(chosen)).repeat_interleave(samples),
            tuple(letter.name for letter in chosen),
            tuple(letter.script.title() for letter in chosen),
            tuple(f for group in files for f in group),
        )

    return Splits(split("train"), split("val"), split("test"), "glyphs")


def without_look_alikes(candidates: list[Letter]) -> list[Letter]:
    """The candidates, without those that look like one before them; empty pictures are left out too."""
    ink = torch.stack([reference(letter.codepoint, letter.faces[0]) for letter in candidates])
    amount = ink.flatten(1).sum(1)
    near = F.max_pool2d(ink[:, None], 2 * REACH + 1, 1, REACH).flatten(1)
    covered = ink.flatten(1) @ near.T / amount.clamp_min(1)[:, None]
    part = (
        torch.tensor([[x.script in scripts for scripts in SCRIPTS.values()] for x in candidates])
        .int()
        .argmax(1)
    )
    limit = torch.where(part[:, None] == part, ALIKE, ALIKE_BETWEEN_SPLITS)
    alike = torch.minimum(covered, covered.T) >= limit
    kept: list[int] = []
    for i in range(len(candidates)):
        if amount[i] > 0 and not alike[i, kept].any():
            kept.append(i)
    return [candidates[i] for i in kept]


def _samples(letter: Letter, size: int, samples: int, seed: int) -> tuple[Tensor, list[str]]:
    random = generator(seed, "glyph", letter.codepoint)
    chosen = torch.randint(len(letter.faces), (samples,), generator=random).tolist()
    drawn = {i: rendered(letter.codepoint, letter.faces[i], 2 * size) for i in set(chosen)}
    canvas = torch.stack([drawn[i] for i in chosen])
    files = [f"{letter.faces[f].name} U+{letter.codepoint:04X} #{n}" for n, f in enumerate(chosen)]
    return distorted(canvas, random), files
