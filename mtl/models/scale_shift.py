"""Scaling and shifting: the light parameters that meta-transfer learning trains.

For a frozen convolution W (out, in, k, k), b: SS(x) = (W ⊙ S1) * x + (b + S2), with S1 (out, in, 1, 1) from 1
and S2 (out,) from 0 (Sun et al., CVPR 2019, equation 5). Written as parametrizations, so that any network of
Conv2d and Linear layers takes them; S1 ⊙ W is then computed once a forward pass, not once a task.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Scale(nn.Module):
    """S1 ⊙ W: for a convolution a factor for each pair of filters; for a linear layer one for each output."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        outputs, inputs = weight.shape[:2]
        shape = (outputs, inputs, 1, 1) if weight.ndim == 4 else (outputs, 1)
        self.factor = nn.Parameter(torch.ones(shape, device=weight.device, dtype=weight.dtype))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.factor


class Shift(nn.Module):
    """b + S2."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros_like(bias))

    def forward(self, bias: Tensor) -> Tensor:
        return bias + self.offset


def add_scale_shift(network: nn.Module) -> nn.Module:
    """Puts SS on every Conv2d and Linear of `network`, in place, and freezes what lies below them.

    At its start the network computes what it did before. A layer without a bias gets one of zeros.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers:
        layer.weight.requires_grad_(False)
        if layer.bias is None:
            outputs = layer.weight.shape[0]
            layer.bias = nn.Parameter(
                torch.zeros(outputs, device=layer.weight.device, dtype=layer.weight.dtype)
            )
        layer.bias.requires_grad_(False)
        parametrize.register_parametrization(layer, "weight", Scale(layer.weight))
        parametrize.register_parametrization(layer, "bias", Shift(layer.bias))
    return network


def scale_shift_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """Every S1 and S2 of `network`."""
    for module in network.modules():
        if isinstance(module, Scale | Shift):
            yield from module.parameters()


def fold_scale_shift(network: nn.Module) -> nn.Module:
    """Writes S1 ⊙ W and b + S2 into the plain layers and takes SS off, in place."""
    for module in network.modules():
        for name in ("weight", "bias"):
            if parametrize.is_parametrized(module, name):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return network
