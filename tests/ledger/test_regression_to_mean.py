"""Picked tasks and their control group, before and after."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mtl.errors import UserError
from mtl.ledger.regression_to_mean import Bin, compare_gains, improvement, task_retests
from mtl.ledger.rows import HARD_ORIGINS
from mtl.ledger.store import RoundRow


def _half(values):
    return stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))


def test_gains_and_bins_by_hand():
    # Two bins of five picked, the upper from 0.4 on. The lower has three others, the upper three; four start
    # above all picked.
    picked = [(0.0, 0.2), (0.1, 0.2), (0.1, 0.4), (0.2, 0.2), (0.2, 0.4)]
    picked += [(0.4, 0.5), (0.5, 0.5), (0.5, 0.7), (0.6, 0.6), (0.6, 0.8)]
    others = [(0.1, 0.1), (0.2, 0.4), (0.3, 0.3), (0.4, 0.5), (0.5, 0.6), (0.6, 0.6)]
    others += [(0.9, 0.7), (0.8, 0.8), (0.7, 0.8), (0.9, 0.9)]
    found = compare_gains("task", np.array(picked), np.array(others))
    assert found.unit == "task"
    assert found.picked.tolist() == [list(row) for row in picked]
    assert found.others.tolist() == [list(row) for row in others]
    gains = [0.2, 0.1, 0.3, 0.0, 0.2], [0.1, 0.0, 0.2, 0.0, 0.2]
    other_gains = [0.0, 0.2, 0.0], [0.1, 0.1, 0.0]
    assert found.gain_picked == pytest.approx((0.13, _half(gains[0] + gains[1])))
    assert found.gain_others == pytest.approx((0.03, _half([0, 0.2, 0, 0.1, 0.1, 0, -0.2, 0, 0.1, 0])))
    after = [0.2, 0.2, 0.4, 0.2, 0.4], [0.5, 0.5, 0.7, 0.6, 0.8]
    other_after = [0.1, 0.4, 0.3], [0.5, 0.6, 0.6]
    assert found.bins == [
        pytest.approx(Bin(0.12, 0.28, _half(after[0]), 5, 0.8 / 3, _half(other_after[0]), 3)),
        pytest.approx(Bin(0.52, 0.62, _half(after[1]), 5, 1.7 / 3, _half(other_after[1]), 3)),
    ]
    var = [np.var(g, ddof=1) / len(g) for g in (*gains, *other_gains)]
    half = 1.959964 * math.sqrt(sum(var) / 4)
    assert found.at_equal_start == pytest.approx((((0.16 - 0.2 / 3) + (0.1 - 0.2 / 3)) / 2, half), abs=1e-6)


def _reference(picked, others):
    """The estimate at equal start by plain loops."""
    count = min(10, max(2, len(picked) // 5))
    starts = sorted(before for before, _ in picked)
    cuts = sorted({starts[len(starts) * b // count] for b in range(1, count)})

    def bin_of(before):
        return sum(before >= cut for cut in cuts) if starts[0] <= before <= starts[-1] else None

    used = []
    for b in range(count):
        gains = [
            [after - before for before, after in rows if bin_of(before) == b] for rows in (picked, others)
        ]
        if min(map(len, gains)) >= 2:
            used.append(gains)
    if not used:
        return None, []
    n = sum(len(p) for p, _ in used)
    mean = sum(len(p) / n * (np.mean(p) - np.mean(o)) for p, o in used)
    var = sum((len(p) / n) ** 2 * (np.var(p, ddof=1) / len(p) + np.var(o, ddof=1) / len(o)) for p, o in used)
    return (mean, 1.959963984540054 * math.sqrt(var)), [(len(p), len(o)) for p, o in used]


@settings(max_examples=50)
@given(st.integers(10, 120), st.integers(10, 60), st.integers(1, 30), st.integers(0, 10**6))
def test_equal_starts_against_a_plain_loop(n, m, levels, seed):
    """Of few levels many starts are equal, and bins fewer."""
    random = np.random.default_rng(seed)
    picked, others = (random.integers(0, levels + 1, (k, 2)) / levels for k in (n, m))
    found = compare_gains("task", picked, others)
    expected, sizes = _reference(picked.tolist(), others.tolist())
    if expected is None:
        assert found.at_equal_start is None
    else:
        assert found.at_equal_start == pytest.approx(expected, abs=1e-9)
    assert [(b.picked, b.others) for b in found.bins] == sizes


def _worlds(seed, count=4000, gain=0.0):
    """Tasks measured twice over 20 queries, the lower half by the first measurement likelier picked.

    Returns rows of the picked and of the others. Whoever is picked gains `gain`.
    """
    random = np.random.default_rng(seed)
    true = random.uniform(0.3, 0.8, count)
    before = random.binomial(20, true) / 20
    picked = random.random(count) < np.where(before < 0.55, 0.7, 0.3)
    after = random.binomial(20, np.clip(true + gain * picked, 0, 1)) / 20
    rows = np.stack([before, after], 1)
    return rows[picked], rows[~picked]


def test_regression_to_the_mean_is_not_taken_for_improvement():
    found = compare_gains("task", *_worlds(0))
    naive = found.gain_picked[0] - found.gain_others[0]
    assert found.gain_picked[0] - found.gain_picked[1] > 0.01  # a gain without anything learned
    assert naive > 0.02
    mean, half = found.at_equal_start
    assert abs(mean) < half < 0.02


def test_what_practice_gave_is_found():
    mean, half = compare_gains("task", *_worlds(1, gain=0.08)).at_equal_start
    assert mean == pytest.approx(0.08, abs=half)
    assert half < 0.02


def test_the_interval_covers_the_truth_as_often_as_it_says():
    found = [compare_gains("task", *_worlds(seed, 200, gain=0.05)).at_equal_start for seed in range(200)]
    covered = sum(abs(mean - 0.05) < half for mean, half in found)
    assert 180 <= covered <= 198  # 190 ± 2.6 deviations of 3.1


@pytest.mark.parametrize("few", [(9, 50), (50, 9), (0, 0), (0, 50)])
def test_few_of_either_are_no_comparison(few):
    rows = [np.random.default_rng(0).random((k, 2)) for k in few]
    assert compare_gains("task", *rows) is None
    rows = np.ones((10, 2)), np.ones((10, 2))
    assert compare_gains("task", *rows) is not None


def test_where_no_other_started_as_low_there_is_no_estimate():
    random = np.random.default_rng(0)
    picked, others = 0.4 * random.random((30, 2)), 0.5 + 0.4 * random.random((30, 2))
    found = compare_gains("task", picked, others)
    assert found.at_equal_start is None
    assert found.bins == []
    assert found.gain_picked == pytest.approx(
        (float(np.mean(picked[:, 1] - picked[:, 0])), _half(picked[:, 1] - picked[:, 0]))
    )


@pytest.mark.parametrize("phase", ["evaluate test 5-way 1-shot", "evaluate", "meta-train"])
def test_only_evaluations_are_compared(ledger, random_solved, phase):
    for number, origin in enumerate(("uniform", "resampled", "control", "uniform", "hard", "uniform")):
        ledger.append(phase, number, 0, *random_solved(60, 2, 14, seed=number, origin=origin), "train")
    found = improvement(ledger, phase)
    if phase == "meta-train":
        assert found is None
        return
    picked, others = task_retests(ledger, ledger.phase(phase))
    assert found.picked.tolist() == picked.tolist()
    assert found.others.tolist() == others.tolist()
    again = compare_gains("task", picked, others)
    assert (found.gain_picked, found.at_equal_start) == (again.gain_picked, again.at_equal_start)


def test_one_round_or_nothing_picked_is_no_comparison(ledger, random_solved):
    ledger.add_round("evaluate", "train", RoundRow(0, 0, "class", 2, None, 0.0, None, 0.5))
    assert improvement(ledger, "evaluate") is None
    ledger.append("evaluate", 0, 0, *random_solved(60, 2, 20, seed=0), "train")
    ledger.append("evaluate", 1, 0, *random_solved(60, 2, 20, seed=0, origin="control"), "train")
    assert improvement(ledger, "evaluate") is None
    ledger.append("evaluate", 2, 0, *random_solved(12, 2, 20, seed=0, origin="hard"), "train")
    found = improvement(ledger, "evaluate")
    assert min(len(found.picked), len(found.others)) >= 10


def test_a_phase_that_is_not_there_is_refused(ledger):
    with pytest.raises(UserError, match='no phase "q"'):
        improvement(ledger, "q")


def _solve(ledger, solved, round_, task, recall, origin="uniform", **kwargs):
    ledger.append("p", round_, 0, *solved([task], [recall], origin, **kwargs), "train")


def test_tasks_by_hand(ledger, solved):
    first = [([1, 2], 0.25), ([3, 4], 0.5), ([2, 3], 1.0), ([5, 6], 0.0), ([2, 1], 0.75)]
    for task, share in first:
        _solve(ledger, solved, 0, task, [share, share])
    for number, picked, control in ((1, 0.5, 1.0), (2, 0.75, 0.5), (3, 1.0, 0.75)):
        _solve(ledger, solved, number, [2, 1], [picked, picked], "resampled")
        _solve(ledger, solved, number, [4, 3], [control, control], "control")
        _solve(ledger, solved, number, [6, 5], [1.0, 1.0], "uniform")  # neither picked nor a control
    _solve(ledger, solved, 4, [7, 8], [0.0, 0.0], "resampled")  # never scored before
    ledger.append("q", 0, 0, *solved([[1, 2]], [[0.0, 0.0]]), "train")
    ledger.append("q", 1, 0, *solved([[3, 4]], [[0.0, 0.0]], "control"), "train")
    picked, others = task_retests(ledger, ledger.phase("p"))
    assert picked.tolist() == [[0.5, 0.75]]  # 1 and 2 were scored as 0.25 and 0.75
    assert others.tolist() == [[0.5, 0.75]]


def test_a_task_that_was_picked_and_drawn_as_a_control_was_picked(ledger, solved):
    _solve(ledger, solved, 0, [1, 2], [0.25, 0.25])
    _solve(ledger, solved, 1, [1, 2], [0.5, 0.5], "control")
    _solve(ledger, solved, 1, [1, 2], [1.0, 1.0], "resampled")
    picked, others = task_retests(ledger, ledger.phase("p"))
    assert picked.tolist() == [[0.25, 0.75]]
    assert others.shape == (0, 2)


def test_tasks_against_a_plain_loop(ledger, random_solved):
    before, after, picked = {}, {}, set()
    for number, origin in enumerate(("uniform", "resampled", "control", "hard", "control")):
        batch, outcome = random_solved(30, 2, 7, seed=number, origin=origin)  # of 21 tasks most come again
        ledger.append("p", number, 0, batch, outcome, "train")
        for classes, accuracy in zip(batch.classes.tolist(), outcome.accuracy.tolist(), strict=True):
            (after if number else before).setdefault(tuple(sorted(classes)), []).append(accuracy)
            if origin in HARD_ORIGINS:
                picked.add(tuple(sorted(classes)))
    both = sorted(before.keys() & after.keys())
    found = task_retests(ledger, ledger.phase("p"))
    for rows, hard in zip(found, (True, False), strict=True):
        chosen = [task for task in both if (task in picked) == hard]
        assert chosen
        means = [[sum(of[task]) / len(of[task]) for of in (before, after)] for task in chosen]
        assert rows == pytest.approx(np.array(means))


def test_a_ledger_that_begins_later_has_no_first_scores(ledger, random_solved):
    for number, origin in ((1, "uniform"), (2, "resampled")):
        ledger.append("p", number, 0, *random_solved(9, 2, 4, seed=number, origin=origin), "train")
    assert [rows.shape for rows in task_retests(ledger, ledger.phase("p"))] == [(0, 2), (0, 2)]
