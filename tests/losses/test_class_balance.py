"""Class-balanced weights and loss."""

from decimal import Decimal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mtl.losses import ClassBalancedLoss, class_balanced_weights

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


def test_a_batch_of_one_class_is_weighted_too(batch):
    logits, labels, _ = batch()
    labels[:] = 3
    weights = class_balanced_weights(COUNTS, 0.9999)
    plain = F.cross_entropy(logits, labels)
    torch.testing.assert_close(ClassBalancedLoss(weights)(logits, labels), plain * weights[3].float())
    torch.testing.assert_close(F.cross_entropy(logits, labels, weight=weights), plain)  # the known mistake


def test_before_its_epoch_it_is_plain(batch):
    logits, labels, _ = batch()
    weights = torch.tensor([0.5, 2.0, 0.25, 4.0])
    loss = ClassBalancedLoss(weights, start_epoch=2, label_smoothing=0.1)
    plain = F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    for epoch in range(4):
        loss.begin_epoch(epoch)
        wanted = plain if epoch < 2 else plain * weights[labels]
        torch.testing.assert_close(loss.per_image(logits, labels), wanted)


def test_nonsense_is_refused(batch):
    logits, labels, _ = batch()
    with pytest.raises(ValueError, match="weights of 3 classes"):
        ClassBalancedLoss(torch.ones(3))(logits, labels % 3)
    with pytest.raises(ValueError, match="weights"):
        ClassBalancedLoss(torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="start_epoch"):
        ClassBalancedLoss(torch.ones(4), start_epoch=-1)
