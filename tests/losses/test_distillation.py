"""Distillation: the distance of a student's answers from its teacher's."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from mtl.losses import distillation_loss


def test_it_is_the_divergence_of_softened_answers_times_the_squared_temperature():
    random = torch.Generator().manual_seed(0)
    logits, taught = (3 * torch.randn(6, 5, generator=random, dtype=torch.float64) for _ in range(2))
    log_q, log_p = (log_softmax(one.numpy() / 2.5, -1) for one in (logits, taught))
    wanted = 2.5**2 * (np.exp(log_p) * (log_p - log_q)).sum(-1)
    assert float(distillation_loss(logits, taught, 2.5)) == pytest.approx(wanted.mean(), rel=1e-10)
    assert float(distillation_loss(taught, taught, 4.0)) == pytest.approx(0, abs=1e-12)


def test_excluded_classes_count_for_neither():
    random = torch.Generator().manual_seed(0)
    logits, taught = (torch.randn(4, 5, generator=random, dtype=torch.float64) for _ in range(2))
    out = torch.tensor([False, True, False, False, True])
    some = logits.masked_fill(out, -torch.inf).requires_grad_()
    loss = distillation_loss(some, taught, 4.0)
    assert float(loss.detach()) == pytest.approx(
        float(distillation_loss(logits[:, ~out], taught[:, ~out], 4.0))
    )
    loss.backward()
    assert some.grad.isfinite().all()
