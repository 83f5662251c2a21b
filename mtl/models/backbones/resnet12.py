"""ResNet-12 as used in few-shot learning since TADAM (Oreshkin et al., NeurIPS 2018)."""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from mtl.models.backbones.conv4 import conv_norm, read_out


class _Block(nn.Module):
    """Three 3×3 convolutions beside a 1×1 shortcut, then 2×2 max pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        widths = (inputs, outputs, outputs, outputs)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(3))
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            out = conv_norm(conv, norm, out)
            if i < 2:
                out = F.leaky_relu(out, 0.1, inplace=True)  # a third less to keep for the backward pass
        out = out.add_(conv_norm(self.shortcut[0], self.shortcut[1], x))
        # pooling first gives the same as the activation first, on a quarter of the values
        return F.leaky_relu(F.max_pool2d(out, 2), 0.1, inplace=True)


class ResNet12(nn.Module):
    """Four residual blocks; 64-160-320-640 filters as in MetaOptNet, or 64-128-256-512.

    Args:
        in_channels: of the images.
        channels: filters of each block.
        image_size: side of the images in pixels, at least 16.
        pool: "mean" averages the last map; "flatten" keeps it as it is.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int, int] = (64, 160, 320, 640),
        image_size: int = 84,
        pool: str = "mean",
    ) -> None:
        super().__init__()
        widths = (in_channels, *channels)
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in itertools.pairwise(widths)))
        self.pool = pool
        places = (image_size // 16) ** 2 if pool == "flatten" else 1
        self.level_features = tuple(places * c for c in reversed(channels))
        self.out_features = self.level_features[0]
        self.levels = 1  # blocks whose maps are in the feature, the last ones
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.1, mode="fan_out", nonlinearity="leaky_relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to features (B, D)."""
        x, maps = images, []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return read_out(maps, self.pool, self.levels)
