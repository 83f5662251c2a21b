"""Losses of class balance against their formulas: weights, focal, logit adjustment, influence."""

import math
from decimal import Decimal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss

from mtl.losses import (
    ClassBalancedLoss,
    CrossEntropy,
    FocalLoss,
    InfluenceBalancedLoss,
    LogitAdjustedLoss,
    class_balanced_weights,
)

COUNTS = torch.tensor([410, 506, 146, 103])


def test_weights_of_four_classes():
    raw = torch.tensor([0.00248924, 0.00202661, 0.00689909, 0.00975834], dtype=torch.float64)
    found = class_balanced_weights(COUNTS, 0.9999)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, 4 * raw / raw.sum(), rtol=5e-6, atol=0)
    exact = [Decimal("0.0001") / (1 - Decimal("0.9999") ** n) for n in COUNTS.tolist()]
    assert found.tolist() == pytest.approx([float(4 * w / sum(exact)) for w in exact], rel=1e-12)
    assert found.tolist() == pytest.approx([0.470261, 0.382861, 1.303358, 1.843519], abs=1e-6)


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=8).filter(any),
    st.sampled_from([0.0, 0.5, 0.99, 0.9999, 1 - 1e-12]),
)
def test_weights_sum_to_the_number_of_classes_with_images_and_fall_with_them(counts, beta):
    found = class_balanced_weights(torch.tensor(counts), beta)
    assert float(found.sum()) == pytest.approx(sum(c > 0 for c in counts))
    effective = [sum(beta**k for k in range(c)) for c in counts]  # the series that (1 - β^n)/(1 - β) sums
    for c, weight, number in zip(counts, found.tolist(), effective, strict=True):
        assert (weight == 0) == (c == 0)
        assert weight * number == pytest.approx(max(found.tolist()) * min(filter(None, effective)) * (c > 0))


def test_the_ends_of_beta():
    assert class_balanced_weights(COUNTS, 0.0).tolist() == pytest.approx([1.0] * 4)
    inverse = 1 / COUNTS.double()
    torch.testing.assert_close(class_balanced_weights(COUNTS, 1 - 1e-13), 4 * inverse / inverse.sum())
    for beta in (1.0, -0.1):
        with pytest.raises(ValueError, match="beta"):
            class_balanced_weights(COUNTS, beta)
    with pytest.raises(ValueError, match="counts"):
        class_balanced_weights(torch.tensor([0, 0]), 0.9)


def test_the_mean_is_over_images_not_over_weights(batch):
    logits, labels, _ = batch(3)
    weights = class_balanced_weights(COUNTS, 0.9999).float().double()  # as the loss keeps them
    found = ClassBalancedLoss(weights)(logits, labels)
    wanted = sum(
        float(weights[y]) * float(x.logsumexp(0) - x[y]) for x, y in zip(logits, labels.tolist(), strict=True)
    )
    assert found.item() == pytest.approx(wanted / 9, rel=1e-12)
    over_weights = F.cross_entropy(logits, labels, weight=weights)  # the known mistake
    assert over_weights.item() != pytest.approx(found.item(), rel=0.1)


def test_weights_count_from_their_epoch_on(batch):
    logits, labels, _ = batch()
    weights = torch.tensor([0.5, 2.0, 0.25, 4.0])
    loss = ClassBalancedLoss(weights, start_epoch=2, label_smoothing=0.1)
    plain = F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    for epoch in range(4):
        loss.begin_epoch(epoch)
        wanted = plain if epoch < 2 else plain * weights[labels]
        torch.testing.assert_close(loss.per_image(logits, labels), wanted)


def test_weights_that_do_not_fit_are_refused(batch):
    logits, labels, _ = batch()
    with pytest.raises(ValueError, match="weights of 3 classes"):
        ClassBalancedLoss(torch.ones(3))(logits, labels % 3)
    with pytest.raises(ValueError, match="weights"):
        ClassBalancedLoss(torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="start_epoch"):
        ClassBalancedLoss(torch.ones(4), start_epoch=-1)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_is_its_formula(batch, gamma):
    logits, labels, _ = batch()
    p = logits.softmax(-1)[torch.arange(9), labels]
    torch.testing.assert_close(FocalLoss(gamma).per_image(logits, labels), -((1 - p) ** gamma) * p.log())


