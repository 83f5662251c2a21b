"""Measures under weights, against tasks that are really repeated, with numpy and loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mtl.compare.measures import (
    ACCURACY,
    FIFTH,
    HARD,
    MEASURES,
    WORST_CLASS,
    WORST_TENTH,
    measure,
    resamples,
    worst_tenth,
)
from mtl.evaluation.task_answers import Answers
from mtl.runtime.seeds import generator


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.float64)


def mid_quantile_of(sample: np.ndarray, share: float) -> float:
    """By its definition, with numpy's interpolation, which also ends flat."""
    values, counts = np.unique(sample, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(sample)
    return float(np.interp(share, middle, values))


def by_repeating(answers: Answers, times: list[int], judged: list[int]) -> dict[str, float]:
    """Every measure of the tasks repeated so many times."""
    rows = [t for t, n in enumerate(times) for _ in range(n)]
    right = np.rint(answers.recall.numpy().astype(float) * answers.queries).astype(int)
    sums = np.array([right[t].sum() for t in rows])
    asked: dict[int, int] = {}
    got: dict[int, int] = {}
    for t in rows:
        for c, r in zip(answers.classes[t].tolist(), right[t].tolist(), strict=True):
            asked[c] = asked.get(c, 0) + answers.queries
            got[c] = got.get(c, 0) + r
    recalls = sorted(got[c] / asked[c] for c in asked)
    worst = recalls[: -(-len(recalls) // 10)]
    hard = np.repeat(answers.judged.numpy().astype(float), judged)
    each = right.shape[1] * answers.queries
    return {
        ACCURACY: sums.mean() / each,
        FIFTH: mid_quantile_of(sums, 0.05) / each,
        WORST_CLASS: recalls[0],
        WORST_TENTH: sum(worst) / len(worst),
        HARD: hard.mean() if len(hard) else math.nan,
    }


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_weighting_is_the_tasks_repeated(data):
    tasks, way = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 4))
    queries, judged = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 4))
    classes = data.draw(st.integers(way, 35))
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 2**40)))
    answers = Answers(
        torch.rand(tasks, classes, generator=random).argsort(1)[:, :way],
        torch.randint(queries + 1, (tasks, way), generator=random) / queries,
        torch.rand(judged, generator=random),
        queries,
    )
    weights = torch.cat([ones(1, tasks), resamples(5, tasks, random)])
    hard = torch.cat([ones(1, judged), resamples(5, judged, random)])
    found = measure(answers, weights, hard)
    assert tuple(found) == MEASURES
    for b in range(6):
        expected = by_repeating(answers, weights[b].int().tolist(), hard[b].int().tolist())
        for name in MEASURES:
            assert float(found[name][b]) == pytest.approx(expected[name], abs=1e-9, nan_ok=True), name


def test_measures_computed_by_hand():
    # recalls: class 0: (1 + 3)/8, class 1: (4 + 2)/8, class 2: (0 + 4)/8; accuracies 5/8, 3/8, 6/8
    answers = Answers(
        torch.tensor([[0, 1], [0, 2], [1, 2]]),
        torch.tensor([[0.25, 1.0], [0.75, 0.0], [0.5, 1.0]]),
        torch.tensor([0.25, 0.75]),
        4,
    )
    found = measure(answers, torch.tensor([[1.0, 1, 1], [0, 2, 0]]).double(), ones(2, 2))
    assert found[ACCURACY].tolist() == pytest.approx([14 / 24, 3 / 8])
    assert found[FIFTH].tolist() == pytest.approx([3 / 8, 3 / 8])
    assert found[WORST_CLASS].tolist() == pytest.approx([0.5, 0.0])  # class 1 is never shown by the second
    assert found[WORST_TENTH].tolist() == pytest.approx([0.5, 0.0])
    assert found[HARD].tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("classes", "taken"), [(1, 1), (9, 1), (10, 1), (11, 2), (30, 3), (31, 4), (500, 50)]
)
def test_a_tenth_of_the_classes_is_rounded_up(classes, taken):
    recall = torch.arange(classes).double()[torch.randperm(classes, generator=generator(classes))]
    assert float(worst_tenth(recall[:, None])) == pytest.approx((taken - 1) / 2)


def test_classes_that_are_not_seen_take_no_place_in_the_tenth():
    recall = torch.cat([torch.arange(20).double(), torch.full((100,), torch.inf)])[:, None]
    assert float(worst_tenth(recall)) == 0.5  # of 20, not of 120


def test_without_tasks_drawn_hard_their_measure_is_nan(answered):
    found = measure(answered(judged=0), ones(2, 40), ones(2, 0))
    assert found[HARD].isnan().all()
    assert not torch.cat([found[name] for name in MEASURES[:-1]]).isnan().any()


@pytest.mark.parametrize(("tasks", "judged"), [(39, 7), (40, 8)])
def test_weights_of_other_tasks_are_refused(answered, tasks, judged):
    with pytest.raises(ValueError, match="tasks for 40 and 7 tasks"):
        measure(answered(), ones(1, tasks), ones(1, judged))


def test_resamples_draw_every_task_alike():
    drawn = resamples(400, 25, generator(1))
    assert drawn.dtype == torch.float64
    assert drawn.sum(1).eq(25).all()
    assert chisquare(drawn.sum(0).numpy()).pvalue > 1e-4
    # multinomial: variance of a count 24/25, correlation of two of them -1/24
    assert float(drawn.var()) == pytest.approx(24 / 25, abs=0.05)
    assert torch.equal(drawn, resamples(400, 25, generator(1)))
    assert resamples(3, 0, generator(1)).shape == (3, 0)


def test_the_spread_over_resamples_is_the_standard_error(answered):
    answers = answered(tasks=200, classes=20)
    found = measure(answers, resamples(2000, 200, generator(2)), ones(2000, 7))
    spread = float(answers.accuracy.std(correction=0)) / math.sqrt(200)
    assert float(found[ACCURACY].std()) == pytest.approx(spread, rel=5 / math.sqrt(2 * 2000))
