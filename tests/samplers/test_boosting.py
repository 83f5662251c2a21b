import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.config.hard_tasks import Boosting
from mtl.runtime.seeds import generator
from mtl.samplers import boosting
from mtl.samplers.boosting import BoostStep


def boost(
    weights: torch.Tensor, errors: torch.Tensor, visited: torch.Tensor, how: Boosting, way: int = 5
) -> BoostStep:
    return boosting.boost(weights, errors, visited, how, way)


def learner_weight(epsilon: float, how: Boosting, way: int = 5) -> float:
    return boosting.learner_weight(epsilon, how, way)


def rule(**changes: float) -> Boosting:
    return Boosting(**({"rate": 1.0, "forget": 1.0, "floor": 0.0, "cap": 10.0} | changes))


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def everywhere(units: int) -> torch.Tensor:
    return torch.ones(units, dtype=torch.bool)


def test_a_round_computed_by_hand():
    # e = 0.2, 0.6, 0.4 at weights 0.5, 0.25, 0.25:  ε = 0.1 + 0.15 + 0.1 = 0.35
    # α = 0.5 (ln(0.65/0.35) + ln 4) = 0.5 (0.619039 + 1.386294) = 1.002667
    # w^0.9 e^(αe):
    # 0.535887 · 1.222055 = 0.654883, 0.287175 · 1.825038 = 0.524105, 0.287175 · 1.493429 = 0.428875
    # sum 1.607863: 0.407300, 0.325964, 0.266736;  0.9 of it + 0.1/3: 0.399903, 0.326701, 0.273396
    step = boost(
        vector(0.5, 0.25, 0.25), vector(0.2, 0.6, 0.4), everywhere(3), rule(rate=0.5, forget=0.9, floor=0.1)
    )
    assert step.epsilon == pytest.approx(0.35, abs=1e-12)
    assert step.alpha == pytest.approx(1.002667, abs=1e-6)
    assert step.weights.tolist() == pytest.approx([0.399903, 0.326701, 0.273396], abs=2e-6)


def test_a_round_with_units_not_visited_computed_by_hand():
    # ε over the visited, 0.4 and 0.2: (0.4 · 0.25 + 0.2 · 0.7)/0.6 = 0.4; α = ln(0.6/0.4) + ln 4 = ln 6
    # e - ε = -0.15, 0.3: 0.4 6^-0.15 = 0.305729, 0.2 · 6^0.3 = 0.342354, and 0.3, 0.1 as they were
    visited = torch.tensor([True, False, True, False])
    step = boost(vector(0.4, 0.3, 0.2, 0.1), vector(0.25, math.nan, 0.7, math.nan), visited, rule())
    assert step.epsilon == pytest.approx(0.4, abs=1e-12)
    assert step.alpha == pytest.approx(1.791759, abs=1e-6)
    total = 0.305729 + 0.342354 + 0.3 + 0.1
    assert step.weights.tolist() == pytest.approx(
        [0.305729 / total, 0.3 / total, 0.342354 / total, 0.1 / total], abs=2e-6
    )


def test_with_every_unit_visited_it_is_the_rule_of_adaboost():
    weights = vector(0.1, 0.2, 0.3, 0.4)
    errors = vector(0.9, 0.1, 0.5, 0.3)
    step = boost(weights, errors, everywhere(4), rule(forget=0.7))
    plain = weights**0.7 * torch.exp(step.alpha * errors)
    torch.testing.assert_close(step.weights, plain / plain.sum(), rtol=1e-12, atol=0)


def plainly(
    weights: torch.Tensor, errors: torch.Tensor, visited: torch.Tensor, how: Boosting
) -> tuple[torch.Tensor, float]:
    """The rule as its docstring has it, without logarithms."""
    units = len(weights)
    epsilon = float((weights * errors)[visited].sum() / weights[visited].sum())
    moved = (units * weights) ** how.forget / units
    moved = moved * torch.exp(learner_weight(epsilon, how) * (errors - epsilon))
    new = torch.where(visited, moved, weights)
    return (1 - how.floor) * new / new.sum() + how.floor / units, epsilon


@pytest.mark.parametrize("share", [0.004, 0.5, 1.0])
@pytest.mark.parametrize("forget", [0.0, 0.9, 1.0])
def test_many_units_against_the_plain_rule(share, forget):
    g = generator(0, "rule", str(share), str(forget))
    weights, errors, chance = (torch.rand(20_000, dtype=torch.float64, generator=g) for _ in range(3))
    weights = weights**4 / (weights**4).sum()
    given_rule = rule(forget=forget, floor=0.1)
    expected, epsilon = plainly(weights, errors, chance <= share, given_rule)
    step = boost(weights, errors, chance <= share, given_rule)
    assert step.epsilon == pytest.approx(epsilon, rel=1e-11)
    torch.testing.assert_close(step.weights, expected, rtol=1e-10, atol=0)


def test_visited_units_that_weigh_nothing_count_alike():
    visited = torch.tensor([True, True, False])
    step = boost(vector(0.0, 0.0, 1.0), vector(1e-9, 3e-9, math.nan), visited, rule(floor=0.3))
    assert step.epsilon == pytest.approx(2e-9, rel=1e-12)
    assert step.weights.tolist() == pytest.approx([0.1, 0.1, 0.8], abs=1e-12)


