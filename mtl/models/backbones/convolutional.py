"""Conv4 (Vinyals et al., NeurIPS 2016), ResNet-12 (Oreshkin et al., "TADAM", NeurIPS 2018), and ensembles."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.models.batch_norm import follow


class _Blocks(nn.Module):
    """Four blocks, each of which halves the side of the maps.

    Args:
        channels: filters of each block.
        image_size: side of the images in pixels, at least 16.
        pool: "flatten" keeps the last map as it is; "mean" averages it.
    """

    def __init__(self, channels: tuple[int, int, int, int], image_size: int, pool: str) -> None:
        super().__init__()
        self.pool, self.image_size, self.channels = pool, image_size, channels
        places = (image_size // 16) ** 2 if pool == "flatten" else 1
        self.level_features = tuple(places * c for c in reversed(channels))
        self.out_features = self.level_features[0]
        self.levels = 1  # blocks whose maps are in the feature, the last ones

    def maps(self, images: Tensor) -> list[Tensor]:
        """The output of each block."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to features (B, D)."""
        return read_out(self.maps(images), self.pool, self.levels)


class Conv4(_Blocks):
    """Blocks of 3×3 convolution, batch norm, ReLU and 2×2 max pooling; arguments as of ResNet12."""

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int, int] = (64, 64, 64, 64),
        image_size: int = 32,
        pool: str = "flatten",
    ) -> None:
        super().__init__(channels, image_size, pool)
        widths = (in_channels, *channels)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in channels)

    def maps(self, images: Tensor) -> list[Tensor]:
        x, maps = images, []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            # Pooling first gives the same result as ReLU first, on a quarter of the values.
            x = F.relu(F.max_pool2d(conv_norm(conv, norm, x), 2))
            maps.append(x)
        return maps


class ResNet12(_Blocks):
    """Residual blocks; 64-160-320-640 filters as in MetaOptNet, or 64-128-256-512.

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
        super().__init__(channels, image_size, pool)
        widths = (in_channels, *channels)
        self.blocks = nn.Sequential(*(_Residual(a, b) for a, b in itertools.pairwise(widths)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.1, mode="fan_out", nonlinearity="leaky_relu")

    def maps(self, images: Tensor) -> list[Tensor]:
        x, maps = images, []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps


class Ensemble(_Blocks):
    """Networks of one architecture beside each other, whose maps are joined, block by block.

    In the feature of each level the values of a network are consecutive, those of the first network first.
    Several narrow networks generalise better than one of as many operations (EASY, Bendou et al., 2022), if
    each learns on its own: `Classifiers` has one for each.
    """

    def __init__(self, networks: Sequence[_Blocks]) -> None:
        one, count = networks[0], len(networks)
        a, b, c, d = one.channels
        super().__init__((count * a, count * b, count * c, count * d), one.image_size, one.pool)
        self.networks = nn.ModuleList(networks)

    def maps(self, images: Tensor) -> list[Tensor]:
        each = [network.maps(images) for network in self.networks]  # type: ignore[operator]
        return [torch.cat(of_block, 1) for of_block in zip(*each, strict=True)]


class _Residual(nn.Module):
    """Three 3×3 convolutions beside a 1×1 shortcut, then 2×2 max pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        widths = itertools.pairwise((inputs, outputs, outputs, outputs))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in widths)
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


def conv_norm(conv: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """norm(conv(x)) of images (B, C, H, W); `conv` is a Conv2d, `norm` a BatchNorm2d.

    Where the statistics are known before the convolution, the norm is a factor and an offset for each filter
    and is folded into the convolution's weights: it then takes no pass over the maps, forwards or backwards.
    They are known if they are fixed, and in the first layer of a backbone, where those of a batch follow from
    its images (`response_statistics`). Gradients are those of the two one after the other. A norm that learns
    over fixed statistics is left as it is.

    Statistics of the batch take off whatever the convolution's bias adds: its gradient is 0. Computed, it
    would be what rounding leaves, of which Adam makes steps as long as any other.
    """
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    bias = conv.bias
    if norm.training and bias is not None:
        bias = bias.detach() + 0 * bias
    learns = torch.is_grad_enabled() and norm.weight.requires_grad
    if norm.training and type(norm) is nn.BatchNorm2d and is_first(conv, x):
        mean, variance, count = response_statistics(conv, x)
        mean = mean if bias is None else mean + bias
        follow(norm, mean, variance, count)
    elif norm.training or learns or norm.running_mean is None or norm.running_var is None:
        normed: Tensor = norm(conv._conv_forward(x, conv.weight, bias))
        return normed
    else:
        mean, variance = norm.running_mean, norm.running_var
    factor = norm.weight * (variance + norm.eps).rsqrt()
    offset = norm.bias - mean * factor
    if bias is not None:
        offset = offset + bias * factor
    folded: Tensor = conv._conv_forward(x, conv.weight * factor[:, None, None, None], offset)
    return folded


def is_first(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether a layer sees images, at each place, and has more filters than a patch of them has values."""
    few = conv.weight[0].numel() < conv.out_channels
    return few and conv.stride == (1, 1) and not x.requires_grad


def response_statistics(conv: nn.Conv2d, images: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean (F,) and biased variance (F,) of the responses of F filters without bias, and how many each has.

    With patches p of mean m and covariance C, the response w·p of a filter has the mean w·m and the variance
    wᵀCw: of a few values in place of F, and differentiable by the weights. C is taken as E[ppᵀ] − mmᵀ, since
    images come normalised: m is small.
    """
    weights = conv.weight.flatten(1)
    height, width = conv.kernel_size
    down, along = (int(pixels) for pixels in conv.padding)
    with torch.autocast(images.device.type, enabled=False):
        padded = F.pad(images.to(weights.dtype), (along, along, down, down)).contiguous()
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, H, W, h, w), nothing copied yet
        patches = windows.permute(0, 1, 4, 5, 2, 3).flatten(1, 3).flatten(2)  # (B, P, H·W)
        count = patches.shape[0] * patches.shape[2]
        middle = (patches @ patches.new_ones(patches.shape[2])).sum(0) / count
        square = torch.bmm(patches, patches.mT).sum(0) / count
        covariance = square - torch.outer(middle, middle)
        return weights @ middle, ((weights @ covariance) * weights).sum(1).clamp_min(0), count


def read_out(maps: list[Tensor], pool: str, levels: int) -> Tensor:
    """(B, D): the last `levels` of the maps (B, C, H, W), the deepest first.

    `pool` "flatten" keeps the last map as it is and averages the others to its size; "mean" averages all.
    Features of earlier blocks are less specific to the base classes, and transfer better (Evci et al.,
    "Head2Toe", ICML 2022).
    """
    last = maps[-1]
    side = last.shape[-1] if pool == "flatten" else 1
    if levels == 1:
        return last.flatten(1) if pool == "flatten" else last.mean((2, 3))
    return torch.cat([F.adaptive_avg_pool2d(x, side).flatten(1) for x in reversed(maps[-levels:])], 1)