def test_focal_without_gamma_is_its_base(batch):
    logits, labels, _ = batch()
    torch.testing.assert_close(FocalLoss(0.0)(logits, labels), F.cross_entropy(logits, labels))
    base = ClassBalancedLoss(torch.tensor([0.5, 2.0, 0.25, 4.0]))
    torch.testing.assert_close(FocalLoss(0.0, base).per_image(logits, labels), base.per_image(logits, labels))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_focal_is_torchvisions_for_two_classes_and_for_no_more(batch, gamma):
    logits, labels, _ = batch(classes=2)
    logits[:, 0] = 0
    theirs = sigmoid_focal_loss(logits[:, 1], labels.double(), alpha=-1, gamma=gamma)
    torch.testing.assert_close(FocalLoss(gamma).per_image(logits, labels), theirs)
    logits, labels, _ = batch(classes=4)
    theirs = sigmoid_focal_loss(logits, F.one_hot(labels, 4).double(), alpha=-1, gamma=gamma).sum(-1)
    assert not torch.isclose(FocalLoss(gamma).per_image(logits, labels), theirs, rtol=0.01).all()


def test_the_focal_factor_goes_on_top_of_any_base(batch):
    logits, labels, _ = batch()
    p = logits.softmax(-1)[torch.arange(9), labels]
    smoothed = CrossEntropy(0.2)
    wanted = (1 - p) ** 2 * smoothed.per_image(logits, labels)
    torch.testing.assert_close(FocalLoss(2.0, smoothed).per_image(logits, labels), wanted)


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_focal_of_certain_answers_has_finite_gradients(gamma, dtype):
    logits = torch.tensor([[400.0, 0.0], [40.0, 0.0], [0.0, -math.inf]], dtype=dtype, requires_grad=True)
    loss = FocalLoss(gamma)(logits, torch.tensor([0, 0, 0]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [-1.0, math.inf, math.nan])
def test_gamma_outside_its_range(gamma):
    with pytest.raises(ValueError, match="gamma"):
        FocalLoss(gamma)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_adjusted_is_its_formula(batch, strength):
    logits, labels, _ = batch()
    prior = [c / 1165 for c in (410, 506, 146, 103)]
    found = LogitAdjustedLoss(COUNTS, strength).per_image(logits, labels).tolist()
    for x, y, loss in zip(logits.tolist(), labels.tolist(), found, strict=True):
        terms = [prior[c] ** strength * math.exp(x[c]) for c in range(4)]
        assert loss == pytest.approx(-math.log(terms[y] / sum(terms)), rel=1e-12)


def test_adjusted_logits_are_learned_without_the_prior():
    """Images that cannot be told apart: plain cross-entropy learns the prior, this one learns nothing."""
    labels = torch.arange(3).repeat_interleave(torch.tensor([6, 3, 1]))
    for loss, flat in [
        (LogitAdjustedLoss(torch.tensor([6, 3, 1])), True),
        (LogitAdjustedLoss(torch.tensor([6, 3, 1]), 0.0), False),
    ]:
        logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(logits.expand(10, 3), labels), logits)
        assert (gradient.abs().max() < 1e-12) == flat


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_adjustment_excludes_classes_without_images(batch, strength):
    logits, labels, _ = batch(classes=3)
    counts, wide = torch.tensor([5, 0, 2, 9]), torch.zeros(9, 4, dtype=torch.float64)
    places = torch.tensor([0, 2, 3])
    wide[:, places] = logits
    wide[:, 1] = 50.0  # however sure the classifier is of it
    wide.requires_grad_()
    found = LogitAdjustedLoss(counts, strength).per_image(wide, places[labels])
    wanted = LogitAdjustedLoss(counts[places], strength).per_image(logits, labels)
    torch.testing.assert_close(found, wanted)
    found.sum().backward()
    assert (wide.grad[:, 1] == 0).all()
    assert wide.grad.isfinite().all()
    assert LogitAdjustedLoss(counts)(wide, torch.ones(9, dtype=torch.int64)).isposinf()