def test_the_result_does_not_depend_on_the_number_of_threads():
    weights, errors = (torch.rand(100_000, dtype=torch.float64, generator=generator(0, n)) for n in range(2))
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(boost(weights / 50_000, errors, everywhere(100_000), rule()).weights)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_a_visit_alone_moves_nothing():
    # All visited have the same error: nobody is harder than anybody, whatever the power on old weights.
    units = 1000
    uniform = torch.full((units,), 1 / units, dtype=torch.float64)
    visited = torch.arange(units) < 40
    for error in (0.0, 0.1, 0.9):
        step = boost(uniform, torch.full((units,), error, dtype=torch.float64), visited, rule(forget=0.5))
        torch.testing.assert_close(step.weights, uniform, rtol=1e-12, atol=0)


def test_forgetting_leads_back_to_the_uniform_weight():
    step = boost(vector(0.7, 0.2, 0.1), vector(0.3, 0.3, 0.3), everywhere(3), rule(forget=0.0))
    assert step.weights.tolist() == pytest.approx([1 / 3] * 3, abs=1e-12)


def test_alpha_between_nothing_and_the_cap():
    assert learner_weight(0.0, rule(cap=2.0)) == 2.0
    assert learner_weight(1.0, rule()) == 0.0
    assert learner_weight(0.8, rule()) == 0.0  # chance of 5 ways
    assert 0 < learner_weight(0.799, rule()) < 0.01
    assert learner_weight(0.0, rule(rate=0.0)) == 0.0
    assert learner_weight(0.5, rule(), way=2) == 0.0
    assert learner_weight(0.25, rule(), way=2) == pytest.approx(math.log(3))


def test_no_error_and_nothing_but_errors():
    weights = vector(0.6, 0.3, 0.1)
    for error, alpha in ((0.0, 10.0), (1.0, 0.0)):
        step = boost(weights, torch.full((3,), error), everywhere(3), rule())
        assert step.epsilon == pytest.approx(error, abs=1e-12)
        assert step.alpha == alpha
        torch.testing.assert_close(step.weights, weights)


def test_a_round_that_visited_nobody_changes_nothing():
    weights = vector(0.6, 0.3, 0.1)
    step = boost(weights, torch.zeros(3), torch.zeros(3, dtype=torch.bool), rule(floor=0.5))
    assert math.isnan(step.epsilon)
    assert step.alpha == 0
    assert torch.equal(step.weights, weights)
    assert step.weights is not weights


def test_the_weights_given_are_left_as_they_were():
    weights = vector(0.6, 0.3, 0.1)
    boost(weights, vector(0.1, 0.2, 0.3), everywhere(3), rule(floor=0.1))
    assert weights.tolist() == [0.6, 0.3, 0.1]


@pytest.mark.parametrize("error", [-0.1, 1.1, math.nan, math.inf])
def test_an_error_that_is_none_is_refused(error):
    with pytest.raises(ValueError, match="between 0 and 1"):
        boost(vector(0.5, 0.5), vector(0.5, error), everywhere(2), rule())


@pytest.mark.parametrize("change", [{"rate": -1}, {"cap": math.inf}, {"forget": 1.1}, {"floor": -0.1}])
def test_constants_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        rule(**change)


@st.composite
def rounds(draw):
    units = draw(st.integers(1, 30))
    share = st.floats(0, 1)
    raw = draw(st.lists(st.sampled_from([0.0, 1e-300, 1e-9, 0.1, 1.0, 7.0]), min_size=units, max_size=units))
    weights = torch.tensor(raw, dtype=torch.float64) + (0 if sum(raw) > 1e-9 else 1)
    errors = draw(st.lists(share, min_size=units, max_size=units))
    visited = draw(st.lists(st.booleans(), min_size=units, max_size=units))
    given_rule = Boosting(
        rate=draw(st.floats(0, 1e6)),
        forget=draw(share),
        floor=draw(share),
        cap=draw(st.floats(0, 1e6, exclude_min=True)),
    )
    return (
        weights / weights.sum(),
        torch.tensor(errors, dtype=torch.float64),
        torch.tensor(visited),
        given_rule,
        draw(st.integers(2, 50)),
    )


@given(rounds())
@settings(max_examples=300, deadline=None)
def test_weights_stay_weights(case):
    weights, errors, visited, given_rule, way = case
    step = boost(weights, errors, visited, given_rule, way)
    assert torch.isfinite(step.weights).all()
    assert float(step.weights.sum()) == pytest.approx(1, abs=1e-9)
    assert 0 <= step.alpha <= given_rule.cap
    if visited.any():
        assert bool((step.weights >= given_rule.floor / weights.numel() * (1 - 1e-12)).all())
        assert 0 <= step.epsilon <= 1


@given(rounds())
@settings(max_examples=300, deadline=None)
def test_more_error_never_gains_less(case):
    weights, errors, visited, given_rule, way = case
    weights = torch.full_like(weights, 1 / weights.numel())
    new = boost(weights, errors, visited, given_rule, way).weights[visited]
    by_error = new[errors[visited].argsort()]
    assert bool((by_error.diff() >= -1e-12).all())


def test_a_run_of_rounds_cannot_run_away():
    weights = torch.full((50,), 0.02, dtype=torch.float64)
    errors = torch.zeros(50, dtype=torch.float64)
    errors[0] = 1.0  # a unit whose labels are wrong: it fails for ever
    for _ in range(200):
        weights = boost(weights, errors, everywhere(50), rule(rate=0.5, forget=0.9, floor=0.1, cap=2)).weights
    assert weights[0] > 0.02
    assert float(weights[1:].min()) >= 0.1 / 50 * (1 - 1e-12)
