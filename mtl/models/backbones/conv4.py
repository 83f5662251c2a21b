"""Conv4: the four-block network of Matching Networks (Vinyals et al., NeurIPS 2016)."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


def conv_norm(conv: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """norm(conv(x)) of images (B, C, H, W); `conv` is a Conv2d, `norm` a BatchNorm2d.

    With fixed statistics and weights the norm is a factor and an offset for each filter, and is as well
    taken on the convolution's weights: a pass over the maps less, forwards and backwards. Gradients reach
    the convolution as before. A norm that learns is left as it is.
    """
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    learns = torch.is_grad_enabled() and norm.weight.requires_grad
    if norm.training or learns or norm.running_mean is None or norm.running_var is None:
        normed: Tensor = norm(conv(x))
        return normed
    factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
    offset = norm.bias - norm.running_mean * factor
    if conv.bias is not None:
        offset = offset + conv.bias * factor
    folded: Tensor = conv._conv_forward(x, conv.weight * factor[:, None, None, None], offset)
    return folded


def read_out(maps: list[Tensor], pool: str, levels: int) -> Tensor:
    """(B, D): the last `levels` of the maps (B, C, H, W), the deepest first.

    `pool` "flatten" keeps the last map as it is and averages the others to its size; "mean" averages all.
    What earlier blocks see is less bound to the base classes, and carries over better (Evci et al.,
    "Head2Toe", ICML 2022).
    """
    last = maps[-1]
    side = last.shape[-1] if pool == "flatten" else 1
    if levels == 1:
        return last.flatten(1) if pool == "flatten" else last.mean((2, 3))
    return torch.cat([F.adaptive_avg_pool2d(x, side).flatten(1) for x in reversed(maps[-levels:])], 1)
