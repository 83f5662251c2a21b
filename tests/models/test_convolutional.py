"""Conv4 and ResNet-12: shapes, order of layers, seeds, and features of several levels."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mtl.config import Backbone, Head, Meta, Runtime, load_config
from mtl.errors import UserError
from mtl.learners import MetaTransfer
from mtl.models.backbones import Conv4, Ensemble, ResNet12, build_backbone
from mtl.models.backbones.convolutional import conv_norm
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator

CHANNELS = (3, 4, 5, 6)
NAMES = pytest.mark.parametrize("name", ["conv4", "resnet12"])
POOLS = pytest.mark.parametrize("pool", ["flatten", "mean"])


def _network(name, pool, size=32):
    """A network whose batch norms are not those of its start."""
    network = build_backbone(Backbone(name=name, channels=CHANNELS, pool=pool), 1, size, generator(0))
    network.train()(1 + torch.randn(16, 1, size, size, generator=generator(1)))
    return network.eval()


def _blocks(network):
    """A module of each block; conv4 has its norms, and more behind them."""
    return network.blocks if hasattr(network, "blocks") else network.norms


@torch.no_grad()
def _maps(network, images):
    """The output of every block, as hooks see it."""
    seen = []
    if hasattr(network, "blocks"):
        hooks = [
            b.register_forward_hook(lambda _m, _i, out: seen.append(out.clone())) for b in network.blocks
        ]
        network(images)
    else:  # without a hook on the norms they would be taken into the convolutions
        hooks = [
            n.register_forward_hook(lambda _m, _i, out: seen.append(F.max_pool2d(F.relu(out), 2)))
            for n in network.norms
        ]
        with torch.enable_grad():
            network(images)
    for hook in hooks:
        hook.remove()
    return [x.detach() for x in seen]


def _averaged(x, side):
    """Brute force: the mean of each of side × side tiles, whose bounds are rounded outwards."""
    size = x.shape[-1]
    bounds = [(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]
    rows = [torch.stack([x[:, :, a:b, c:d].mean((2, 3)) for c, d in bounds], -1) for a, b in bounds]
    return torch.stack(rows, -2)


@NAMES
@POOLS
@pytest.mark.parametrize("size", [16, 32, 47])
def test_one_level_is_the_last_map_as_it_was(name, pool, size):
    network = _network(name, pool, size)
    images = torch.randn(3, 1, size, size, generator=generator(2))
    last = _maps(network, images)[-1]
    assert last.shape == (3, 6, size // 16, size // 16)
    expected = last.flatten(1) if pool == "flatten" else last.mean((2, 3))
    with torch.no_grad():
        torch.testing.assert_close(network(images), expected)


@NAMES
@POOLS
@pytest.mark.parametrize("size", [16, 32, 47])
@pytest.mark.parametrize("levels", [2, 3, 4])
def test_more_levels_are_maps_averaged_to_one_size_the_deepest_first(name, pool, size, levels):
    network = _network(name, pool, size)
    images = torch.randn(3, 1, size, size, generator=generator(2))
    maps = _maps(network, images)
    assert [x.shape[1] for x in maps] == list(CHANNELS)
    side = size // 16 if pool == "flatten" else 1
    expected = [_averaged(x, side).flatten(1) for x in maps[::-1][:levels]]
    network.levels = levels
    with torch.no_grad():
        found = network(images)
    torch.testing.assert_close(found, torch.cat(expected, 1))
    parts = torch.split(found, network.level_features[:levels], 1)
    assert [part.shape[1] for part in parts] == [part.shape[1] for part in expected]


@NAMES
def test_gradients_reach_the_maps_of_every_level(name):
    network = _network(name, "mean")
    network.levels = 4
    weights = [next(block.parameters()) for block in _blocks(network)]
    features = network(torch.randn(2, 1, 32, 32, generator=generator(2)))
    for level, part in enumerate(torch.split(features, CHANNELS[::-1], 1)):
        found = torch.autograd.grad(part.square().sum(), weights, retain_graph=True, allow_unused=True)
        reached = [grad is not None and bool(grad.abs().max() > 0) for grad in found]
        assert reached == [block < 4 - level for block in range(4)]


@NAMES
@pytest.mark.parametrize("train", ["ss", "all", "head"])
def test_a_learner_reads_as_many_levels_as_its_head_asks_for(name, train):
    network = _network(name, "mean")
    meta = Meta(way=3, train=train, head=Head(name="prototype", levels=3, map="linear"))
    learner = MetaTransfer(network, meta, choose_device(Runtime(device="cpu")))
    learner.eval()
    images = torch.randn(2, 1, 32, 32, generator=generator(2))
    assert learner.base_learner.sizes == [6, 5, 4]
    assert learner.features(images).shape == (2, 15)


@pytest.mark.parametrize("name", ["torchvision.resnet18", "timm.resnet10t"])
def test_a_backbone_with_one_output_has_no_levels(name):
    with pytest.raises(UserError) as caught:
        load_config(None, [f"backbone.name={name}", "meta.head.levels=2"])
    assert str(caught.value).split("\n")[1:] == [
        f"  meta.head.levels: 2, but {name} gives only the output of its last block; "
        "conv4 and resnet12 give more"
    ]
    assert load_config(None, [f"backbone.name={name}"]).meta.head.levels == 1


@pytest.mark.parametrize("levels", [0, 5])
def test_there_are_four_levels(levels):
    with pytest.raises(UserError, match=rf"meta\.head\.levels: {levels} is not allowed"):
        load_config(None, [f"meta.head.levels={levels}"])


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


@given(
    batch=st.integers(1, 5),
    channels=st.integers(1, 3),
    side=st.integers(3, 8),
    kernel=st.sampled_from([1, 3]),
    bias=st.booleans(),
    momentum=st.sampled_from([0.1, None, 0.0]),
    seed=st.integers(0, 99),
)
def test_the_norm_of_a_first_layer_needs_no_pass_over_its_maps(
    batch, channels, side, kernel, bias, momentum, seed
):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = 3 + torch.randn(batch, channels, side, side, dtype=torch.float64)
        conv = nn.Conv2d(channels, 30, kernel, padding=kernel // 2, bias=bias).double()
        norm = nn.BatchNorm2d(30, momentum=momentum).double()
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        away = torch.randn(batch, 30, side, side, dtype=torch.float64)
    twins = deepcopy(conv), deepcopy(norm)
    norm.register_forward_hook(lambda *_: pytest.fail("a pass over the maps"))
    results = [conv_norm(conv, norm, x), twins[1](twins[0](x))]
    torch.testing.assert_close(*results, rtol=1e-8, atol=1e-8)
    for result in results:
        (result * away).sum().backward()
    for one, other in zip((conv, norm), twins, strict=True):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(one.state_dict(), other.state_dict())


@pytest.mark.parametrize(("filters", "gradients"), [(30, True), (9, False)])
def test_a_norm_takes_its_statistics_from_the_maps_of_any_other_layer(filters, gradients):
    conv, norm, seen = nn.Conv2d(1, filters, 3), nn.BatchNorm2d(filters), []
    norm.register_forward_hook(lambda *_: seen.append(1))
    conv_norm(conv, norm, torch.randn(2, 1, 6, 6).requires_grad_(gradients))
    assert seen == [1]


@NAMES
@POOLS
@pytest.mark.parametrize("levels", [1, 3])
def test_the_feature_of_several_networks_is_that_of_each_level_by_level(name, pool, levels):
    config = Backbone(name=name, channels=CHANNELS, pool=pool, networks=2)
    both = build_backbone(config, 1, 32, generator(0)).eval()
    assert isinstance(both, Ensemble)
    images = torch.randn(5, 1, 32, 32, generator=generator(1))
    each = []
    for network in (both, *both.networks):
        network.levels = levels
        sizes = network.level_features[:levels]
        assert network(images).shape == (5, sum(sizes))
        each.append(torch.split(network(images), sizes, -1))
    assert both.out_features == both.level_features[0]
    for joined, first, second in zip(*each, strict=True):
        torch.testing.assert_close(joined, torch.cat([first, second], -1))
        assert not torch.equal(first, second)  # each starts elsewhere


def test_a_single_network_is_the_first_of_several():
    one, both = (
        build_backbone(Backbone(name="conv4", channels=CHANNELS, networks=n), 1, 32, generator(0))
        for n in (1, 2)
    )
    first = both.networks[0].state_dict()
    assert all(torch.equal(first[k], v) for k, v in one.state_dict().items())