def test_adjustment_of_no_strength_is_plain(batch):
    logits, labels, _ = batch()
    found = LogitAdjustedLoss(torch.tensor([3, 0, 1, 1]), 0.0)(logits, labels)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels))


def test_logits_are_adjusted_only_in_training_and_from_the_epoch_on(batch):
    logits, labels, _ = batch()
    plain, loss = F.cross_entropy(logits, labels), LogitAdjustedLoss(COUNTS, start_epoch=1)
    torch.testing.assert_close(loss(logits, labels), plain)
    loss.begin_epoch(1)
    torch.testing.assert_close(loss(logits, labels), LogitAdjustedLoss(COUNTS)(logits, labels))
    assert not torch.isclose(loss(logits, labels), plain, rtol=1e-3)
    torch.testing.assert_close(loss.eval()(logits, labels), plain)


def test_adjusted_refuses_nonsense(batch):
    logits, labels, _ = batch()
    for strength in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="strength"):
            LogitAdjustedLoss(COUNTS, strength)
    with pytest.raises(ValueError, match="counts of 3 classes"):
        LogitAdjustedLoss(COUNTS[:3])(logits, labels)
    with pytest.raises(ValueError, match="counts"):
        LogitAdjustedLoss(torch.tensor([0, 0]))


WEIGHTS = torch.tensor([0.5, 0.25, 1.5, 1.75])


def factors(logits, labels, features, alpha=1000.0, epsilon=1e-3):
    """As the paper has it, norm by norm."""
    distance = (logits.softmax(-1) - F.one_hot(labels, logits.shape[1])).norm(p=1, dim=-1)
    return alpha / (distance * features.norm(p=1, dim=-1) + epsilon)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_influence_is_its_formula(batch, detach, weights):
    logits, labels, features = batch()
    found = InfluenceBalancedLoss(7.0, 0.3, weights, detach=detach).per_image(logits, labels, features)
    wanted = factors(logits, labels, features, 7.0, 0.3) * F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(found, wanted if weights is None else wanted * weights[labels])


def test_the_influence_factor_is_one_over_the_gradient_of_a_linear_classifier(batch):
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


def test_influence_detached_has_the_gradient_of_cross_entropy_times_the_factor(batch):
    logits, labels, features = batch()
    of_logits, of_features = gradients(InfluenceBalancedLoss(weights=WEIGHTS), logits, labels, features)
    plain = (logits.softmax(-1) - F.one_hot(labels, 4)) / 9
    wanted = (factors(logits, labels, features) * WEIGHTS[labels])[:, None] * plain
    torch.testing.assert_close(of_logits, wanted)
    assert (of_features == 0).all()


def test_influence_differentiated_through_is_that_of_finite_differences(batch):
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


def test_influence_differentiated_through_moves_logits_less_and_lets_features_grow(batch):
    logits, labels, features = batch(2)
    whole, held = (
        gradients(InfluenceBalancedLoss(detach=d), logits, labels, features) for d in (False, True)
    )
    ratio = whole[0] / held[0]
    assert ((ratio > 0) & (ratio < 1)).all()
    assert ((whole[1] * features).sum(-1) < 0).all()


def test_influence_before_its_epoch_is_its_base_and_needs_no_features(batch):
    logits, labels, features = batch()
    loss = InfluenceBalancedLoss(weights=WEIGHTS, start_epoch=2)
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(logits, labels))
    loss.begin_epoch(2)
    assert loss(logits, labels, features) > 10 * F.cross_entropy(logits, labels)
    for wrong in (None, features[:5], features[:, 0]):
        with pytest.raises(ValueError, match="features"):
            loss(logits, labels, wrong)


def test_influence_goes_on_top_of_a_base(batch):
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
def test_influence_refuses_nonsense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
        InfluenceBalancedLoss(**wrong)


def test_influence_refuses_weights_of_other_classes(batch):
    logits, labels, features = batch()
    with pytest.raises(ValueError, match="weights of 5 classes"):
        InfluenceBalancedLoss(weights=torch.ones(5))(logits, labels, features)
