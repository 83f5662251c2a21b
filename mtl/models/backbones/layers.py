"""A convolution and the batch norm behind it, as one convolution where the norm is fixed."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
