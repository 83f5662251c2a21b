"""What batch norm does under each setting of the config, and among processes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import torch
from torch import nn

from mtl.models.batch_norm import norms, running_statistics_kept, set_training, share_statistics
from mtl.runtime.world import World


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


class _Threads(World):
    """Threads as processes, which add up in turn."""

    def add_up(self, tensors):
        parts, barrier = self.store
        parts[self.rank] = [tensor.clone() for tensor in tensors]
        barrier.wait()
        for tensor, *of_all in zip(tensors, *parts, strict=True):
            tensor.copy_(torch.stack(of_all).sum(0))
        barrier.wait()


@pytest.mark.parametrize("shares", [(4, 3), (6, 1, 0)])
@pytest.mark.parametrize(
    ("norm", "side"),
    [
        (nn.BatchNorm2d(5), [6, 6]),
        (nn.BatchNorm2d(5, affine=False, momentum=None), [2, 3]),
        (nn.BatchNorm1d(5, track_running_stats=False), []),
    ],
)
def test_statistics_that_are_shared_are_those_of_all_images(norm, side, shares):
    random = torch.Generator().manual_seed(0)
    x, gradient = torch.randn(2, sum(shares), 5, *side, generator=random)
    x = 100 + x
    if norm.affine:
        torch.nn.init.normal_(norm.weight, generator=random)
    exact, whole = deepcopy(norm).double(), x.double().requires_grad_()
    expected = exact(whole)
    expected.backward(gradient.double())

    store = [None] * len(shares), threading.Barrier(len(shares), timeout=10)
    copies = [
        share_statistics(deepcopy(norm), _Threads(r, len(shares), store=store)) for r in range(len(shares))
    ]

    def share(copy, x, gradient):
        x = x.clone().requires_grad_()
        out = copy(x)
        out.backward(gradient)
        return out.detach(), x.grad

    with ThreadPoolExecutor(len(shares)) as pool:
        found = list(pool.map(share, copies, x.split(shares), gradient.split(shares)))
    for values, right in zip(zip(*found, strict=True), (expected.detach(), whole.grad), strict=True):
        torch.testing.assert_close(torch.cat(values).double(), right, rtol=1e-4, atol=1e-4)
    for copy in copies:
        for own, right in zip(copy.buffers(), exact.buffers(), strict=True):
            torch.testing.assert_close(own.double(), right.double(), rtol=1e-5, atol=1e-5)
    for name, right in exact.named_parameters():
        total = sum(copy.get_parameter(name).grad for copy in copies)
        torch.testing.assert_close(total.double(), right.grad, rtol=1e-4, atol=1e-4)
