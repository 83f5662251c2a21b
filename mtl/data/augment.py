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


def augment(images: Tensor, cfg: Augment, generator: torch.Generator) -> Tensor:
    """Random changes of uint8 images (B, C, H, W), drawn for each image; the result is float in [0, 255].

    What leaves the frame is replaced by black for the crop and by the border's pixels for the rest.
    """
    out = images  # uint8 as long as possible: a quarter of the bytes to move
    if cfg.rotate or cfg.translate or cfg.scale or cfg.shear:
        out = _affine(out.float(), cfg, generator)
    if cfg.crop:
        out = _crop(out, cfg.crop, generator)
    if cfg.flip:
        mirrored = torch.rand(len(out), generator=generator) < 0.5
        out = torch.where(mirrored.to(out.device)[:, None, None, None], out.flip(-1), out)
    if cfg.brightness or cfg.contrast or cfg.saturation:
        out = _colour(out.float(), cfg, generator)
    return out.float()


def _uniform(count: int, width: float, generator: torch.Generator) -> Tensor:
    """(count,) uniform in [-width, width]."""
    return (torch.rand(count, generator=generator) * 2 - 1) * width


def _affine(images: Tensor, cfg: Augment, generator: torch.Generator) -> Tensor:
    b = len(images)
    angle = _uniform(b, math.radians(cfg.rotate), generator)
    shear = torch.tan(_uniform(b, math.radians(cfg.shear), generator))
    zoom = 1 + _uniform(b, cfg.scale, generator)
    shift = torch.stack([_uniform(b, 2 * cfg.translate, generator) for _ in range(2)], -1)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    turn = torch.stack(
        [torch.stack([cos, cos * shear - sin], -1), torch.stack([sin, sin * shear + cos], -1)], 1
    )
    return moved(images, torch.cat([turn, shift[:, :, None]], -1).to(images.device))


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


def _crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    b, _, h, w = images.shape
    padded = F.pad(images, (padding,) * 4)
    top, left = torch.randint(0, 2 * padding + 1, (2, b), generator=generator).to(images.device)
    windows = padded.unfold(2, h, 1).unfold(3, w, 1)  # (B, C, 2p + 1, 2p + 1, H, W), nothing copied yet
    return windows[torch.arange(b, device=images.device), :, top, left]


def _colour(images: Tensor, cfg: Augment, generator: torch.Generator) -> Tensor:
    factors = [
        1 + _uniform(len(images), w, generator) for w in (cfg.brightness, cfg.contrast, cfg.saturation)
    ]
    brightness, contrast, saturation = (f.to(images.device).view(-1, 1, 1, 1) for f in factors)
    # All three are linear in the image, its grey and its mean, so one pass over the pixels is enough.
    grey = images.mean(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    stretch = brightness * contrast
    rest = stretch * (1 - saturation) * grey + brightness * (1 - contrast) * mean
    return (images * (stretch * saturation)).add_(rest).clamp_(0, 255)
