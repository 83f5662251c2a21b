"""Focal loss, against its formula and torchvision's."""

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from mtl.losses import ClassBalancedLoss, CrossEntropy, FocalLoss


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_the_formula(batch, gamma):
    logits, labels, _ = batch()
    p = logits.softmax(-1)[torch.arange(9), labels]
    torch.testing.assert_close(FocalLoss(gamma).per_image(logits, labels), -((1 - p) ** gamma) * p.log())


def test_without_gamma_it_is_its_base(batch):
    logits, labels, _ = batch()
    torch.testing.assert_close(FocalLoss(0.0)(logits, labels), F.cross_entropy(logits, labels))
    base = ClassBalancedLoss(torch.tensor([0.5, 2.0, 0.25, 4.0]))
    torch.testing.assert_close(FocalLoss(0.0, base).per_image(logits, labels), base.per_image(logits, labels))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_it_is_torchvisions_for_two_classes_and_for_no_more(batch, gamma):
    logits, labels, _ = batch(classes=2)
    logits[:, 0] = 0
    theirs = sigmoid_focal_loss(logits[:, 1], labels.double(), alpha=-1, gamma=gamma)
    torch.testing.assert_close(FocalLoss(gamma).per_image(logits, labels), theirs)
    logits, labels, _ = batch(classes=4)
    theirs = sigmoid_focal_loss(logits, F.one_hot(labels, 4).double(), alpha=-1, gamma=gamma).sum(-1)
    assert not torch.isclose(FocalLoss(gamma).per_image(logits, labels), theirs, rtol=0.01).all()


def test_the_factor_goes_on_top_of_any_base(batch):
    logits, labels, _ = batch()
    p = logits.softmax(-1)[torch.arange(9), labels]
    smoothed = CrossEntropy(0.2)
    wanted = (1 - p) ** 2 * smoothed.per_image(logits, labels)
    torch.testing.assert_close(FocalLoss(2.0, smoothed).per_image(logits, labels), wanted)


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_answered_without_doubt_have_finite_gradients(gamma, dtype):
    logits = torch.tensor([[400.0, 0.0], [40.0, 0.0], [0.0, -math.inf]], dtype=dtype, requires_grad=True)
    loss = FocalLoss(gamma)(logits, torch.tensor([0, 0, 0]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [-1.0, math.inf, math.nan])
def test_gamma_outside_its_range(gamma):
    with pytest.raises(ValueError, match="gamma"):
        FocalLoss(gamma)
