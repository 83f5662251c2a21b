"""A small backbone, episodes of images, and the processor as the device."""

import pytest
import torch

from mtl.config import Backbone, Runtime
from mtl.models.backbones import build_backbone
from mtl.runtime.devices import choose_device


def _backbone(seed: int = 0) -> torch.nn.Module:
    """Conv4 with 4 channels, whose running statistics are not those of its start."""
    network = build_backbone(Backbone(channels=(4, 4, 4, 4)), 1, 16, torch.Generator().manual_seed(seed))
    images = 1 + torch.randn(32, 1, 16, 16, generator=torch.Generator().manual_seed(100))
    network.train()
    for _ in range(20):
        network(images)
    return network


def _episodes(tasks: int, way: int, shot: int, queries: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(tasks, way, 1, 1, 16, 16, generator=g)
    support, query = (
        (centres + 0.5 * torch.randn(tasks, way, n, 1, 16, 16, generator=g)).flatten(1, 2)
        for n in (shot, queries)
    )
    return torch.cat([support, query], 1)


@pytest.fixture
def backbone():
    return _backbone


@pytest.fixture
def episodes():
    return _episodes


@pytest.fixture
def cpu():
    return choose_device(Runtime(device="cpu"))
