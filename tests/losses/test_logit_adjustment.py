"""Logit adjustment."""

import math

import pytest
import torch
import torch.nn.functional as F

from mtl.losses import LogitAdjustedLoss

COUNTS = torch.tensor([410, 506, 146, 103])


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_the_formula(batch, strength):
    logits, labels, _ = batch()
    prior = [c / 1165 for c in (410, 506, 146, 103)]
    found = LogitAdjustedLoss(COUNTS, strength).per_image(logits, labels).tolist()
    for x, y, loss in zip(logits.tolist(), labels.tolist(), found, strict=True):
        terms = [prior[c] ** strength * math.exp(x[c]) for c in range(4)]
        assert loss == pytest.approx(-math.log(terms[y] / sum(terms)), rel=1e-12)


def test_at_its_best_the_logits_are_without_the_prior():
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
def test_classes_without_images_are_out_of_question(batch, strength):
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


def test_no_strength_is_plain_also_with_classes_without_images(batch):
    logits, labels, _ = batch()
    found = LogitAdjustedLoss(torch.tensor([3, 0, 1, 1]), 0.0)(logits, labels)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels))


def test_it_is_for_training_alone_and_from_its_epoch_on(batch):
    logits, labels, _ = batch()
    plain, loss = F.cross_entropy(logits, labels), LogitAdjustedLoss(COUNTS, start_epoch=1)
    torch.testing.assert_close(loss(logits, labels), plain)
    loss.begin_epoch(1)
    torch.testing.assert_close(loss(logits, labels), LogitAdjustedLoss(COUNTS)(logits, labels))
    assert not torch.isclose(loss(logits, labels), plain, rtol=1e-3)
    torch.testing.assert_close(loss.eval()(logits, labels), plain)


def test_nonsense_is_refused(batch):
    logits, labels, _ = batch()
    for strength in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="strength"):
            LogitAdjustedLoss(COUNTS, strength)
    with pytest.raises(ValueError, match="counts of 3 classes"):
        LogitAdjustedLoss(COUNTS[:3])(logits, labels)
    with pytest.raises(ValueError, match="counts"):
        LogitAdjustedLoss(torch.tensor([0, 0]))
