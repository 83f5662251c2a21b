"""What is refused before anything is computed."""

import pytest
import torch

from mtl.losses.base import prepared, require_counts, require_images, require_weights


def test_precision_is_single_unless_it_is_double():
    labels = torch.tensor([0, 1])
    for dtype, wanted in [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ]:
        assert prepared(torch.zeros(2, 2, dtype=dtype), labels)[0].dtype == wanted


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
    "counts",
    [torch.tensor([1.0, 2.0]), torch.tensor([[1, 2]]), torch.tensor([3, -1]), torch.tensor([0, 0])],
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
