"""Scaling and shifting: the few parameters that meta-transfer learning trains.

For a frozen convolution W (out, in, k, k), b: SS(x) = (W ⊙ S1) * x + (b + S2), with S1 (out, in, 1, 1) from 1
and S2 (out,) from 0 (Sun et al., CVPR 2019, equation 5). Written as parametrizations, so that any network of
Conv2d, Linear and MultiheadAttention layers takes them; S1 ⊙ W is then computed once per forward pass, not
once per task.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

#: Weights of MultiheadAttention's layers for queries, keys and values; its last layer is a separate Linear.
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


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
    """Puts SS on every Conv2d, Linear and MultiheadAttention of `network`, in place.

    The weights below it are frozen. At first the network computes what it did before. A layer without a bias
    gets one of zeros.
    """
    for layer, weights, bias in list(_layers(give_biases(network))):
        for name in weights:
            getattr(layer, name).requires_grad_(False)
            parametrize.register_parametrization(layer, name, Scale(getattr(layer, name)))
        getattr(layer, bias).requires_grad_(False)
        parametrize.register_parametrization(layer, bias, Shift(getattr(layer, bias)))
    return network


def give_biases(network: nn.Module) -> nn.Module:
    """A bias of zeros for each layer without one, in place: folding SS leaves one behind."""
    for layer, weights, bias in _layers(network):
        if getattr(layer, bias) is None:
            like = [getattr(layer, name) for name in weights]
            zeros = torch.zeros(sum(len(w) for w in like), device=like[0].device, dtype=like[0].dtype)
            setattr(layer, bias, nn.Parameter(zeros))
    return network


def _layers(network: nn.Module) -> Iterator[tuple[nn.Module, list[str], str]]:
    """Each layer that takes SS, with the names of its weights and of its bias."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield module, ["weight"], "bias"
        elif isinstance(module, nn.MultiheadAttention):
            yield module, [n for n in _ATTENTION if getattr(module, n) is not None], "in_proj_bias"


def scale_shift_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """Every S1 and S2 of `network`."""
    for module in network.modules():
        if isinstance(module, Scale | Shift):
            yield from module.parameters()


def fold_scale_shift(network: nn.Module) -> nn.Module:
    """Writes S1 ⊙ W and b + S2 into the plain layers and removes SS, in place."""
    for layer, weights, bias in list(_layers(network)):
        for name in (*weights, bias):
            if parametrize.is_parametrized(layer, name):
                parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
    return network
