"""Hard tasks by AdaBoost: when they come, what they hold, and that a state says all."""

import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_options import sampler_of
from scipy.stats import binomtest

from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape, Outcome
from mtl.samplers.boosted_pool import META_TEST

UNITS = ("task", "class", "pair")
ALWAYS = {"share": 1.0, "warm_up": 0.0, "fade": 0.0}
SHARP = {"rate": 1.0, "forget": 1.0, "floor": 0.01, "cap": 6.0}


def _sampler(index, seed=0, episodes=1000, **config):
    config = {"unit": "class", "every": 5, "pool": 30, **config}
    return sampler_of("boosted_pool", index, EpisodeShape(5, 1, 3), seed, episodes, **config)


def _round(sampler, solved, recall, step=0):
    pool = sampler.request(step)
    return sampler.receive(pool, solved(pool, recall))


def test_the_share_climbs_stays_and_falls(index):
    sampler = _sampler(index, episodes=100, share=0.5, warm_up=0.1, fade=0.2)
    by_hand = {0: 0.0, 5: 0.25, 10: 0.5, 50: 0.5, 80: 0.5, 90: 0.25, 95: 0.125, 100: 0.0, 120: 0.0}
    assert {n: sampler.schedule.share_at(n) for n in by_hand} == pytest.approx(by_hand)


def test_the_share_is_level_without_warm_up_and_fade(index):
    sampler = _sampler(index, episodes=100, share=0.3, warm_up=0.0, fade=0.0)
    assert {sampler.schedule.share_at(n) for n in range(101)} == {0.3}


def test_the_whole_training_may_be_warm_up_and_fade(index):
    sampler = _sampler(index, episodes=100, share=1.0, warm_up=0.5, fade=0.5)
    assert [sampler.schedule.share_at(n) for n in (0, 25, 50, 75, 100)] == pytest.approx([0, 0.5, 1, 0.5, 0])


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_is_hard_before_the_first_round(index, unit):
    assert set(_sampler(index, unit=unit, **ALWAYS).draw(100).origin) == {"uniform"}


@pytest.mark.parametrize("unit", UNITS)
def test_of_the_episodes_after_a_round_the_share_is_hard(index, solved, unit):
    sampler = _sampler(index, unit=unit, share=0.3, warm_up=0.0, fade=0.0)
    _round(sampler, solved, {3: 0.0})
    hard = sampler.draw(1500).origin.count("hard")
    assert binomtest(hard, 1500, 0.3).pvalue > 1e-4


def test_the_share_of_each_stretch_is_its_own(index, solved):
    sampler = _sampler(index, episodes=1000, share=1.0, warm_up=0.5, fade=0.5)
    _round(sampler, solved, {3: 0.0})
    hard = [sampler.draw(100).origin.count("hard") for _ in range(10)]
    for count, share in zip(hard, [0.1, 0.3, 0.5, 0.7, 0.9, 0.9, 0.7, 0.5, 0.3, 0.1], strict=True):
        assert binomtest(count, 100, share).pvalue > 1e-4


@pytest.mark.parametrize("unit", UNITS)
def test_its_uniform_episodes_are_those_of_the_uniform_sampler(index, solved, unit):
    sampler = _sampler(index, unit=unit, share=0.5, warm_up=0.0, fade=0.0)
    _round(sampler, solved, {3: 0.0})
    batch, plain = sampler.draw(60), CategoriesSampler.of(index, EpisodeShape(5, 1, 3), 0).draw(60)
    same = (batch.image_indices() == plain.image_indices()).all(1).tolist()
    assert same == [origin == "uniform" for origin in batch.origin]
    assert 0 < sum(same) < 60


def test_classes_that_failed_are_drawn_more_often(index, solved):
    sampler = _sampler(index, unit="class", pool=60, **ALWAYS, **SHARP)
    _round(sampler, solved, {3: 0.0, 7: 0.0})
    tasks = [set(task) for task in sampler.draw(300).classes.tolist()]
    often = [sum(c in task for task in tasks) / 300 for c in range(20)]
    assert min(often[3], often[7]) > 0.9  # a quarter of the episodes if drawn uniformly
    assert max(often[c] for c in range(20) if c not in {3, 7}) < 0.3


def test_pairs_that_were_confused_are_drawn_together(index, solved):
    sampler = _sampler(index, unit="pair", pool=200, **ALWAYS, **SHARP)
    pool = sampler.request(0)
    outcome = solved(pool, {})
    for t, classes in enumerate(pool.classes.tolist()):
        if {3, 7} <= set(classes):
            i, j = classes.index(3), classes.index(7)
            outcome.confusion[t, [i, j]] = 0.0
            outcome.confusion[t, [i, j], [j, i]] = 1.0  # each is always taken for the other
    sampler.receive(pool, outcome)
    tasks = [set(task) for task in sampler.draw(300).classes.tolist()]
    assert sum({3, 7} <= task for task in tasks) / 300 > 0.5  # 1 in 19 if drawn uniformly


