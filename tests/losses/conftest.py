"""Batches for tests of losses."""

import pytest
import torch
from torch import Tensor

from mtl.runtime.seeds import generator

Batch = tuple[Tensor, Tensor, Tensor]


def _batch(seed=0, size=9, classes=4, dtype=torch.float64):
    random = generator(seed, "batch of a loss")
    logits = 2 * torch.randn(size, classes, generator=random, dtype=torch.float64)
    labels = torch.randint(classes, (size,), generator=random)
    features = torch.randn(size, 5, generator=random, dtype=torch.float64)
    return logits.to(dtype), labels, features.to(dtype)


@pytest.fixture(scope="session")
def batch():
    """Makes logits (B, C), labels (B,) and features (B, 5): `batch(seed, size=…, classes=…, dtype=…)`."""
    return _batch
