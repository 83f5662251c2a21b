"""Base learners against independent references in float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.config import Head
from mtl.learners.learner import episode_labels
from mtl.models.heads import BaseLearner, gradient_descent, prototype_logits, prototypes, ridge

T, N, K, Q, D = 3, 4, 2, 3, 11


def _task(seed=0, tasks=T, way=N, shot=K, features=D):
    g = torch.Generator().manual_seed(seed)
    support = torch.randn(tasks, way * shot, features, generator=g, dtype=torch.float64, requires_grad=True)
    query = torch.randn(tasks, way * Q, features, generator=g, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(way, features, generator=g, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(way, generator=g, dtype=torch.float64, requires_grad=True)
    return support, episode_labels(tasks, way, shot, torch.device("cpu")), query, weight, bias


def _primal(support, labels, query, start, steps, lr, first_order):
    """The loop over weights, one task after another, as the formula says it."""
    answers = []
    for x, y, q in zip(support, labels, query, strict=True):
        w, b = start
        for _ in range(steps):
            loss = F.cross_entropy(x @ w.T + b, y)
            gw, gb = torch.autograd.grad(loss, (w, b), create_graph=not first_order, retain_graph=True)
            w, b = w - lr * gw, b - lr * gb
        answers.append(q @ w.T + b)
    return torch.stack(answers)


@pytest.mark.parametrize("first_order", [False, True])
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    steps=st.integers(0, 30),
    lr=st.floats(1e-3, 0.5),
    shot=st.integers(1, 3),
    way=st.integers(2, 6),
)
def test_span_form_is_the_primal_loop(first_order, seed, steps, lr, shot, way):
    support, labels, query, weight, bias = _task(seed, way=way, shot=shot)
    head = gradient_descent(support, labels, (weight, bias), steps=steps, lr=lr, first_order=first_order)
    span = head(query)
    primal = _primal(support, labels, query, (weight, bias), steps, lr, first_order)
    torch.testing.assert_close(span, primal, rtol=1e-9, atol=1e-9)

    inputs = (support, query, weight, bias)
    probe = torch.randn(span.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    of_span = torch.autograd.grad((span * probe).sum(), inputs, allow_unused=True)
    of_primal = torch.autograd.grad((primal * probe).sum(), inputs, allow_unused=True)
    for mine, theirs in zip(of_span, of_primal, strict=True):
        zero = torch.zeros(())
        torch.testing.assert_close(
            zero if mine is None else mine,
            zero.expand_as(mine)
            if theirs is None and mine is not None
            else (zero if theirs is None else theirs),
            rtol=1e-8,
            atol=1e-8,
            check_dtype=False,
        )


def test_the_backward_pass_by_hand_is_the_derivative():
    support, labels, query, weight, bias = _task(way=3, shot=2, tasks=2, features=4)
    rate = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

    def answers(x, q, w, b, a):
        return gradient_descent(x, labels, (w, b), steps=6, lr=a)(q)

    assert torch.autograd.gradcheck(answers, (support, query, weight, bias, rate))


def test_without_gradients_the_answers_are_the_same():
    support, labels, query, weight, bias = _task()
    wanted = gradient_descent(support, labels, (weight, bias), steps=7, lr=0.3)(query)
    with torch.no_grad():
        found = gradient_descent(support, labels, (weight, bias), steps=7, lr=0.3)(query)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_prototypes_are_class_means():
    support, labels, query, *_ = _task()
    centres = prototypes(support, labels, N)
    torch.testing.assert_close(centres[1, 2], support[1, 2 * K : 3 * K].mean(0))
    euclid = prototype_logits(support, labels, query, N, "euclid")
    torch.testing.assert_close(euclid[2, 5, 1], -((query[2, 5] - centres[2, 1]) ** 2).sum())
    cosine = prototype_logits(support, labels, query, N, "cosine")
    torch.testing.assert_close(cosine[0, 1, 3], F.cosine_similarity(query[0, 1], centres[0, 3], dim=0))


def test_ridge_is_the_normal_equations():
    support, labels, query, *_ = _task()
    x = torch.cat([support[0], torch.ones(N * K, 1, dtype=torch.float64)], 1)
    y = F.one_hot(labels[0], N).double()
    w = torch.linalg.solve(x.T @ x + 0.7 * torch.eye(D + 1, dtype=torch.float64), x.T @ y)
    expected = torch.cat([query[0], torch.ones(N * Q, 1, dtype=torch.float64)], 1) @ w
    torch.testing.assert_close(ridge(support, labels, N, 0.7)(query)[0], expected)


@pytest.mark.parametrize(
    "head",
    [
        Head(name="gradient_descent", init="zero"),
        Head(name="gradient_descent", init="prototype", order="first"),
        Head(name="gradient_descent", init="learned", normalise=False),
        Head(name="prototype"),
        Head(name="prototype", metric="euclid"),
        Head(name="ridge"),
        Head(name="logistic"),
    ],
    ids=lambda h: f"{h.name}-{h.init}-{h.metric}",
)
def test_every_head_solves_separable_tasks_and_answers_permuted_classes_alike(head):
    g = torch.Generator().manual_seed(1)
    centres = F.normalize(torch.randn(2, N, 32, generator=g), dim=-1) * 4
    support = (centres[:, :, None] + 0.3 * torch.randn(2, N, K, 32, generator=g)).flatten(1, 2)
    query = (centres[:, :, None] + 0.3 * torch.randn(2, N, Q, 32, generator=g)).flatten(1, 2)
    labels = episode_labels(2, N, K, torch.device("cpu"))
    learner = BaseLearner(head, 32, N)
    logits = learner(support, labels, query, N)
    assert logits.shape == (2, N * Q, N)
    assert (logits.argmax(-1) == episode_labels(2, N, Q, torch.device("cpu"))).all()
    turned = learner(support, (labels + 1) % N, query, N)
    torch.testing.assert_close(turned.roll(-1, dims=-1), logits, rtol=1e-3, atol=1e-3)


def test_a_learned_start_serves_its_own_way_alone():
    learner = BaseLearner(Head(init="learned"), D, N)
    support, labels, query, *_ = _task(way=3)
    with pytest.raises(ValueError, match="serves 4 ways, not 3"):
        learner(support.float(), labels, query.float(), 3)


def test_a_prototype_start_without_steps_ranks_like_the_nearest_prototype():
    support, labels, query, *_ = (x.detach() for x in _task(seed=5))
    learner = BaseLearner(Head(init="prototype", inner_steps=0), D, N)
    logits = learner(support.float(), labels, query.float(), N)
    unit_support, unit_query = (F.normalize(x, dim=-1) for x in (support, query))
    nearest = prototype_logits(unit_support, labels, unit_query, N, "euclid")
    assert (logits.argmax(-1) == nearest.argmax(-1)).all()
