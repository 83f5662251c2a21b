"""SS: the identity at its start, the stated formula after it, and nothing else trained."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtl.config import Backbone
from mtl.models.backbones import build_backbone
from mtl.models.scale_shift import add_scale_shift, fold_scale_shift, scale_shift_parameters


def _network(name, channels=None):
    g = torch.Generator().manual_seed(3)
    return build_backbone(Backbone(name=name, channels=channels), 3, 32, g).eval()


@pytest.mark.parametrize(
    ("name", "channels"),
    [("conv4", (8, 8, 8, 8)), ("resnet12", (4, 8, 8, 16)), ("resnet18", None), ("mobilenet_v3_small", None)],
)
def test_at_its_start_it_is_the_identity(name, channels):
    network = _network(name, channels)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = network(images)
    add_scale_shift(network)
    assert torch.equal(network(images), before)
    learned = {id(p) for p in scale_shift_parameters(network)}
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(learned) == 2 * len(convolutions)
    for layer in convolutions:
        assert not layer.parametrizations.weight.original.requires_grad


def test_it_is_the_formula():
    conv = nn.Conv2d(3, 5, 3)
    weight, bias = conv.weight.detach().clone(), conv.bias.detach().clone()
    add_scale_shift(conv)
    g = torch.Generator().manual_seed(0)
    s1, s2 = torch.randn(5, 3, 1, 1, generator=g), torch.randn(5, generator=g)
    with torch.no_grad():
        conv.parametrizations.weight[0].factor.copy_(s1)
        conv.parametrizations.bias[0].offset.copy_(s2)
    x = torch.randn(2, 3, 8, 8, generator=g)
    expected = F.conv2d(x, weight * s1, bias + s2)
    torch.testing.assert_close(conv(x), expected)
    fold_scale_shift(conv)
    torch.testing.assert_close(conv(x), expected)
    assert not hasattr(conv, "parametrizations")


def test_a_layer_without_bias_gets_one_and_a_linear_layer_a_factor_for_each_output():
    network = add_scale_shift(nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Flatten(), nn.Linear(2, 4)))
    conv, linear = network[0], network[2]
    assert torch.equal(conv.bias, torch.zeros(2))
    assert linear.parametrizations.weight[0].factor.shape == (4, 1)
    loss = network(torch.ones(1, 1, 3, 3)).square().sum()
    loss.backward()
    assert all(p.grad is not None for p in scale_shift_parameters(network))
    assert conv.parametrizations.weight.original.grad is None
