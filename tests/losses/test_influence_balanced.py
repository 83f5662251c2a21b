"""Influence-balanced loss: the factor, its two gradients, and its phases."""

import pytest
import torch
import torch.nn.functional as F

from mtl.losses import ClassBalancedLoss, InfluenceBalancedLoss

WEIGHTS = torch.tensor([0.5, 0.25, 1.5, 1.75])


def factors(logits, labels, features, alpha=1000.0, epsilon=1e-3):
    """As the paper has it, norm by norm."""
    distance = (logits.softmax(-1) - F.one_hot(labels, logits.shape[1])).norm(p=1, dim=-1)
    return alpha / (distance * features.norm(p=1, dim=-1) + epsilon)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_formula(batch, detach, weights):
    logits, labels, features = batch()
    found = InfluenceBalancedLoss(7.0, 0.3, weights, detach=detach).per_image(logits, labels, features)
    wanted = factors(logits, labels, features, 7.0, 0.3) * F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(found, wanted if weights is None else wanted * weights[labels])


def test_the_factor_is_one_over_the_gradient_of_a_linear_classifier(batch):
    _, labels, features = batch()
    matrix = torch.eye(4, 5, dtype=torch.float64, requires_grad=True)
    tiny = InfluenceBalancedLoss(1.0, 1e-12)
    for h, y in zip(features, labels, strict=True):
        logits = (matrix @ h)[None]
        loss = F.cross_entropy(logits, y[None])
        (gradient,) = torch.autograd.grad(loss, matrix, retain_graph=True)
        found = tiny(logits, y[None], h[None])
        torch.testing.assert_close(found, loss / gradient.abs().sum())


def gradients(loss, logits, labels, features):
    inputs = [logits.detach().requires_grad_(), features.detach().requires_grad_()]
    return torch.autograd.grad(
        loss(inputs[0], labels, inputs[1]), inputs, allow_unused=True, materialize_grads=True
    )


def test_detached_the_gradient_is_the_factor_times_that_of_cross_entropy(batch):
    logits, labels, features = batch()
    of_logits, of_features = gradients(InfluenceBalancedLoss(weights=WEIGHTS), logits, labels, features)
    plain = (logits.softmax(-1) - F.one_hot(labels, 4)) / 9
    wanted = (factors(logits, labels, features) * WEIGHTS[labels])[:, None] * plain
    torch.testing.assert_close(of_logits, wanted)
    assert (of_features == 0).all()


def test_differentiated_through_it_is_that_of_finite_differences(batch):
    logits, labels, features = batch(1)
    loss = InfluenceBalancedLoss(10.0, 0.1, WEIGHTS, detach=False)
    found = gradients(loss, logits, labels, features)
    for which, inputs in enumerate((logits, features)):
        wanted = torch.zeros_like(inputs)
        for place in range(inputs.numel()):
            step = torch.zeros(inputs.numel(), dtype=torch.float64)
            step[place] = 1e-6
            ends = [[logits, features], [logits, features]]
            ends[0][which] = inputs + step.view_as(inputs)
            ends[1][which] = inputs - step.view_as(inputs)
            high, low = (loss(x, labels, h) for x, h in ends)
            wanted.view(-1)[place] = (high - low) / 2e-6
        torch.testing.assert_close(found[which], wanted, rtol=1e-6, atol=1e-7)
    held = gradients(InfluenceBalancedLoss(10.0, 0.1, WEIGHTS), logits, labels, features)
    assert not torch.isclose(found[0], held[0], rtol=0.01).all()


def test_differentiated_through_logits_move_less_the_same_way_and_features_grow(batch):
    logits, labels, features = batch(2)
    whole, held = (
        gradients(InfluenceBalancedLoss(detach=d), logits, labels, features) for d in (False, True)
    )
    ratio = whole[0] / held[0]
    assert ((ratio > 0) & (ratio < 1)).all()
    assert ((whole[1] * features).sum(-1) < 0).all()


def test_before_its_epoch_it_is_its_base_and_needs_no_features(batch):
    logits, labels, features = batch()
    loss = InfluenceBalancedLoss(weights=WEIGHTS, start_epoch=2)
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(logits, labels))
    loss.begin_epoch(2)
    assert loss(logits, labels, features) > 10 * F.cross_entropy(logits, labels)
    for wrong in (None, features[:5], features[:, 0]):
        with pytest.raises(ValueError, match="features"):
            loss(logits, labels, wrong)


def test_it_goes_on_top_of_a_base(batch):
    logits, labels, features = batch()
    base = ClassBalancedLoss(WEIGHTS)
    found = InfluenceBalancedLoss(base=base).per_image(logits, labels, features)
    wanted = factors(logits, labels, features) * base.per_image(logits, labels)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0},
        {"epsilon": 0.0},
        {"alpha": float("inf")},
        {"start_epoch": -1},
        {"weights": torch.tensor([1.0, -1.0])},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
        InfluenceBalancedLoss(**wrong)


def test_weights_of_other_classes_are_refused(batch):
    logits, labels, features = batch()
    with pytest.raises(ValueError, match="weights of 5 classes"):
        InfluenceBalancedLoss(weights=torch.ones(5))(logits, labels, features)
