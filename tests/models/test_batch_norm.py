"""What batch norm does under each setting of the config."""

import pytest
import torch
from torch import nn

from mtl.models.batch_norm import norms, running_statistics_kept, set_training


def _network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.BatchNorm1d(8), nn.Dropout(0.5)
    )


def _statistics(network):
    return [b.clone() for norm in norms(network) for b in norm.buffers()]


def _moved(network, before):
    return not all(torch.equal(a, b) for a, b in zip(_statistics(network), before, strict=True))


IMAGES = 3 + torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_norms_of_every_kind_are_found():
    network = _network()
    assert norms(network) == [network[1], network[3]]


@pytest.mark.parametrize(
    ("batch_norm", "training", "own", "moves"),
    [
        ("frozen", True, False, False),
        ("frozen", False, False, False),
        ("update", True, True, True),
        ("update", False, False, False),
        ("episode", True, True, True),
        ("episode", False, True, True),
    ],
)
def test_the_config_says_whose_statistics_count(batch_norm, training, own, moves):
    network = _network()
    set_training(network, training, batch_norm)
    before = _statistics(network)
    normed = network[1](network[0](IMAGES))
    assert torch.allclose(normed.mean((0, 2, 3)), torch.zeros(2), atol=1e-5) == own
    assert _moved(network, before) == moves


@pytest.mark.parametrize("training", [True, False])
def test_other_layers_follow_the_stage(training):
    network = _network()
    set_training(network, training, "frozen")
    assert network[4].training == training
    set_training(network, training, "episode")
    assert network[4].training == training


def test_kept_statistics_stay_while_those_of_the_batch_are_used():
    network = _network()
    set_training(network, False, "episode")
    before = _statistics(network)
    plain = network(IMAGES)
    network = _network()
    set_training(network, False, "episode")
    with running_statistics_kept(network):
        assert torch.equal(network(IMAGES), plain)
    assert not _moved(network, before)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_afterwards_statistics_move_as_before(momentum):
    network = _network()
    network[1].momentum = momentum
    network.train()
    with pytest.raises(ValueError, match="on the way"), running_statistics_kept(network):
        raise ValueError("on the way")
    assert [norm.momentum for norm in norms(network)] == [momentum, 0.1]
    before = _statistics(network)
    network(IMAGES)
    assert _moved(network, before)


def test_a_norm_without_running_statistics_is_left_in_peace():
    network = nn.BatchNorm1d(3, track_running_stats=False)
    with running_statistics_kept(network):
        network(torch.randn(4, 3))
