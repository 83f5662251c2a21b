"""The same drawing as pictures of many kinds: scans, photographs, other inks and grounds, other sizes.

Each kind is a pure function of a drawing, (H, W) with 0 for the ground and 1 for ink, and of a generator.
"""

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

Floats = NDArray[np.float64]
Kind = Callable[[Floats, np.random.Generator], Image.Image]
Colour = tuple[int, int, int]

_SHADES = (238, 110, 4)  # of pencil: the paper, how much darker the strokes are, noise
_SIDES = {"pencil": 420, "photo": 500, "thin": 840, "big": 1050, "small": 28}  # pixels


def drawing_of(file_image: Image.Image) -> Floats:
    """(H, W) the ink of a clean file in 0..1, whether it is dark on light or light on dark."""
    grey = np.asarray(file_image.convert("L"), dtype=np.float64) / 255
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    drawn: Floats = 1 - grey if np.median(border) > 0.5 else grey
    return drawn


def photo(v: Floats, random: np.random.Generator) -> Image.Image:
    """Grey paper with light from one side, darker towards the corners, slightly blurred and noisy."""
    side = _SIDES["photo"]
    v = _scaled(v, side)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    a, b = random.uniform(-0.5, 0.5, 2)
    ground = 165 * (1 + a * x + b * y - 0.25 * (x**2 + y**2))
    noisy = ground * (1 - 0.6 * v) + random.normal(0, 5, v.shape)
    return _image(noisy).filter(ImageFilter.GaussianBlur(1.2))


def _dark(v: Floats, _: np.random.Generator) -> Image.Image:
    return _image(255 * (1 - v))


def _light(v: Floats, _: np.random.Generator) -> Image.Image:
    return _image(255 * v)


def _pencil(v: Floats, random: np.random.Generator) -> Image.Image:
    paper, darker, noise = _SHADES
    v = _scaled(v, _SIDES["pencil"])
    v = v * (0.75 + 0.25 * random.random(v.shape))
    return _image(paper + random.normal(0, noise, v.shape) - darker * v).filter(ImageFilter.GaussianBlur(1))


def _warm_photo(v: Floats, random: np.random.Generator) -> Image.Image:
    grey = np.asarray(photo(v, random), dtype=np.float64)
    return _image(np.stack([grey * 1.02, grey * 0.97, grey * 0.85], -1))


def _transparent(level: int) -> Kind:
    def made(v: Floats, _: np.random.Generator) -> Image.Image:
        return _image(np.stack([*[np.full_like(v, level)] * 3, 255 * v], -1))

    return made


def _coloured(ink: Colour, ground: Colour) -> Kind:
    def made(v: Floats, _: np.random.Generator) -> Image.Image:
        return _image(np.array(ground) * (1 - v[..., None]) + np.array(ink) * v[..., None])

    return made


def _off_white(v: Floats, random: np.random.Generator) -> Image.Image:
    """Paper of another grey in each picture, which no training image may have."""
    ground, ink = random.uniform(190, 255), random.uniform(0, 80)
    return _image(ground + (ink - ground) * v)


def _faint(v: Floats, random: np.random.Generator) -> Image.Image:
    """Less contrast than most training images have, on their ground."""
    return _image(255 - random.uniform(12, 48) * v)


def _on_page(share: float) -> Kind:
    """Somewhere on a square page, whose side the file is this share of."""

    def made(v: Floats, random: np.random.Generator) -> Image.Image:
        side = round(len(v) / share)
        page = np.zeros((side, side))
        top, left = random.integers(0, side - len(v) + 1, 2)
        page[top : top + len(v), left : left + len(v)] = v
        return _image(255 * (1 - page))

    return made


def _wide(v: Floats, random: np.random.Generator) -> Image.Image:
    page = np.zeros((len(v), 2 * len(v)))
    left = random.integers(0, len(v) + 1)
    page[:, left : left + len(v)] = v
    return _image(255 * (1 - page))


def _tight(margin: int) -> Kind:
    def made(v: Floats, _: np.random.Generator) -> Image.Image:
        cut = _image(255 * v)
        return ImageOps.expand(ImageOps.invert(cut.crop(cut.getbbox())), margin, 255)

    return made


def _big(v: Floats, random: np.random.Generator) -> Image.Image:
    return _dark(v, random).resize((_SIDES["big"],) * 2, Image.Resampling.NEAREST)


def _small(v: Floats, random: np.random.Generator) -> Image.Image:
    return _dark(v, random).resize((_SIDES["small"],) * 2, Image.Resampling.NEAREST)


def _thin(v: Floats, _: np.random.Generator) -> Image.Image:
    large = _image(255.0 * (v > 0.5)).resize((_SIDES["thin"],) * 2, Image.Resampling.BICUBIC)
    return ImageOps.invert(large.filter(ImageFilter.MinFilter(9)))


def _bold(v: Floats, random: np.random.Generator) -> Image.Image:
    return _dark(v, random).filter(ImageFilter.MinFilter(5))


def _jpeg(v: Floats, random: np.random.Generator) -> Image.Image:
    held = io.BytesIO()
    _dark(v, random).convert("RGB").save(held, "JPEG", quality=40)
    return Image.open(held)


#: What a table calls it, and the kind.
KINDS: Mapping[str, tuple[str, Kind]] = {
    "dark": ("black on white", _dark),
    "light": ("white on black", _light),
    "pencil": ("pencil on paper, scanned at 420 pixels", _pencil),
    "photo": ("photographs of paper with shading and noise, grey", photo),
    "warm_photo": ("the same in colour", _warm_photo),
    "clear_black": ("black ink on a transparent ground", _transparent(0)),
    "clear_white": ("white ink on a transparent ground", _transparent(255)),
    "grey": ("grey on grey", _coloured((110, 110, 110), (140, 140, 140))),
    "light_grey": ("light grey on grey", _coloured((140, 140, 140), (100, 100, 100))),
    "blue": ("blue on cream", _coloured((30, 60, 200), (250, 245, 230))),
    "yellow": ("yellow on white", _coloured((250, 230, 40), (255, 255, 255))),
    "red_green": ("red on green", _coloured((200, 60, 60), (60, 130, 60))),
    "off_white": ("dark grey on off-white, other greys in each picture", _off_white),
    "faint": ("faint grey on white", _faint),
    "page80": ("somewhere on a page, 80 % of its side", _on_page(0.8)),
    "page60": ("60 %", _on_page(0.6)),
    "page40": ("40 %", _on_page(0.4)),
    "page20": ("20 %", _on_page(0.2)),
    "wide": ("somewhere on a page twice as wide as high", _wide),
    "tight": ("cut to the ink", _tight(0)),
    "padded": ("cut to the ink, with 4 pixels around it", _tight(4)),
    "big": ("enlarged to 1,050 pixels", _big),
    "small": ("shrunk to 28 pixels without smoothing", _small),
    "thin": ("`thin`: fine strokes, scanned at 840 pixels", _thin),
    "bold": ("`bold`: strokes 4 pixels thicker", _bold),
    "jpeg": ("`jpeg`: saved at quality 40", _jpeg),
}


def _image(values: Floats) -> Image.Image:
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def _scaled(v: Floats, side: int) -> Floats:
    """(side, side); slightly beyond 0..1 at edges, as sharp scaling is."""
    large = Image.fromarray(v.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(large, dtype=np.float64)
