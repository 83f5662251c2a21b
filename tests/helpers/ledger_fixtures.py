"""Hand-made episodes and outcomes of a ledger."""

from collections.abc import Sequence

import pytest
import torch

from mtl.episodes.episode import EpisodeBatch, Outcome


def _solved(
    tasks: Sequence[Sequence[int]],
    recall: Sequence[Sequence[float]],
    origin: str = "uniform",
    confusion: Sequence[Sequence[Sequence[float]]] | None = None,
    first: int = 0,
    queries: int = 4,
) -> tuple[EpisodeBatch, Outcome]:
    """Tasks by their classes, 1-shot: class c has images 100 c, 100 c + 1, ...; loss is 1 - accuracy.

    Without a confusion, what a class does not get right is spread evenly over the others.
    """
    classes = torch.tensor(tasks)
    way = classes.shape[1]
    images = classes[:, :, None] * 100 + torch.arange(1 + queries)
    batch = EpisodeBatch(
        classes,
        images[:, :, :1],
        images[:, :, 1:],
        (origin,) * len(tasks),
        tuple(range(first, first + len(tasks))),
    )
    right = torch.tensor(recall)
    if confusion is None:
        table = ((1 - right) / (way - 1))[:, :, None].expand(-1, way, way).clone()
        table[:, range(way), range(way)] = right
    else:
        table = torch.tensor(confusion)
    return batch, Outcome(1 - right.mean(1), right.mean(1), right, table)


def _random_solved(
    tasks: int, way: int, classes: int, seed: int, origin: str = "uniform", queries: int = 5
) -> tuple[EpisodeBatch, Outcome]:
    """Tasks of random classes, solved by random logits."""
    g = torch.Generator().manual_seed(seed)
    drawn = torch.rand(tasks, classes, generator=g).topk(way, dim=1).indices
    images = torch.randint(0, 10_000, (tasks, way, 1 + queries), generator=g)
    batch = EpisodeBatch(drawn, images[:, :, :1], images[:, :, 1:], (origin,) * tasks, tuple(range(tasks)))
    logits = 2 * torch.randn(tasks, way * queries, way, generator=g)
    return batch, Outcome.of(logits, way, queries)


@pytest.fixture
def solved_tasks():
    return _solved


@pytest.fixture
def random_solved():
    return _random_solved
