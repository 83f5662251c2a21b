"""The last block of a network gives what the network does, of what the layers before it give."""

import pytest
import torch
from torch import nn

from mtl.config import Backbone
from mtl.models.backbones import build_backbone, last_block, maps_before
from mtl.runtime.seeds import generator


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "regnet_y_400mf", "squeezenet1_1", "efficientnet_b0"]
)
def test_the_last_block_of_published_networks_gives_their_features(name):
    network = build_backbone(Backbone(f"torchvision.{name}"), 3, 64, generator(0)).network.eval()
    images = torch.randn(3, 3, 64, 64, generator=generator(1))
    block = last_block(network, images[:1])
    with torch.no_grad():
        torch.testing.assert_close(block(maps_before(network, block, images)), network(images))
    weights, of_network = list(block.parameters()), list(network.parameters())
    assert weights
    assert all(any(one is other for other in of_network) for one in weights)
    assert sum(w.numel() for w in weights) < sum(w.numel() for w in of_network)


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))

    def forward(self, maps):
        return maps + self.layers(maps)


class _Network(nn.Module):
    """`between`: what is done behind the block that is none of its layers."""

    def __init__(self, between):
        super().__init__()
        self.stem, self.block, self.pool = nn.Conv2d(3, 4, 3), _Block(), nn.AdaptiveAvgPool2d(1)
        self.between = between

    def forward(self, images):
        return torch.flatten(self.pool(self.between(self.block(self.stem(images)))), 1)


def test_a_network_that_is_no_plain_sequence_has_no_last_block_to_train_alone():
    images = torch.randn(2, 3, 8, 8, generator=generator(0))
    found = last_block(_Network(lambda maps: maps), images)
    assert [type(layer) for layer in found] == [_Block, nn.AdaptiveAvgPool2d, nn.Flatten]
    assert last_block(_Network(torch.tanh), images) is None
    assert last_block(_Network(lambda maps: maps.flatten(2)[..., None]), images) is not None  # the same mean
    assert last_block(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), images) is None  # no block at all


def test_looking_at_a_network_leaves_no_hook_behind():
    network = _Network(lambda maps: maps)
    block = last_block(network, images := torch.randn(2, 3, 8, 8, generator=generator(0)))
    maps_before(network, block, images)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
