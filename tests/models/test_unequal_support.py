"""Base learners where classes have different numbers of support images."""

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Head
from mtl.models.heads import BaseLearner, gradient_descent
from mtl.models.heads.prototype import class_variance, distance_surplus, shrinkage
from mtl.runtime.seeds import generator

D, WAY = 24, 5
HEADS = {
    "gradient descent": Head(),
    "a few steps": Head(inner_steps=5),
    "many steps": Head(inner_steps=100, inner_lr=0.1),
    "cosine prototypes": Head(name="prototype"),
    "euclidean prototypes": Head(name="prototype", metric="euclid"),
}
COUNTS = ([15, 15, 1, 1, 1], [12, 1, 1, 1, 1], [1, 2, 4, 8, 15])


def clouds(counts, tasks=200, queries=10):
    """Support (T, S, D), labels (T, S) and queries (T, N, Q, D) of classes around centres of random tasks."""
    random = generator(0, "clouds", *counts)
    centres = 2 + 0.8 * torch.randn(tasks, WAY, D, generator=random)
    labels = torch.arange(WAY).repeat_interleave(torch.tensor(counts)).expand(tasks, -1)
    support = centres.gather(1, labels[..., None].expand(-1, -1, D))
    support = support + torch.randn(support.shape, generator=random)
    asked = centres[:, :, None] + torch.randn(tasks, WAY, queries, D, generator=random)
    return support, labels, asked


def recalls(head, counts):
    support, labels, queries = clouds(counts)
    learner = BaseLearner(head, D, WAY).requires_grad_(False)
    answers = learner(support, labels, queries.flatten(1, 2), WAY).argmax(-1).view(queries.shape[:3])
    return (answers == torch.arange(WAY)[:, None]).double().mean((0, 2))


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("name", ["gradient descent", "a few steps", "cosine prototypes"])
def test_unequal_numbers_cost_no_more_than_the_images_that_lack(name, counts):
    """Held against logistic regression to convergence, whose correction is exact."""
    found, exact = recalls(HEADS[name], counts), recalls(Head(name="logistic"), counts)
    assert float(found.mean()) > float(exact.mean()) - 0.04
    fewest = torch.tensor(counts) == min(counts)
    assert float(found[fewest].mean()) > 0.5 * float(found[~fewest].mean())  # none is passed over
    assert float(found[~fewest].mean()) > 0.9 * float(found[fewest].mean())


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_equal_numbers_are_answered_as_without_any_correction(head, monkeypatch):
    support, labels, queries = clouds([3] * WAY, tasks=4)
    learner = BaseLearner(head, D, WAY).requires_grad_(False)
    logits = learner(support, labels, queries.flatten(1, 2), WAY)
    for name, nothing in (("distance_surplus", torch.zeros), ("shrinkage", torch.ones)):
        monkeypatch.setattr(f"mtl.models.heads.base_learner.{name}", lambda *_, n=nothing: n(4, WAY))
    assert torch.equal(learner(support, labels, queries.flatten(1, 2), WAY), logits)
    assert torch.equal(distance_surplus(support, labels, WAY), torch.zeros(4, WAY))
    assert torch.equal(shrinkage(support, labels, WAY), torch.ones(4, WAY))


def test_the_variance_around_prototypes_has_no_bias():
    support, labels, _ = clouds([7, 3, 1, 1, 2], tasks=4000)
    assert float(class_variance(support, labels, WAY).mean()) == pytest.approx(
        D, rel=0.01
    )  # 1 in each direction
    assert torch.equal(class_variance(support[:, :1], labels[:, :1], 1), torch.zeros(4000))


def test_prototypes_of_few_images_are_brought_as_near_as_those_of_many():
    support, labels, queries = clouds([9, 1, 1, 3, 2], tasks=6000, queries=1)
    centres = F.one_hot(labels, WAY).float().mT @ support / torch.tensor([9, 1, 1, 3, 2])[:, None]
    squares = (queries[:, :, 0] - centres).square().sum(-1)
    found = (squares - distance_surplus(support, labels, WAY)).mean(0)
    assert found.tolist() == pytest.approx([float(squares[:, 0].mean())] * WAY, rel=0.02)
    cosines = F.cosine_similarity(queries[:, :, 0], centres, dim=-1)
    found = (cosines * shrinkage(support, labels, WAY)).mean(0)
    assert found.tolist() == pytest.approx([float(cosines[:, 0].mean())] * WAY, rel=0.01)


def test_gradient_descent_begins_and_ends_without_favour():
    """From a start that takes all classes for equally likely no bias is learned from numbers alone."""
    support = torch.zeros(1, 8, D)
    labels = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 2]])
    start = (torch.zeros(3, D), torch.zeros(3))
    for steps in (1, 20, 2000):
        head = gradient_descent(support, labels, start, steps=steps, lr=0.1)
        assert head.bias[0].tolist() == pytest.approx([0, 0, 0], abs=1e-4)
