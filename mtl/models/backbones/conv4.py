"""Conv4: the four-block network of Matching Networks (Vinyals et al., NeurIPS 2016)."""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from mtl.models.backbones.layers import conv_norm, read_out


class Conv4(nn.Module):
    """Four blocks of 3×3 convolution, batch norm, ReLU and 2×2 max pooling.

    Args:
        in_channels: of the images.
        channels: filters of each block.
        image_size: side of the images in pixels, at least 16.
        pool: "flatten" keeps the last map as it is; "mean" averages it.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int, int] = (64, 64, 64, 64),
        image_size: int = 32,
        pool: str = "flatten",
    ) -> None:
        super().__init__()
        widths = (in_channels, *channels)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in channels)
        self.pool = pool
        places = (image_size // 16) ** 2 if pool == "flatten" else 1
        self.level_features = tuple(places * c for c in reversed(channels))
        self.out_features = self.level_features[0]
        self.levels = 1  # blocks whose maps are in the feature, the last ones

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to features (B, D)."""
        x, maps = images, []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            # Pooling first gives the same result as ReLU first, on a quarter of the values.
            x = F.relu(F.max_pool2d(conv_norm(conv, norm, x), 2))
            maps.append(x)
        return read_out(maps, self.pool, self.levels)
