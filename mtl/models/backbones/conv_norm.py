"""A convolution and the batch norm behind it, as one convolution where the norm is fixed."""

import torch
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
