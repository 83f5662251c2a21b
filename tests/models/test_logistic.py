"""Logistic regression to convergence, against scikit-learn and finite differences in float64."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize._linesearch import LineSearchWarning
from sklearn.linear_model import LogisticRegression

from mtl.learners.learner import episode_labels
from mtl.models.heads import logistic

Q = 3


def _images(tasks, way, per_class, length=1.0, features=48, seed=0):
    """Support and query features of classes that overlap, of one length, as after a ReLU."""
    g = torch.Generator().manual_seed(seed)
    centres = 0.6 * torch.randn(tasks, way, 1, features, generator=g, dtype=torch.float64)
    noise = torch.randn(tasks, way, per_class + Q, features, generator=g, dtype=torch.float64)
    images = length * F.normalize(F.relu(centres + noise), dim=-1)
    support, query = images[:, :, :per_class].flatten(1, 2), images[:, :, per_class:].flatten(1, 2)
    return support, episode_labels(tasks, way, per_class, torch.device("cpu")), query


def _by_sklearn(support, labels, query, penalty):
    """Probabilities of one task; the bias is a feature of ones, since it is penalised here."""
    model = LogisticRegression(C=1 / penalty, fit_intercept=False, solver="newton-cg", tol=1e-12)
    shown, asked = (np.concatenate([x, np.ones((len(x), 1))], 1) for x in (support, query))
    with warnings.catch_warnings():
        # On some processors the search ends at rounding, short of a tolerance as small as this.
        warnings.simplefilter("ignore", LineSearchWarning)
        warnings.filterwarnings("ignore", "Line Search failed")
        model.set_params(max_iter=2000).fit(shown, labels)
    return torch.from_numpy(model.predict_proba(asked))


def _slope(head, support, labels, penalty):
    """Length of the objective's gradient (T,) at a head."""
    weight = torch.cat([head.weight, head.bias[..., None]], -1).detach().requires_grad_()
    x = torch.cat([support, torch.ones_like(support[..., :1])], -1)
    loss = F.cross_entropy((x @ weight.mT).flatten(0, 1), labels.flatten(), reduction="sum")
    (loss + 0.5 * penalty * weight.square().sum()).backward()
    return weight.grad.flatten(1).norm(dim=1)


@pytest.mark.parametrize(
    ("way", "shot", "length", "penalty"),
    [
        (5, 1, 1.0, 1.0),
        (5, 5, 10.0, 1.0),
        (5, 15, 20.0, 1.0),
        (20, 1, 20.0, 1.0),
        (20, 5, 10.0, 1.0),
        (20, 5, 20.0, 1.0),
        (5, 5, 20.0, 1e-3),
        (5, 5, 1.0, 1e-6),
        (5, 5, 20.0, 1e3),
        (5, 5, 20.0, 1e6),
    ],
)
def test_probabilities_are_those_of_scikit_learn(way, shot, length, penalty):
    support, labels, query = _images(1, way, shot, length)
    expected = _by_sklearn(support[0], labels[0], query[0], penalty)
    found = logistic(support, labels, way, penalty)(query)[0].softmax(-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    single = logistic(support.float(), labels, way, penalty)(query.float())[0].softmax(-1)
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 8),
    st.lists(st.integers(1, 9), min_size=8, max_size=8),
    st.floats(-4, 4),
    st.floats(0.1, 30),
    st.integers(0, 10_000),
)
def test_the_gradient_vanishes_whatever_the_counts_the_penalty_and_the_length(
    way, counts, power, length, seed
):
    labels = torch.arange(way).repeat_interleave(torch.tensor(counts[:way]))[None]
    g = torch.Generator().manual_seed(seed)
    support = length * F.normalize(
        torch.randn(1, labels.shape[1], 5, generator=g, dtype=torch.float64), dim=-1
    )
    head = logistic(support, labels, way, 10**power)
    start = logistic(0 * support, labels, way, 1e12)  # next to no weights at all
    slope, at_start = (_slope(h, support, labels, 10**power) for h in (head, start))
    assert float(slope) <= 1e-7 * max(1, float(at_start))


@pytest.mark.parametrize("penalty", [0.7, 0.01])
def test_gradients_are_those_of_finite_differences(penalty):
    support, labels, query = _images(2, 3, 2, 2.0, features=2)
    probe = torch.randn(2, 3 * Q, 3, generator=torch.Generator().manual_seed(0)).double()

    def loss(x):
        return (logistic(x, labels, 3, penalty)(query).softmax(-1) * probe).sum()

    assert torch.autograd.gradcheck(loss, (support.requires_grad_(),))


def test_gradients_where_images_are_equal_and_outnumber_features():
    # The Gram matrix is singular: coefficients are not unique, the weights are.
    support, labels, query = _images(1, 3, 3, 3.0, features=2)
    support[0, 1], support[0, 4] = support[0, 0], support[0, 3]

    def loss(x):
        return logistic(x, labels, 3, 0.5)(query).square().sum()

    assert torch.autograd.gradcheck(loss, (support.requires_grad_(),))


def test_gradients_in_float32_are_those_in_float64():
    support, labels, query = _images(4, 20, 5, 20.0)
    probe = torch.randn(4, 20 * Q, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grads = []
    for dtype in (torch.float64, torch.float32):
        x = support.to(dtype).requires_grad_()
        answers = logistic(x, labels, 20, 1.0)(query.to(dtype)).softmax(-1)
        grads.append(torch.autograd.grad((answers * probe.to(dtype)).sum(), x)[0].double())
    assert float((grads[0] - grads[1]).norm() / grads[0].norm()) < 1e-4


def test_a_task_is_answered_alike_alone_and_beside_others():
    support, labels, query = _images(6, 5, 5, 10.0)
    support[1:] *= torch.tensor([0.1, 0.5, 1.5, 2.0, 3.0])[:, None, None].double()
    together = logistic(support, labels, 5, 1.0)(query)
    for t in range(6):
        alone = logistic(support[t : t + 1], labels[:1], 5, 1.0)(query[t : t + 1])
        torch.testing.assert_close(alone, together[t : t + 1], rtol=1e-9, atol=1e-9)


def test_images_without_features_leave_the_shares_of_classes():
    labels = torch.tensor([[0, 0, 0, 1]])
    head = logistic(torch.zeros(1, 4, 6, dtype=torch.float64), labels, 2, 1e-6)
    assert head.bias.softmax(-1)[0].tolist() == pytest.approx([0.75, 0.25], abs=1e-5)
    assert not head.weight.any()


def test_a_feature_that_is_not_finite_spoils_its_own_task_alone():
    support, labels, query = _images(2, 3, 2)
    support[0, 0, 0] = torch.nan
    answers = logistic(support, labels, 3, 1.0)(query)
    assert answers[0].isnan().all()
    torch.testing.assert_close(answers[1:], logistic(support[1:], labels[1:], 3, 1.0)(query[1:]))
