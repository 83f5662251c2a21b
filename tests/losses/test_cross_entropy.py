"""Cross-entropy, against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from mtl.losses import CrossEntropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_it_is_that_of_torch(batch, smoothing):
    logits, labels, _ = batch()
    wanted = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(CrossEntropy(smoothing).per_image(logits, labels), wanted)
    wanted = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(CrossEntropy(smoothing)(logits, labels), wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classes_out_of_question_are_as_if_they_were_not_there(batch, smoothing):
    logits, labels, _ = batch(classes=5)
    labels = labels % 3
    masked = logits.clone()
    masked[:, 3:] = -torch.inf
    loss = CrossEntropy(smoothing)
    torch.testing.assert_close(loss.per_image(masked, labels), loss.per_image(logits[:, :3], labels))
    assert F.cross_entropy(masked, labels, label_smoothing=0.1).isinf()  # why it is not torch's


def test_a_class_that_is_alone_in_question_costs_nothing():
    logits = torch.tensor([[0.3, -torch.inf, -torch.inf]], requires_grad=True)
    loss = CrossEntropy()(logits, torch.tensor([0]))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_smoothing_outside_its_range(smoothing):
    with pytest.raises(ValueError, match="label_smoothing"):
        CrossEntropy(smoothing)
