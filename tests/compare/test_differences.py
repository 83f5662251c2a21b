"""Differences of arms: by hand, by cases whose truth is known, and by simulated studies."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from mtl.compare.differences import compare, difference, half_width
from mtl.compare.measures import ACCURACY, HARD, MEASURES, measure, resamples
from mtl.errors import UserError
from mtl.evaluation.task_answers import Answers
from mtl.runtime.seeds import generator

SETTING = "5-way 1-shot"


def changed(answers: Answers, recall: torch.Tensor, judged: torch.Tensor | None = None) -> Answers:
    return Answers(answers.classes, recall, answers.judged if judged is None else judged, answers.queries)


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_without_a_part_for_tasks_it_is_students_interval_over_seeds(level):
    values = [0.01, 0.03, -0.01, 0.02]
    low, high = stats.t.interval(level, 3, loc=np.mean(values), scale=stats.sem(values))
    assert half_width(values, 0.0, level) == pytest.approx((high - low) / 2, rel=1e-9)


def test_without_a_part_for_seeds_it_is_the_normal_interval():
    assert half_width([0.02, 0.02], 0.01**2, 0.95) == pytest.approx(0.01 * stats.norm.ppf(0.975), rel=1e-9)


def test_both_parts_computed_by_hand():
    # s² = 2e-4, s²/S = 1e-4, t(1) = 12.7062; z = 1.95996, v = 4e-4: 0.0161448 + 0.0015366 = 0.0176813
    assert half_width([0.01, 0.03], 4e-4, 0.95) == pytest.approx(math.sqrt(0.0176813), rel=1e-4)


@pytest.mark.parametrize("values", [[0.1], [0.1, math.nan]])
def test_what_tells_nothing_of_seeds_has_no_interval(values):
    assert math.isnan(half_width(values, 0.1, 0.95))


def test_a_study_holds_what_each_seed_measured(answered, cell):
    own = [answered(seed=0)] + [changed(answered(seed=0), answered(seed=s).recall) for s in (1, 2, 3)]
    cells = [
        cell("boosted", 0, own[1], seconds_per_step=0.3, seconds=1.0, images=10),
        cell("boosted", 1, own[2], seconds_per_step=None, seconds=5.0, images=30),
        cell("boosted", 7, own[3], seconds_per_step=0.5, seconds=6.0, images=20),
        cell("uniform", 1, own[0]),
        cell("uniform", 0, own[3]),
    ]
    study = compare(cells, "uniform", seed=0, count=10)
    assert (study.seeds, study.compared, study.resamples) == ((0, 1, 7), 1, 10)
    assert study.tasks == {SETTING: (40, 7)}
    cost = study.costs["boosted"]
    assert (cost.seconds_per_step, cost.seconds, cost.images) == (0.4, 5.0, 20)
    uniform, boosted = study.settings[SETTING]
    assert (uniform.arm, uniform.seeds, uniform.differences) == ("uniform", (0, 1), {})
    assert (boosted.arm, boosted.seeds) == ("boosted", (0, 1, 7))
    one = torch.ones(1, 40, dtype=torch.float64), torch.ones(1, 7, dtype=torch.float64)
    points = [measure(a, *one) for a in own]
    for name in MEASURES:
        values = [float(p[name]) for p in points]
        assert boosted.absolute[name].mean == pytest.approx(np.mean(values[1:]))
        assert boosted.absolute[name].deviation == pytest.approx(np.std(values[1:], ddof=1))
        assert boosted.absolute[name].seeds == 3
        found = boosted.differences[name]
        assert found.seeds == (0, 1)
        assert found.per_seed == pytest.approx((values[1] - values[3], values[2] - values[0]), abs=1e-12)
        assert found.mean == pytest.approx(sum(found.per_seed) / 2)


def test_order_of_cells_and_of_seeds_changes_no_figure(answered, cell):
    base = answered()
    cells = [
        cell(arm, s, changed(base, answered(seed=10 * s + len(arm)).recall))
        for s in range(3)
        for arm in ("uniform", "a", "bb")
    ]
    study = compare(cells, "uniform", seed=4, count=20)
    again = compare(cells[::-1], "uniform", seed=4, count=20)
    other = compare(cells, "uniform", seed=5, count=20)
    assert [r.arm for r in study.settings[SETTING]] == ["uniform", "a", "bb"]
    assert [r.arm for r in again.settings[SETTING]] == ["uniform", "bb", "a"]
    found, turned = ({r.arm: r for r in s.settings[SETTING]} for s in (study, again))
    assert found == turned
    assert found["a"].differences[ACCURACY].half != other.settings[SETTING][1].differences[ACCURACY].half


def test_tasks_and_seeds_that_both_arms_share_cancel(answered, cell):
    """Answers of seeds lie far apart, as do tasks; the arm has one answer more in each class of each task."""
    tasks, queries, cells = 50, 40, []
    ids = answered(tasks=tasks).classes
    for s in range(3):
        random = generator(s, "far apart")
        right = torch.randint(10 * s, 10 * s + 19, (tasks, 3), generator=random)
        hard = torch.rand(9, generator=random) / 2
        for more, arm in ((0, "uniform"), (1, "better"), (0, "same")):
            cells.append(cell(arm, s, Answers(ids, (right + more) / queries, hard + more / 4, queries)))
    study = compare(cells, "uniform", seed=0, count=50)
    better, same = study.settings[SETTING][1:]
    for name in MEASURES:
        found = better.differences[name]
        assert found.mean == pytest.approx(1 / 4 if name == HARD else 1 / queries, abs=1e-6)
        assert found.half_corrected < 1e-6
        assert found.proven
        assert (same.differences[name].mean, same.differences[name].half) == (0, 0)
        assert not same.differences[name].proven


def test_where_seeds_agree_the_interval_is_that_over_tasks(answered, cell):
    """A mean over tasks has a known standard error; the resamples have to find it for both sets of tasks."""
    tasks, judged, count = 300, 80, 2000
    base = answered(tasks=tasks, judged=judged)
    other = changed(base, answered(tasks=tasks, seed=1).recall, answered(judged=judged, seed=2).judged)
    cells = [cell(arm, s, a) for s in range(3) for arm, a in (("uniform", base), ("other", other))]
    cells.append(cell("third", 0, base))
    found = compare(cells, "uniform", seed=0, count=count).settings[SETTING][1].differences
    near = 5 / math.sqrt(2 * count)
    for name, apart in (
        (ACCURACY, other.accuracy - base.accuracy),
        (HARD, other.judged.double() - base.judged.double()),
    ):
        error = float(apart.std(correction=0)) / math.sqrt(len(apart))
        assert found[name].half == pytest.approx(stats.norm.ppf(0.975) * error, rel=near)
        # two arms are compared: 0.025 are shared out to the two sides
        assert found[name].half_corrected == pytest.approx(stats.norm.ppf(1 - 0.025 / 2) * error, rel=near)


def test_with_one_seed_nothing_is_proven(answered, cell):
    base = answered()
    better = changed(base, torch.ones_like(base.recall))
    study = compare([cell("uniform", 0, base), cell("better", 0, better)], "uniform", seed=0, count=10)
    found = study.settings[SETTING][1]
    assert math.isnan(found.absolute[ACCURACY].deviation)
    assert found.differences[ACCURACY].mean > 0.2
    assert math.isnan(found.differences[ACCURACY].half)
    assert math.isnan(found.differences[ACCURACY].half_corrected)
    assert not found.differences[ACCURACY].proven


def test_without_judged_tasks_all_other_measures_stand(answered, cell):
    base = answered(judged=0)
    other = changed(base, answered(seed=1).recall)
    cells = [cell(arm, s, a) for s in range(2) for arm, a in (("uniform", base), ("other", other))]
    found = compare(cells, "uniform", seed=0, count=10).settings[SETTING][1]
    assert math.isnan(found.absolute[HARD].mean)
    assert math.isnan(found.differences[HARD].half)
    assert all(math.isfinite(found.differences[name].half) for name in MEASURES if name != HARD)


def test_arms_that_share_no_seed_or_setting_have_no_difference(answered, cell):
    a, b = answered(), answered(way=2)
    cells = [cell("uniform", 0, {"x": a}), cell("late", 1, {"x": a, "y": b})]
    study = compare(cells, "uniform", seed=0, count=5)
    assert study.settings["x"][1].differences == {}
    assert [r.arm for r in study.settings["y"]] == ["late"]
    assert study.compared == 1


def test_what_cannot_be_compared_is_refused(answered, cell):
    base = answered()
    with pytest.raises(UserError, match="no arm is called uniform; there are a, b"):
        compare([cell("a", 0, base), cell("b", 0, base)], "uniform", seed=0)
    with pytest.raises(UserError, match="no arm is called uniform; there are none"):
        compare([], "uniform", seed=0)
    with pytest.raises(UserError, match="a: seed 1 is given twice"):
        compare([cell("uniform", 1, base), cell("a", 1, base), cell("a", 1, base)], "uniform", seed=0)
    for other in (answered(seed=1), answered(tasks=41), answered(queries=7)):
        cells = [cell("uniform", 0, base), cell("a", 2, other)]
        with pytest.raises(UserError, match="a with seed 2 answered other tasks than uniform with seed 0"):
            compare(cells, "uniform", seed=0)
    fewer = changed(base, base.recall, base.judged[:3])
    compare([cell("uniform", 0, base), cell("uniform", 1, fewer)], "uniform", seed=0, count=2)
    cells = [cell("uniform", 0, fewer), cell("uniform", 1, base), cell("a", 1, fewer)]
    with pytest.raises(UserError, match="a with seed 1 answered other tasks than uniform with seed 1"):
        compare(cells, "uniform", seed=0)


def simulate(seeds: int, effects: tuple[float, float, float], true: float, studies: int = 300):
    """Shares of studies of 6 arms: whose first interval covers the truth; that prove any wrong; the first.

    Effects: deviations of an arm's seeds, of an arm's tasks and of the rest. The first arm differs by `true`.
    """
    tasks, arms, resampled = 60, 6, 100
    random = generator(0, "simulate", seeds)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    of_seeds, of_tasks, rest = effects
    covers = wrong = proven = 0
    for _ in range(studies):
        shared = normal(1, seeds, 1) + normal(1, 1, tasks)
        own = of_seeds * normal(arms + 1, seeds, 1) + of_tasks * normal(arms + 1, 1, tasks)
        scores = shared + own + rest * normal(arms + 1, seeds, tasks)
        scores[1] += true
        weights = torch.cat([torch.ones(1, tasks), resamples(resampled, tasks, random)])
        values = scores @ weights.T / tasks
        found = [difference(range(seeds), values[a], values[0], arms) for a in range(1, arms + 1)]
        covers += abs(found[0].mean - true) <= found[0].half
        proven += found[0].proven
        wrong += any(d.proven for d in found[true != 0 :])
    return covers / studies, wrong / studies, proven / studies


def at_most(share: float, of: int) -> float:
    """The share that `of` draws of this probability pass once in 10,000 times."""
    return float(stats.binom.ppf(1 - 1e-4, of, share)) / of


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(
    ("effects", "tight"),
    [
        ((0.1, 0.0, 0.0), True),  # seeds alone
        ((0.0, 1.0, 0.0), True),  # tasks alone
        ((0.1, 0.2, 0.2), False),  # seeds above all: common degrees of freedom go wrong here
        ((0.03, 0.3, 0.3), False),
        ((0.0, 0.0, 1.0), False),  # the rest, which counts twice
    ],
)
def test_intervals_hold_their_level_in_simulated_studies(seeds, effects, tight):
    covers, wrong, _ = simulate(seeds, effects, true=0.0)
    assert 1 - covers <= at_most(0.05, 300)
    assert wrong <= at_most(0.05, 300)
    if tight:  # 95 %, not more: a part that stands alone is not made wider
        assert covers <= at_most(0.95, 300)


def test_a_true_difference_is_found_and_covered():
    covers, wrong, proven = simulate(5, (0.03, 0.1, 0.2), true=0.3)
    assert covers >= 1 - at_most(0.05, 300)
    assert wrong <= at_most(0.05, 300)
    assert proven > 0.95


def test_answers_to_queries_prove_no_difference_that_is_not_there(cell):
    """Whole studies: right answers are drawn query by query from what class, task, seed and arm add up to."""
    studies, seeds, tasks, way, classes, queries, arms = 120, 3, 80, 3, 12, 5, ("uniform", "a", "b")
    proven, outside = dict.fromkeys(MEASURES, 0), dict.fromkeys(MEASURES, 0)
    for i in range(studies):
        random = generator(i, "whole studies")
        ids = torch.rand(tasks, classes, generator=random).argsort(1)[:, :way]
        ease = 0.5 + 0.2 * torch.rand(classes, generator=random)[ids]
        ease = ease + 0.1 * torch.randn(tasks, 1, generator=random)
        cells = []
        for s in range(seeds):
            hard = torch.rand(30, generator=random)
            for arm in arms:
                chance = (ease + 0.02 * torch.randn((), generator=random)).clamp(0, 1)
                right = torch.rand(queries, tasks, way, generator=random) < chance
                judged = (hard + torch.rand(30, generator=random)) / 2
                cells.append(cell(arm, s, Answers(ids, right.float().mean(0), judged, queries)))
        results = compare(cells, "uniform", seed=i, count=40).settings[SETTING][1:]
        for name in MEASURES:
            proven[name] += any(r.differences[name].proven for r in results)
            outside[name] += abs(results[0].differences[name].mean) > results[0].differences[name].half
    assert all(proven[name] / studies <= at_most(0.05, studies) for name in MEASURES), proven
    assert all(outside[name] / studies <= at_most(0.05, studies) for name in MEASURES), outside
    assert sum(outside.values()) > 0  # nor so wide that nothing is ever outside
