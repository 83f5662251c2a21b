"""The 5th percentile against numpy, and that evaluations, comparisons and reports share it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.compare.measures import FIFTH, measure
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.evaluation.results import score
from mtl.evaluation.task_answers import Answers
from mtl.stats import fifth_percentile, mid_quantile, minimum


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=60, unique=True),
    share=st.floats(0.01, 0.99),
)
def test_where_all_values_differ_it_is_hazens_quantile(values, share):
    at = torch.tensor(sorted(values), dtype=torch.float64)
    found = float(mid_quantile(at, ones(len(at), 1), share))
    assert found == pytest.approx(np.quantile(values, share, method="hazen"), abs=1e-9)


def test_the_mid_quantile_moves_with_the_share_of_a_value_and_a_plain_one_does_not():
    # values 0 and 1/2 hold a and 1 - a of 1,000; the middles a/2 and (1 + a)/2 lie 1/2 apart
    at, rare, rarer = torch.tensor([0.0, 0.5]).double(), [80, 920], [60, 940]
    found = mid_quantile(at, torch.tensor([rare, rarer]).double().T, 0.05)
    assert found.tolist() == pytest.approx([0.5 * (0.05 - 0.04) / 0.5, 0.5 * (0.05 - 0.03) / 0.5])
    assert [np.quantile(np.repeat(at.numpy(), c), 0.05) for c in (rare, rarer)] == [0, 0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 75), min_size=1, max_size=80))
def test_of_accuracies_in_float32_it_is_the_definition_with_numpys_interpolation(right):
    accuracy = (torch.tensor(right).float().view(-1, 1) / 75 * torch.ones(3)).mean(1)  # rounded, as means are
    values, counts = np.unique(right, return_counts=True)
    expected = np.interp(0.05, (np.cumsum(counts) - counts / 2) / len(right), values / 75)
    assert fifth_percentile(accuracy, 75) == pytest.approx(expected, abs=1e-12)


def test_evaluations_and_comparisons_say_the_same():
    tasks, way, queries = 400, 5, 15
    random = torch.Generator().manual_seed(0)
    outcome = Outcome.of(torch.randn(tasks, way * queries, way, generator=random).mul_(2), way, queries)
    classes = torch.rand(tasks, 9, generator=random).argsort(1)[:, :way]
    images = torch.zeros(tasks, way, queries, dtype=torch.int64)
    episodes = EpisodeBatch(classes, images[..., :1], images, ("uniform",) * tasks, tuple(range(tasks)))
    evaluated = score("x", episodes, outcome, None, [str(c) for c in range(9)])
    answers = Answers(classes, outcome.recall, torch.zeros(0), queries)
    compared = float(measure(answers, ones(1, tasks), ones(1, 0))[FIFTH])
    assert evaluated.percentile_5 == pytest.approx(compared, abs=1e-12)
    plain = float(outcome.accuracy.quantile(0.05))
    assert plain * 75 == pytest.approx(round(plain * 75), abs=1e-4)  # on the grid of k/75, and not the same
    assert abs(evaluated.percentile_5 - plain) > 1e-4


def test_a_minimum_is_found_between_its_bounds_and_at_them_and_beside_a_plain():
    assert minimum(lambda x: (x - 0.3) ** 2, -4, 4) == pytest.approx(0.3, abs=1e-6)
    assert minimum(lambda x: x, -4, 4) == pytest.approx(-4, abs=1e-6)
    assert minimum(lambda x: abs(min(x, 1.0) - 0.5), 0, 60, 1e-9) == pytest.approx(0.5, abs=1e-8)
