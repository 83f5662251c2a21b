import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mtl.stats import mean_interval, recall_intervals, root, wilson

QUERIES = 15


@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 7), (50, 75), (999, 1000)])
def test_wilson_against_scipy(correct, n):
    expected = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert wilson(correct, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_knows_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("correct", "n"), [(2, 1), (-1, 3), (0, -1)])
def test_wilson_refuses_what_is_no_share(correct, n):
    with pytest.raises(ValueError, match="not a share"):
        wilson(correct, n)


@pytest.mark.parametrize("n", [2, 3, 10, 500])
def test_mean_interval_against_scipy(n):
    values = np.random.default_rng(n).normal(0.6, 0.1, n).tolist()
    mean, half = mean_interval(values)
    low, high = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high), abs=1e-12)


def test_mean_interval_of_one_value_has_no_width_to_tell():
    mean, half = mean_interval([0.5])
    assert mean == 0.5
    assert math.isnan(half)


def test_mean_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def intervals_of(right):
    """From the right answers (C, m), out of QUERIES each, of C classes in m tasks: (C, 2)."""
    right = np.asarray(right)
    m = np.full(len(right), right.shape[1])
    return np.array(recall_intervals(m, m * QUERIES, right.sum(1), (right**2).sum(1)))


def by_hand(right):
    """The same by loops over tasks: `right` lists for each class its right answers, task by task."""
    numerators, denominators = [], []
    for own in right:
        m, share = len(own), sum(own) / (len(own) * QUERIES)
        spread = sum((x - share * QUERIES) ** 2 for x in own)
        numerators.append(m / (m - 1) * spread if m > 1 else 0)
        denominators.append(m * QUERIES * share * (1 - share) if m > 1 else 0)
    pooled, freedom = sum(numerators) / sum(denominators), sum(len(own) - 1 for own in right)
    found = []
    for own, above, below in zip(right, numerators, denominators, strict=True):
        effect = min(max(above / below if below else 0, pooled, 1), QUERIES)
        n = len(own) * QUERIES / effect * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, freedom)) ** 2
        share = sum(own) / (len(own) * QUERIES)
        z = stats.norm.ppf(0.975)  # Wilson's interval: where |share - p| = z √(p (1 - p) / n)
        ends = np.roots([1 + z * z / n, -2 * share - z * z / n, share * share])
        found.append(sorted(ends.real))
    return found


def test_recall_intervals_against_loops_over_tasks():
    right = [[15, 15, 3, 0, 9], [15, 15, 15], [14, 15, 15, 13], [7], [0, 0], [8, 7, 8, 7, 8, 7]]
    counts = [(len(x), len(x) * QUERIES, sum(x), sum(k * k for k in x)) for x in right]
    assert np.array(recall_intervals(*zip(*counts, strict=True))) == pytest.approx(
        np.array(by_hand(right)), abs=1e-9
    )


def test_with_many_tasks_the_width_is_that_of_a_bootstrap_over_tasks():
    random = np.random.default_rng(0)
    right = random.binomial(QUERIES, random.beta(2, 1, (3, 400)))
    drawn = right[:, random.integers(0, 400, (2000, 400))].mean(2) / QUERIES  # (3, 2000)
    width = intervals_of(right) @ [-1, 1]
    assert width == pytest.approx(2 * 1.96 * drawn.std(1), rel=0.08)


def test_answers_that_agree_within_a_task_count_as_one():
    right = QUERIES * np.array([[1, 1, 1, 0], [1, 0, 0, 0]])
    factor = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 6)) ** 2
    assert intervals_of(right) == pytest.approx(
        np.array([wilson(3 * factor, 4 * factor), wilson(factor, 4 * factor)])
    )


def test_where_tasks_cannot_be_compared_each_counts_as_one_answer():
    assert intervals_of([[15, 15, 15]]).tolist() == [list(wilson(3, 3))]  # without an error
    assert intervals_of([[15], [6]]) == pytest.approx(
        np.array([wilson(1, 1), wilson(0.4, 1)])
    )  # one task each
    assert recall_intervals([], [], [], []) == []


def test_a_class_without_an_error_learns_from_the_others_how_tasks_differ():
    alone, beside = (intervals_of(right)[0] for right in ([[15] * 20], [[15] * 20, [15, 14] * 10]))
    assert beside[0] > alone[0] == wilson(20, 20)[0]
    assert beside[0] < wilson(300, 300)[0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, QUERIES), min_size=1, max_size=6), min_size=1, max_size=5),
    st.integers(0, 4),
)
def test_an_interval_holds_its_recall_and_is_never_narrower_than_of_independent_queries(right, which):
    counts = [(len(x), len(x) * QUERIES, sum(x), sum(k * k for k in x)) for x in right]
    low, high = recall_intervals(*zip(*counts, strict=True))[which % len(right)]
    _, n, correct, _ = counts[which % len(right)]
    narrow = wilson(correct, n)
    assert 0 <= low <= narrow[0] <= correct / n <= narrow[1] <= high <= 1
    assert high - low <= 1


def _beta(share, correlation):
    scale = (1 - correlation) / correlation
    return lambda random, shape: random.binomial(
        QUERIES, random.beta(share * scale, (1 - share) * scale, shape)
    )


def _look_alike(random, shape):
    """Right but for one in a hundred; in a tenth of tasks half is taken for a class that looks alike."""
    return random.binomial(QUERIES, np.where(random.random(shape) < 0.1, 0.5, 0.99))


@pytest.mark.parametrize("tasks", [3, 10, 67])
@pytest.mark.parametrize(
    ("answers", "recall", "independent"),
    [
        (_beta(0.9, 0.25), 0.9, 0.8),  # as at 1 shot
        (_beta(0.975, 0.1), 0.975, 0.92),  # as at 5 shots
        (_beta(0.995, 0.3), 0.995, 0.97),  # near 1
        (_look_alike, 0.1 * 0.5 + 0.9 * 0.99, 0.92),
    ],
)
def test_95_of_100_intervals_hold_the_recall(answers, recall, independent, tasks):
    """Where queries of a task depend on each other, for many tasks and for few; Wilson's do not."""
    random = np.random.default_rng(tasks)
    held = wilson_held = 0
    for _ in range(10):
        right = answers(random, (60, tasks))
        found = intervals_of(right)
        held += ((found[:, 0] <= recall) & (recall <= found[:, 1])).sum()
        narrow = np.array([wilson(int(x), tasks * QUERIES) for x in right.sum(1)])
        wilson_held += ((narrow[:, 0] <= recall) & (recall <= narrow[:, 1])).sum()
    assert held / 600 >= 0.93
    assert wilson_held / 600 < independent


@given(st.floats(-3, 3), st.floats(0.1, 5))
def test_the_root_of_an_increasing_function_is_found(where, steepness):
    assert root(lambda x: math.tanh(steepness * (x - where)), -4, 4) == pytest.approx(where, abs=1e-7)
