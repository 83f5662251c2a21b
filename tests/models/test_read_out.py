"""Features of several levels: which maps they are made of, and how long each part is."""

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Backbone, Head, Meta, Runtime, load_config
from mtl.errors import UserError
from mtl.learners import MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.models.backbones.layers import read_out
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
@POOLS
@pytest.mark.parametrize("size", [16, 28, 47, 84])
def test_sizes_of_levels_are_told(name, pool, size):
    network = _network(name, pool, size)
    assert network.levels == 1
    assert network.out_features == network.level_features[0]
    assert len(network.level_features) == 4
    for levels in (1, 2, 3, 4):
        network.levels = levels
        with torch.no_grad():
            found = network(torch.zeros(2, 1, size, size))
        assert found.shape == (2, sum(network.level_features[:levels]))


@NAMES
def test_the_first_part_of_a_feature_does_not_depend_on_how_many_follow(name):
    network = _network(name, "flatten")
    images = torch.randn(2, 1, 32, 32, generator=generator(2))
    with torch.no_grad():
        plain = network(images)
        network.levels = 3
        torch.testing.assert_close(network(images)[:, : plain.shape[1]], plain)


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


def test_maps_are_read_out_as_they_are():
    maps = [torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])]
    assert read_out(maps, "flatten", 1).tolist() == [[1, 2, 3, 4]]
    assert read_out(maps, "mean", 1).tolist() == [[2.5]]
    assert read_out(maps, "flatten", 2).tolist() == [[1, 2, 3, 4, 2.5, 4.5, 10.5, 12.5]]
    assert read_out(maps, "mean", 2).tolist() == [[2.5, 7.5]]


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
        f"  meta.head.levels: 2, but {name} gives the output of its last block alone; "
        "conv4 and resnet12 give more"
    ]
    assert load_config(None, [f"backbone.name={name}"]).meta.head.levels == 1


@pytest.mark.parametrize("levels", [0, 5])
def test_there_are_four_levels(levels):
    with pytest.raises(UserError, match=rf"meta\.head\.levels: {levels} is not allowed"):
        load_config(None, [f"meta.head.levels={levels}"])
