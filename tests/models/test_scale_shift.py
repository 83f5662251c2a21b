"""SS: the identity at its start, the stated formula after it, and nothing else trained."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtl.config import Backbone
from mtl.models.backbones import build_backbone
from mtl.models.scale_shift import (
    Scale,
    add_scale_shift,
    fold_scale_shift,
    give_biases,
    scale_shift_parameters,
)
from mtl.runtime.seeds import generator


def _network(name, channels=None):
    g = torch.Generator().manual_seed(3)
    return build_backbone(Backbone(name=name, channels=channels), 3, 32, g).eval()


def _transformer():
    """A tiny one of torchvision's kind, as a network of its own."""
    from torchvision.models import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64)
    nn.init.normal_(network.heads.head.weight, generator=generator(0))  # torchvision starts it at zeros
    return network.eval()


def _moved(network):
    """SS put on, and moved from its start."""
    add_scale_shift(network)
    random = generator(1, "moved")
    with torch.no_grad():
        for parameter in scale_shift_parameters(network):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype))
    return network


NETWORKS = pytest.mark.parametrize(
    "make",
    [
        lambda: _network("conv4", (8, 8, 8, 8)),
        lambda: _network("resnet12", (4, 8, 8, 16)),
        lambda: _network("torchvision.resnet18"),
        lambda: _network("torchvision.mobilenet_v3_small"),
        lambda: _network("torchvision.convnext_tiny"),
        lambda: _network("torchvision.swin_t"),
        lambda: _network("timm.resnet10t"),
        _transformer,
    ],
    ids=["conv4", "resnet12", "resnet18", "mobilenet", "convnext", "swin", "timm", "transformer"],
)


@NETWORKS
@torch.no_grad()
def test_at_its_start_it_is_the_identity_and_folded_it_is_the_same(make, request):
    if request.node.callspec.id == "timm":
        pytest.importorskip("timm")
    network = make()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = network(images)
    add_scale_shift(network)
    assert torch.equal(network(images), before)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    layers += [m for m in network.modules() if isinstance(m, nn.MultiheadAttention)]
    learned = list(scale_shift_parameters(network))
    assert len({id(p) for p in learned}) == len(learned) == 2 * len(layers)
    trained = {id(p) for p in network.parameters() if p.requires_grad}
    assert {id(p) for p in learned} <= trained
    for layer in layers:
        assert not any(original.original.requires_grad for original in layer.parametrizations.values())
    for parameter in learned:
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(len(parameter))))
    moved = network(images)
    assert not torch.allclose(moved, before, rtol=1e-3)
    fold_scale_shift(network)
    assert torch.equal(network(images), moved)
    assert not any(isinstance(m, Scale) for m in network.modules())


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


@pytest.mark.parametrize("sizes", [{}, {"kdim": 3, "vdim": 5}], ids=["packed", "apart"])
@pytest.mark.parametrize("bias", [True, False])
def test_attention_is_scaled_for_each_output_of_its_queries_keys_and_values(sizes, bias, monkeypatch):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, bias=bias, batch_first=True, dtype=torch.float64, **sizes)
    reference = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64, **sizes)
    reference.load_state_dict(layer.state_dict(), strict=False)
    weights = ["q_proj_weight", "k_proj_weight", "v_proj_weight"] if sizes else ["in_proj_weight"]
    nn.init.zeros_(reference.out_proj.bias)
    if bias:
        nn.init.normal_(layer.in_proj_bias)
    _moved(layer)
    assert len(list(scale_shift_parameters(layer))) == len(weights) + 3
    with torch.no_grad():
        for name in weights:
            factor = layer.parametrizations[name][0].factor
            assert factor.shape == (len(getattr(layer, name)), 1)
            getattr(reference, name).mul_(factor)
        reference.in_proj_bias.copy_(layer.in_proj_bias)
        reference.out_proj.weight.mul_(layer.out_proj.parametrizations.weight[0].factor)
        reference.out_proj.bias.copy_(layer.out_proj.bias)
    query = torch.randn(3, 4, 8, dtype=torch.float64)
    others = (torch.randn(3, 4, 3).double(), torch.randn(3, 4, 5).double()) if sizes else (query, query)
    expected = reference.train()(query, *others, need_weights=False)[0]
    found = layer.train()(query, *others, need_weights=False)[0]
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in scale_shift_parameters(layer))
    assert all(
        original.original.grad is None
        for layer in (layer, layer.out_proj)
        for original in layer.parametrizations.values()
    )
    calls, plain = [], torch._native_multi_head_attention
    monkeypatch.setattr(torch, "_native_multi_head_attention", lambda *a: calls.append(1) or plain(*a))
    with torch.no_grad():  # torch's shortcut for inference takes the weights, not the modules
        torch.testing.assert_close(layer.eval()(query, *others, need_weights=False)[0], expected)
        assert len(calls) == (not sizes)
        fold_scale_shift(layer)
        torch.testing.assert_close(layer(query, *others, need_weights=False)[0], expected)


def test_a_transformer_answers_alike_while_training_and_not():
    network = _moved(_transformer().double())
    images = torch.randn(2, 3, 32, 32, generator=generator(2), dtype=torch.float64)
    trained = network.train()(images)
    trained.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in scale_shift_parameters(network))
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(images), trained)


def test_biases_are_given_where_there_are_none_and_change_nothing():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False), nn.Flatten(), nn.Linear(2, 4, bias=False), nn.Linear(4, 1)
    )
    x, bias = torch.randn(2, 1, 3, 3, generator=generator(0)), network[3].bias
    before = network(x)
    assert torch.equal(give_biases(network)(x), before)
    assert network[3].bias is bias
    folded = fold_scale_shift(add_scale_shift(_network("resnet12", (4, 8, 8, 16))))
    bare = give_biases(_network("resnet12", (4, 8, 8, 16)))
    bare.load_state_dict(folded.state_dict())