def test_tasks_that_failed_are_drawn_again(index, solved):
    sampler = _sampler(index, unit="task", pool=10, **ALWAYS, **SHARP)
    pool = sampler.request(0)
    outcome = solved(pool, {})
    outcome.accuracy[2] = 0.0
    sampler.receive(pool, outcome)
    tasks = sampler.draw(200).classes.tolist()
    assert tasks.count(pool.classes[2].tolist()) / 200 > 0.7  # a tenth if drawn uniformly
    assert all(task in pool.classes.tolist() for task in tasks)


def _round_at(unit, way, right, seed=0):
    """The round of a learner that gives the true class the probability `right`, all others the same."""
    index = ClassIndex.of(torch.arange(way + 3).repeat(4))
    sampler = sampler_of("boosted_pool", index, EpisodeShape(way, 1, 3), seed, 100, unit=unit, pool=8)
    pool = sampler.request(0)
    table = torch.full((len(pool), way, way), (1 - right) / (way - 1))
    table.diagonal(dim1=1, dim2=2).fill_(right)
    each = torch.full((len(pool), way), right)
    return sampler.receive(pool, Outcome(1 - each.mean(1), each.mean(1), each, table))


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=20, deadline=None)
@given(way=st.integers(2, 40), seed=st.integers(0, 99))
def test_a_learner_at_chance_has_no_weight_whatever_n(unit, way, seed):
    ended = _round_at(unit, way, 1 / way, seed)
    assert ended.alpha == pytest.approx(0, abs=1e-6)
    assert ended.epsilon == pytest.approx(0.5 if unit == "pair" else 1 - 1 / way, abs=1e-6)
    torch.testing.assert_close(ended.weights, torch.full_like(ended.weights, 1 / len(ended.weights)))


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=20, deadline=None)
@given(way=st.integers(3, 30), above=st.floats(0.05, 0.9))
def test_a_learner_above_chance_has_the_weight_of_samme(unit, way, above):
    right = 1 / way + above * (1 - 1 / way)
    ended = _round_at(unit, way, right)
    others = (1 - right) / (way - 1)
    samme = math.log(right / others)  # ln((1 - ε)/ε) + ln(N - 1), and of the two-way task ln((1 - ε)/ε)
    assert ended.alpha == pytest.approx(min(0.5 * samme, 2.0), abs=1e-5)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("right", "alpha"), [(0.0, 0.0), (1.0, 2.0)])
def test_a_learner_always_right_or_always_wrong_has_a_finite_weight(unit, right, alpha):
    ended = _round_at(unit, 5, right)
    assert ended.alpha == alpha
    assert torch.isfinite(ended.weights).all()


@pytest.mark.parametrize("unit", UNITS)
def test_hard_tasks_get_fresh_images(index, solved, unit):
    sampler = _sampler(index, unit=unit, **ALWAYS, **SHARP)
    pool = sampler.request(0)
    sampler.receive(pool, solved(pool, {3: 0.0}))
    batch = sampler.draw(100)
    assert set(batch.origin) == {"hard"}
    assert (batch.support % 20 == batch.classes[..., None]).all()
    assert (batch.query % 20 == batch.classes[..., None]).all()
    seen = [tuple(row) for row in (*pool.image_indices().tolist(), *batch.image_indices().tolist())]
    assert all(len(set(task)) == 20 for task in seen)
    assert len(set(seen)) == len(seen)


def test_where_the_config_says_so_a_hard_task_keeps_its_images(index, solved):
    sampler = _sampler(index, unit="task", pool=10, fresh=False, **ALWAYS)
    pool = sampler.request(0)
    sampler.receive(pool, solved(pool, {3: 0.0}))
    first = {tuple(row) for row in pool.image_indices().tolist()}
    assert {tuple(row) for row in sampler.draw(50).image_indices().tolist()} <= first
    assert {tuple(row) for row in sampler.request(5).image_indices().tolist()} == first


@pytest.mark.parametrize("unit", UNITS)
def test_a_pool_comes_every_so_many_steps(index, unit):
    sampler = _sampler(index, unit=unit)
    due = [step for step in range(16) if sampler.request(step) is not None]
    assert due == [0, 5, 10, 15]


