"""Images from uint8 to what the backbone takes, and random changes drawn separately for each image.

Everything works on whole batches, with one random number per image: one draw per batch would give all its
images the same crop.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.config import Augment
from mtl.runtime.seeds import Draws


@dataclass(frozen=True)
class Normalise:
    """uint8 images to float32, so that each channel of the training split has mean 0 and deviation 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8, or floats in [0, 255], to float32."""
        mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1) * 255
        std = torch.tensor(self.std, device=images.device).view(-1, 1, 1) * 255
        return (images - mean).div_(std)


def augment(
    images: Tensor,
    cfg: Augment,
    generator: torch.Generator,
    rows: Tensor | None = None,
    count: int = 0,
) -> Tensor:
    """Random changes of uint8 images (B, C, H, W), drawn for each image; the result is float in [0, 255].

    Where the images are the `rows` (B,) of a batch of `count`, they change as they would in all of it.

    What leaves the frame is replaced by black for the crop and by the border's pixels for the rest.
    """
    draws = Draws(generator, rows, count)
    out = images  # uint8 as long as possible: a quarter of the bytes to move
    if cfg.rotate or cfg.translate or cfg.scale or cfg.shear:
        out = _affine(out.float(), cfg, draws)
    if cfg.crop:
        out = _crop(out, cfg.crop, draws)
    if cfg.flip:
        mirrored = draws.here(draws.uniform(draws.rows_of_all(len(out)))) < 0.5
        out = torch.where(mirrored.to(out.device)[:, None, None, None], out.flip(-1), out)
    if cfg.brightness or cfg.contrast or cfg.saturation:
        out = _colour(out.float(), cfg, draws)
    return out.float()


def turned(
    images: Tensor, share: float, generator: torch.Generator, rows: Tensor | None = None, count: int = 0
) -> tuple[Tensor, Tensor]:
    """Square images (B, C, S, S), of which a share is turned; and how many right angles each is (B,) int64.

    Which and by how much is drawn for each image. `rows` and `count` as of `augment`; the angles are those of
    the whole batch.
    """
    draws = Draws(generator, rows, count)
    b = draws.rows_of_all(len(images))
    angles = torch.randint(1, 4, (b,), generator=generator).where(draws.uniform(b) < share, torch.tensor(0))
    here = draws.here(angles).to(images.device)
    out = images.clone()
    for angle in (1, 2, 3):
        out[here == angle] = torch.rot90(images[here == angle], angle, (2, 3))
    return out, angles


def _uniform(count: int, width: float, draws: Draws) -> Tensor:
    """(count,) uniform in [-width, width]."""
    return (draws.uniform(count) * 2 - 1) * width


def _affine(images: Tensor, cfg: Augment, draws: Draws) -> Tensor:
    b = draws.rows_of_all(len(images))  # angles of the whole batch: vector instructions round by the place
    angle = _uniform(b, math.radians(cfg.rotate), draws)
    shear = torch.tan(_uniform(b, math.radians(cfg.shear), draws))
    zoom = 1 + _uniform(b, cfg.scale, draws)
    shift = torch.stack([_uniform(b, 2 * cfg.translate, draws) for _ in range(2)], -1)
    theta = draws.here(affine(angle, shear, zoom, shift))
    return moved(images, theta.to(images.device))


def affine(angle: Tensor, shear: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """(B, 2, 3) for `moved`: by angles in radians (B,), tangents of shear (B,), zoom (B,) and shift (B, 2).

    Shifts are in frame coordinates, in which the side of an image is 2.
    """
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    turn = torch.stack(
        [torch.stack([cos, cos * shear - sin], -1), torch.stack([sin, sin * shear + cos], -1)], 1
    )
    return torch.cat([turn, shift[:, :, None]], -1)


def moved(images: Tensor, theta: Tensor) -> Tensor:
    """(B, C, H, W): the value at (x, y) is that of the image at theta (B, 2, 3) times (x, y, 1).

    As F.grid_sample on F.affine_grid, in frame coordinates; the grid is two outer sums, not B·H·W products.
    """
    x, y = (_centres(side, images.device) for side in (images.shape[3], images.shape[2]))
    along, down, offset = (theta[:, :, i, None, None] for i in range(3))
    grid = (along * x + offset) + down * y[:, None]
    return F.grid_sample(images, grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def _centres(side: int, device: torch.device) -> Tensor:
    """(side,) centres of pixels, the frame being [-1, 1]."""
    return (2 * torch.arange(side, device=device) + 1) / side - 1


def _crop(images: Tensor, padding: int, draws: Draws) -> Tensor:
    b, _, h, w = images.shape
    padded = F.pad(images, (padding,) * 4)
    places = torch.randint(0, 2 * padding + 1, (2, draws.rows_of_all(b)), generator=draws.random)
    top, left = (draws.here(place).to(images.device) for place in places)
    windows = padded.unfold(2, h, 1).unfold(3, w, 1)  # (B, C, 2p + 1, 2p + 1, H, W), nothing copied yet
    return windows[torch.arange(b, device=images.device), :, top, left]


def _colour(images: Tensor, cfg: Augment, draws: Draws) -> Tensor:
    b, widths = draws.rows_of_all(len(images)), (cfg.brightness, cfg.contrast, cfg.saturation)
    factors = [1 + draws.here(_uniform(b, w, draws)) for w in widths]
    brightness, contrast, saturation = (f.to(images.device).view(-1, 1, 1, 1) for f in factors)
    # All three are linear in the image, its grey and its mean, so one pass over the pixels is enough.
    grey = images.mean(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    stretch = brightness * contrast
    rest = stretch * (1 - saturation) * grey + brightness * (1 - contrast) * mean
    return (images * (stretch * saturation)).add_(rest).clamp_(0, 255)
