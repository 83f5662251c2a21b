"""What is believed of a class's recall, against loops in plain Python and scipy's distributions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import beta, binomtest, kstest

from mtl.runtime.seeds import generator
from mtl.samplers.recall_based import RecallPosterior, log_softmax, with_floor
from mtl.samplers.weighted_draw import draw_by_logs

QUERIES = 5


def _holding(right, wrong):
    """A posterior that rests on these answers."""
    posterior = RecallPosterior(len(right), 0.9)
    posterior.load_state_dict(
        {name: torch.tensor(v, dtype=torch.float64) for name, v in (("right", right), ("wrong", wrong))}
    )
    return posterior


@pytest.mark.parametrize("keep", [0.0, 0.37, 0.9, 1.0])
def test_answers_are_added_as_a_loop_over_visits_adds_them(random_solved, keep):
    posterior = RecallPosterior(9, keep)
    right, wrong = [0.0] * 9, [0.0] * 9
    for seed in range(30):
        batch, outcome = random_solved(3, 4, 8, seed, queries=QUERIES)  # class 8 is never met
        posterior.add(batch, outcome)
        for task, recall in zip(batch.classes.tolist(), outcome.recall.tolist(), strict=True):
            for c, r in zip(task, recall, strict=True):
                right[c] = keep * right[c] + r * QUERIES
                wrong[c] = keep * wrong[c] + (1 - r) * QUERIES
    expected = [(a + 1) / (a + b + 2) for a, b in zip(right, wrong, strict=True)]
    assert posterior.right.tolist() == pytest.approx(right, rel=1e-6, abs=1e-6)
    assert posterior.wrong.tolist() == pytest.approx(wrong, rel=1e-6, abs=1e-6)
    assert posterior.mean().tolist() == pytest.approx(expected, rel=1e-6)
    assert posterior.mean()[8] == 0.5


def test_visits_in_one_meta_batch_come_one_after_the_other(solved_tasks):
    posterior = RecallPosterior(3, 0.5)
    posterior.add(
        *solved_tasks([[0, 1], [2, 0], [0, 1]], [[1.0, 0.5], [0.0, 0.25], [0.75, 1.0]])
    )  # 4 queries
    assert posterior.right.tolist() == [(4 * 0.5 + 1) * 0.5 + 3, 2 * 0.5 + 4, 0]
    assert posterior.wrong.tolist() == [(0 * 0.5 + 3) * 0.5 + 1, 2 * 0.5 + 0, 4]


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9, 0.98])
def test_in_the_long_run_it_rests_on_the_queries_of_so_many_visits(random_solved, keep):
    posterior = RecallPosterior(4, keep)
    visits = 1 if keep == 0 else math.ceil(math.log(1e-6) / math.log(keep))
    for seed in range(visits):
        posterior.add(*random_solved(1, 4, 4, seed, queries=QUERIES))
    answers = posterior.right + posterior.wrong
    assert answers.tolist() == pytest.approx([QUERIES / (1 - keep)] * 4, rel=1e-5)


def test_where_nothing_fades_the_mean_is_that_of_all_answers(random_solved):
    posterior, right = RecallPosterior(4, 1.0), torch.zeros(4)
    for seed in range(40):
        batch, outcome = random_solved(1, 4, 4, seed, queries=QUERIES)
        posterior.add(batch, outcome)
        right[batch.classes[0]] += outcome.recall[0] * QUERIES
    expected = (right.double() + 1) / (40 * QUERIES + 2)
    assert posterior.mean().tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_draws_follow_the_beta_distributions():
    right, wrong = [0.0, 3.0, 120.0, 0.4], [0.0, 9.5, 4.0, 77.0]
    posterior, random = _holding(right, wrong), generator(0, "beta")
    drawn = np.stack([posterior.sample(random) for _ in range(3000)])
    for c, (a, b) in enumerate(zip(right, wrong, strict=True)):
        law = beta(a + 1, b + 1)
        assert posterior.mean()[c] == pytest.approx(law.mean())
        assert drawn[:, c].mean() == pytest.approx(law.mean(), abs=4 * law.std() / math.sqrt(3000))
        assert drawn[:, c].var() == pytest.approx(law.var(), rel=0.15)
        assert kstest(drawn[:, c], law.cdf).pvalue > 1e-4
    assert abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.08


def test_a_draw_is_a_function_of_the_answers_and_the_generator():
    posterior = _holding([3.0, 1.0], [2.0, 8.0])
    one, other = generator(0), generator(0)
    assert posterior.sample(one).tolist() == posterior.sample(other).tolist()
    assert posterior.sample(one).tolist() != posterior.sample(one).tolist()
    assert posterior.sample(generator(0)).tolist() != posterior.sample(generator(1)).tolist()


def test_a_state_holds_all_and_does_not_change_behind_the_back_of_its_checkpoint(random_solved):
    posterior = RecallPosterior(6, 0.9)
    posterior.add(*random_solved(5, 3, 6, 0))
    state = posterior.state_dict()
    noted = {k: v.clone() for k, v in state.items()}
    other = RecallPosterior(6, 0.9)
    other.load_state_dict(state)
    assert other.mean().tolist() == posterior.mean().tolist()
    for each in (posterior, other):
        each.add(*random_solved(5, 3, 6, 1))
    assert other.mean().tolist() == posterior.mean().tolist()
    assert all(torch.equal(state[k], noted[k]) for k in noted)


hardnesses = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(np.array)


@given(hardnesses, st.floats(1e-3, 10), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_weights_are_those_of_scipy_with_the_floor_beneath_them(hardness, temperature, floor):
    plain = softmax(hardness / temperature)
    np.testing.assert_allclose(np.exp(log_softmax(hardness, temperature)), plain, rtol=1e-9, atol=1e-300)
    floored = np.exp(log_softmax(hardness, temperature, floor))
    np.testing.assert_allclose(floored, (1 - floor) * plain + floor / len(plain), rtol=1e-9, atol=1e-300)
    assert floored.sum() == pytest.approx(1)
    assert floored.min() >= floor / len(plain) * (1 - 1e-9)


def test_a_whole_floor_levels_everything():
    assert np.exp(log_softmax(np.array([0.0, 5.0]), 1e-3, 1.0)).tolist() == pytest.approx([0.5, 0.5])


def test_draws_by_logarithms_follow_their_weights_one_after_another():
    weights = np.array([0.5, 0.3, 0.2])
    draws = [tuple(draw_by_logs(np.log(weights), 2, generator(0, "t", i)).tolist()) for i in range(4000)]
    for first, second in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        share = weights[first] * weights[second] / (1 - weights[first])
        assert binomtest(draws.count((first, second)), 4000, share).pvalue > 1e-4


def test_draws_by_logarithms_keep_the_order_of_weights_that_no_float_can_hold():
    drawn = draw_by_logs(np.array([-3000.0, 0.0, -1000.0, -2000.0]), 3, generator(0, "t"))
    assert drawn.tolist() == [1, 2, 3]


def test_a_floor_scales_weights_that_do_not_sum_to_one_and_levels_those_that_are_nothing():
    weights = torch.tensor([3.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    assert with_floor(weights, 0.2).tolist() == pytest.approx([0.65, 0.25, 0.05, 0.05])
    assert with_floor(torch.zeros(4, dtype=torch.float64), 0.2).tolist() == [0.25] * 4