@pytest.mark.parametrize("unit", UNITS)
def test_a_pool_is_uniform_and_says_what_it_is(index, unit):
    pool = _sampler(index, unit=unit).request(0)
    assert pool.origin == (META_TEST,) * 30
    assert (len(pool), pool.way, pool.shot, pool.queries) == (30, 5, 1, 3)
    training = {tuple(row) for row in _sampler(index).draw(200).image_indices().tolist()}
    assert not training & {tuple(row) for row in pool.image_indices().tolist()}


@pytest.mark.parametrize("unit", UNITS)
def test_a_pool_depends_on_nothing_but_the_state(index, solved, assert_same, unit):
    one, other = _sampler(index, unit=unit), _sampler(index, unit=unit)
    _round(one, solved, {3: 0.0})
    state = one.state_dict()
    one.draw(17)  # draws of training move no pool
    other.load_state_dict(state)
    assert_same(one.request(5), other.request(5))


def test_pools_of_two_rounds_hold_other_tasks(index, solved):
    sampler = _sampler(index)
    first = sampler.request(0)
    assert not torch.equal(first.classes, sampler.request(5).classes)


def test_where_tasks_carry_the_weights_pools_hold_the_same_tasks_with_other_images(index, solved):
    sampler = _sampler(index, unit="task")
    first = sampler.request(0)
    sampler.receive(first, solved(first, {}))
    second = sampler.request(5)
    assert torch.equal(first.classes, second.classes)
    assert not (first.image_indices() == second.image_indices()).all(1).any()


def test_training_episodes_move_no_weight(index, solved):
    sampler = _sampler(index, **ALWAYS)
    _round(sampler, solved, {3: 0.0})
    before = sampler.weights.clone()
    batch = sampler.draw(10)
    assert sampler.update(batch, solved(batch, {}, otherwise=0.0)) is None
    assert torch.equal(sampler.weights, before)


@pytest.mark.parametrize("unit", UNITS)
def test_a_round_says_what_it_was(index, solved, unit):
    sampler = _sampler(index, unit=unit, share=0.4, warm_up=0.0, fade=0.0)
    pool = sampler.request(0)
    outcome = solved(pool, {3: 0.0}, otherwise=0.9)
    ended = sampler.receive(pool, outcome)
    assert (ended.number, ended.unit, ended.pool, ended.hard_share) == (0, unit, 30, 0.4)
    assert ended.accuracy == pytest.approx(float(outcome.accuracy.mean()))
    assert 0 < ended.epsilon < 0.5
    assert ended.alpha > 0
    assert float(ended.weights.sum()) == pytest.approx(1)
    assert len(ended.members(torch.arange(len(ended.weights)))) == len(ended.weights)
    assert _round(sampler, solved, {}, 5).number == 1


def test_a_round_by_hand(index, solved):
    """Every class is in the pool; class 3 always errs and the 19 others never."""
    sampler = _sampler(index, pool=60, rate=0.5, forget=0.9, floor=0.1, cap=3.0)
    ended = _round(sampler, solved, {3: 0.0})
    alpha = 0.5 * (math.log(19) + math.log(4))  # ε is 1/20, and N is 5
    assert (ended.epsilon, ended.alpha) == pytest.approx((1 / 20, alpha))
    expected = torch.full((20,), 1 / (19 + math.exp(alpha)), dtype=torch.float64)
    expected[3] *= math.exp(alpha)
    torch.testing.assert_close(ended.weights, 0.9 * expected + 0.1 / 20)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("stop", [1, 4, 5, 6, 13])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(
    index, random_outcome, assert_same, unit, stop
):
    def train(sampler, first, last):
        seen = []
        for step in range(first, last):
            pool = sampler.request(step)
            if pool is not None:
                sampler.receive(pool, random_outcome(pool, step))
            seen.append((pool, sampler.draw(4)))
        return seen

    config = {"unit": unit, "share": 0.6, "warm_up": 0.1, "fade": 0.1, "episodes": 80}
    never_stopped = _sampler(index, **config)
    whole = train(never_stopped, 0, 20)
    first = _sampler(index, **config)
    train(first, 0, stop)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = _sampler(index, **config)
    second.load_state_dict(torch.load(file, weights_only=True))
    for (pool, batch), (pool_then, batch_then) in zip(train(second, stop, 20), whole[stop:], strict=True):
        assert_same(batch, batch_then)
        assert (pool is None) == (pool_then is None)
        if pool is not None:
            assert_same(pool, pool_then)
    assert torch.equal(second.weights, never_stopped.weights)


def test_a_state_does_not_change_behind_the_back_of_its_checkpoint(index, solved):
    sampler = _sampler(index)
    _round(sampler, solved, {3: 0.0})
    state = sampler.state_dict()
    noted = state["weights"].clone()
    _round(sampler, solved, {5: 0.0}, 5)
    assert torch.equal(state["weights"], noted)
    assert state["rounds"] == 1
