"""Measures of hardness against loops in float64, and by hand."""

import math

import numpy as np
import pytest
import torch

from mtl.episodes.episode import Outcome
from mtl.episodes.hardness import inverse_fisher_ratio, log_odds_of_error

T, N, K, Q, D = 3, 4, 2, 5, 6


def test_log_odds_are_those_of_a_plain_loop():
    logits = 3 * torch.randn(T, N * Q, N, generator=torch.Generator().manual_seed(0))
    outcome = Outcome.of(logits, N, Q)
    for t in range(T):
        odds = []
        for q, row in enumerate(logits[t].double().numpy()):
            p = np.exp(row)[q // Q] / np.exp(row).sum()
            odds.append(math.log((1 - p) / p))
        assert float(outcome.hardness[t]) == pytest.approx(np.mean(odds), rel=1e-5)


@pytest.mark.parametrize(
    ("own", "other", "hardness"),
    [(0.0, 0.0, math.log(2)), (3e4, 0.0, math.log(2) - 3e4), (0.0, 3e4, math.log(2) + 3e4)],
)
def test_harder_is_higher_and_nothing_is_clipped(own, other, hardness):
    logits = torch.full((1, 3, 3), other).masked_fill(torch.eye(3, dtype=torch.bool), own)
    assert Outcome.of(logits, 3, 1).hardness.tolist() == pytest.approx([hardness])


def test_the_normaliser_of_the_logits_does_not_matter():
    logits = torch.randn(T, N, Q, N, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_odds_of_error(logits), log_odds_of_error(logits.log_softmax(-1)))


def test_the_inverse_fisher_ratio_is_that_of_a_plain_loop():
    features = torch.randn(T, N * (K + Q), D, generator=torch.Generator().manual_seed(0)) + 3
    found = inverse_fisher_ratio(features, N, K)
    for t in range(T):
        rows = features[t].double().numpy()
        support, query = rows[: N * K].reshape(N, K, D), rows[N * K :].reshape(N, Q, D)
        classes = [np.concatenate(both) for both in zip(support, query, strict=True)]
        centres = [c.mean(0) for c in classes]
        within = np.mean([((c - c.mean(0)) ** 2).sum() / (len(c) - 1) for c in classes])
        between = [((centres[i] - centres[j]) ** 2).sum() for i in range(N) for j in range(N) if i != j]
        assert float(found[t]) == pytest.approx(within / np.mean(between), rel=1e-5)


def test_the_measures_of_parts_are_those_of_all():
    logits = torch.randn(T, N * Q, N, generator=torch.Generator().manual_seed(0))
    fisher = torch.tensor([0.5, 0.25, 0.125])
    parts = [Outcome.of(logits[rows], N, Q, fisher[rows]) for rows in (slice(0, 1), slice(1, 3))]
    both = Outcome.concatenate(parts)
    assert both.fisher.tolist() == fisher.tolist()
    torch.testing.assert_close(both.hardness, Outcome.of(logits, N, Q).hardness)


def test_the_ratio_is_not_a_number_where_there_are_no_features():
    assert Outcome.of(torch.randn(T, N * Q, N), N, Q).fisher.isnan().all()
