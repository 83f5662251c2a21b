"""Cross-entropy, against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from mtl.losses import CrossEntropy
from mtl.losses.base import checked_batch, require_counts, require_images, require_weights


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


def test_precision_is_single_unless_it_is_double():
    labels = torch.tensor([0, 1])
    for dtype, wanted in [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ]:
        assert checked_batch(torch.zeros(2, 2, dtype=dtype), labels)[0].dtype == wanted


@pytest.mark.parametrize(
    "images",
    [
        None,
        torch.tensor([0, 1]),
        torch.tensor([0.0, 1.0, 2.0]),
        torch.tensor([0, 1, 10]),
        torch.tensor([0, -1, 2]),
    ],
)
def test_images_that_are_none_of_the_training_set(images):
    with pytest.raises(ValueError, match="images"):
        require_images(images, 3, 10)


@pytest.mark.parametrize(
    "counts", [torch.tensor([1.0, 2.0]), torch.tensor([[1, 2]]), torch.tensor([3, -1]), torch.tensor([0, 0])]
)
def test_counts_that_are_none(counts):
    with pytest.raises(ValueError, match="counts"):
        require_counts(counts)


@pytest.mark.parametrize(
    "weights",
    [
        torch.tensor([1, 2]),
        torch.ones(2, 2),
        torch.tensor([1.0, -0.1]),
        torch.tensor([1.0, torch.nan]),
        torch.tensor([1.0, torch.inf]),
        torch.zeros(2),
    ],
)
def test_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="weights"):
        require_weights(weights)
