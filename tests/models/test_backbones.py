"""Backbones: shapes at every allowed size, the order of their layers, seeds."""

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Backbone
from mtl.models.backbones import Conv4, ResNet12, build_backbone


@pytest.mark.parametrize("size", [16, 28, 32, 47, 84])
@pytest.mark.parametrize("name", ["conv4", "resnet12"])
@pytest.mark.parametrize("pool", [None, "flatten", "mean"])
def test_out_features_are_what_comes_out(name, size, pool):
    network = build_backbone(
        Backbone(name=name, channels=(4, 4, 8, 8), pool=pool), 1, size, torch.Generator().manual_seed(0)
    ).eval()
    assert network(torch.zeros(2, 1, size, size)).shape == (2, network.out_features)


def test_published_widths_are_the_defaults():
    assert Conv4(3, image_size=84).out_features == 1600
    assert ResNet12(3).out_features == 640
    parameters = sum(p.numel() for p in ResNet12(3).parameters())
    assert parameters == 12_424_320  # MetaOptNet's 12.4 million


def test_conv4_pools_what_it_rectified():
    network = Conv4(1, (3, 3, 3, 3), 16).eval()
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = x
    for conv, norm in zip(network.convs, network.norms, strict=True):
        expected = F.max_pool2d(F.relu(norm(conv(expected))), 2)
    assert torch.equal(network(x), expected.flatten(1))


def test_weights_follow_the_generator_and_leave_the_global_one_alone():
    before = torch.random.get_rng_state()
    first, again, other = (
        build_backbone(Backbone(), 1, 28, torch.Generator().manual_seed(s)).state_dict()["convs.0.weight"]
        for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["conv4", "resnet12"])
def test_norms_that_are_fixed_may_be_taken_into_the_convolutions(name):
    network = build_backbone(
        Backbone(name=name, channels=(4, 6, 8, 8)), 3, 16, torch.Generator().manual_seed(0)
    )
    x = 1 + torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    network(x)  # moves the statistics
    network = network.double().eval()
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(2))
        torch.nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(3))
    weights = [m.weight for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    apart = network(x.double())
    wanted = torch.autograd.grad(apart.square().sum(), weights)
    calls = []
    for norm in norms:
        norm.register_forward_hook(lambda *_: calls.append(1))
        norm.requires_grad_(False)
    taken_in = network(x.double())
    assert not calls
    torch.testing.assert_close(taken_in, apart, rtol=1e-10, atol=1e-12)
    for one, other in zip(torch.autograd.grad(taken_in.square().sum(), weights), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)
