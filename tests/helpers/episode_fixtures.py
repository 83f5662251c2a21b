"""Small image sets and made-up outcomes for tests of episodes and samplers."""

from collections.abc import Mapping

import pytest
import torch

from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, Outcome


def _labels(classes: int, per_class: int) -> torch.Tensor:
    """Classes interleaved: image i is of class i mod C."""
    return torch.arange(classes).repeat(per_class)


def _solved(batch: EpisodeBatch, recall: Mapping[int, float], otherwise: float = 1.0) -> Outcome:
    """Each class has its recall; what it does not get right is spread evenly over the others."""
    right = torch.tensor([[recall.get(c, otherwise) for c in task] for task in batch.classes.tolist()])
    confusion = ((1 - right) / (batch.way - 1))[:, :, None].expand(-1, -1, batch.way).clone()
    confusion.diagonal(dim1=1, dim2=2).copy_(right)
    return Outcome(1 - right.mean(1), right.mean(1), right, confusion)


def _random_outcome(batch: EpisodeBatch, seed: int) -> Outcome:
    logits = torch.randn(
        len(batch), batch.way * batch.queries, batch.way, generator=torch.Generator().manual_seed(seed)
    )
    return Outcome.of(logits, batch.way, batch.queries)


def _assert_same(one: EpisodeBatch, other: EpisodeBatch) -> None:
    assert (one.origin, one.index) == (other.origin, other.index)
    assert torch.equal(one.classes, other.classes)
    assert torch.equal(one.image_indices(), other.image_indices())


@pytest.fixture
def labels():
    return _labels


@pytest.fixture
def index():
    """20 classes of 12 images."""
    return ClassIndex.of(_labels(20, 12))


@pytest.fixture
def solved():
    return _solved


@pytest.fixture
def random_outcome():
    return _random_outcome


@pytest.fixture
def assert_same():
    return _assert_same
