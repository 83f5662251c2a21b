"""Class-pair sampling out of the training's own tasks."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_options import sampler_of
from scipy.special import logsumexp
from scipy.stats import chisquare

from mtl.episodes.episode import EpisodeShape
from mtl.runtime.seeds import generator
from mtl.samplers.class_pair import PairPotentials

ALWAYS = {"share": 1.0, "warm_up": 0.0, "fade": 0.0}


def _sampler(index, **config):
    return sampler_of("class_pair", index, EpisodeShape(4, 1, 3), **ALWAYS, **config)


def _confuse(batch, outcome, pair):
    """Queries of either class of the pair always get for the other."""
    for t, classes in enumerate(batch.classes.tolist()):
        if set(pair) <= set(classes):
            i, j = (classes.index(c) for c in pair)
            outcome.confusion[t, [i, j]] = 0.0
            outcome.confusion[t, [i, j], [j, i]] = 1.0
    return outcome


def test_every_task_of_every_meta_batch_updates_the_potentials(index, random_outcome):
    sampler, alone = _sampler(index, rate=0.7, forget=0.8), PairPotentials(20, 0.7, 0.8)
    for step in range(10):
        batch = sampler.draw(5)
        outcome = random_outcome(batch, step)
        sampler.update(batch, outcome)
        for classes, confusion in zip(batch.classes, outcome.confusion, strict=True):
            alone.update(classes, confusion)
    assert (sampler.potentials.logs == alone.logs).all()
    assert not torch.equal(sampler.class_weights(), torch.full((20,), 1 / 20, dtype=torch.float64))
    for number in range(20):
        chosen = sampler.choose(number, generator(number))
        assert torch.equal(chosen, alone.draw(4, generator(number)))


def test_its_first_episodes_already_go_by_the_potentials(index):
    assert set(_sampler(index).draw(20).origin) == {"hard"}


def test_a_pair_that_is_confused_is_drawn_together(index, solved):
    sampler = _sampler(index, rate=2.0, forget=1.0, every=100)
    for _ in range(100):
        batch = sampler.draw(6)
        ended = sampler.update(batch, _confuse(batch, solved(batch, {}), (3, 7)))
    tasks = [set(task) for task in sampler.draw(200).classes.tolist()]
    assert sum({3, 7} <= task for task in tasks) / 200 > 0.9  # 3 in 95 if drawn uniformly
    assert ended.unit == "class"
    assert ended.weights[[3, 7]].tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def test_without_a_rate_every_pair_is_drawn_alike(index, solved):
    sampler = _sampler(index, rate=0.0)
    batch = sampler.draw(50)
    sampler.update(batch, _confuse(batch, solved(batch, {}), (3, 7)))
    assert sampler.class_weights().tolist() == pytest.approx([1 / 20] * 20)


def test_a_pair_that_is_told_apart_again_loses_its_weight(index, solved):
    sampler = _sampler(index, rate=2.0, forget=0.8)
    seen = []
    for step in range(120):
        batch = sampler.draw(6)
        outcome = solved(batch, {})
        sampler.update(batch, _confuse(batch, outcome, (3, 7)) if step < 40 else outcome)
        seen.append(float(sampler.class_weights()[[3, 7]].sum()))
    assert seen[39] > 0.9
    assert seen[-1] == pytest.approx(0.1, abs=0.01)


P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always


def _tasks(count, way, classes, seed):
    """Random tasks: their classes, and confusions whose rows sum to 1."""
    random = generator(seed, "tasks")
    for _ in range(count):
        confusion = torch.rand(way, way, generator=random) ** 3
        yield torch.randperm(classes, generator=random)[:way], confusion / confusion.sum(1, keepdim=True)


def _dense(tasks, classes, rate, forget):
    """ln P (C, C) by the rule P_ij ← P_ij^τ exp(α p_ij), pair by pair."""
    logs = np.zeros((classes, classes))
    for chosen, confusion in tasks:
        told = confusion.double()
        for a, b in itertools.combinations(range(len(chosen)), 2):
            i, j = int(chosen[a]), int(chosen[b])
            either = float(told[a, b] + told[b, a]) / 2
            logs[i, j] = logs[j, i] = forget * logs[i, j] + rate * either
    return logs


def _first_pair(logs):
    """Each class's share of the first pairs, from ln P by scipy."""
    rows = logs.astype(np.float64).copy()
    np.fill_diagonal(rows, -np.inf)
    return np.exp(logsumexp(rows, axis=1) - logsumexp(rows))


def _trained(tasks, classes, rate, forget):
    potentials = PairPotentials(classes, rate, forget)
    for chosen, confusion in tasks:
        potentials.update(chosen, confusion)
    return potentials


@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(0, 2), st.floats(0, 3), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_potentials_are_those_of_a_dense_table(seed, way, more, rate, forget):
    classes = way + more
    tasks = list(_tasks(25, way, classes, seed))
    potentials = _trained(tasks, classes, rate, forget)
    apart = ~np.eye(classes, dtype=bool)
    table = np.ones((classes, classes))
    for chosen, confusion in tasks:
        told = ((confusion + confusion.T) / 2).double().numpy()
        at = np.ix_(chosen.numpy(), chosen.numpy())
        table[at] = table[at] ** forget * np.exp(rate * told)
    np.testing.assert_allclose(np.exp(potentials.logs.astype(np.float64))[apart], table[apart], rtol=1e-3)
    dense = _dense(tasks, classes, rate, forget)
    np.testing.assert_allclose(potentials.logs[apart], dense[apart], rtol=1e-5, atol=1e-5)
    assert np.isneginf(np.diag(potentials.logs)).all()
    assert np.array_equal(potentials.logs, potentials.logs.T)
    np.testing.assert_allclose(potentials.class_weights().numpy(), _first_pair(dense), rtol=1e-4)


def test_potentials_beyond_what_an_exponential_holds_are_right_in_their_logarithms():
    tasks = list(_tasks(1500, 4, 6, seed=1))
    dense = _dense(tasks, 6, rate=8.0, forget=1.0)
    assert dense.max() > math.log(np.finfo(np.float64).max)
    potentials = _trained(tasks, 6, rate=8.0, forget=1.0)
    apart = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(potentials.logs[apart], dense[apart], rtol=1e-5)
    # Rounding of logarithms near a thousand, in float32, is a part in 10 000 of what they stand for.
    np.testing.assert_allclose(potentials.class_weights().numpy(), _first_pair(potentials.logs), rtol=1e-9)
    drawn = potentials.draw(6, generator(0))
    assert sorted(drawn.tolist()) == list(range(6))


def test_sums_of_rows_stay_right_whenever_exponentials_count_from_a_new_peak():
    potentials, peaks = PairPotentials(7, 8.0, 0.998), set()
    for chosen, confusion in _tasks(400, 3, 7, seed=2):
        potentials.update(chosen, confusion)
        peaks.add(potentials.state_dict()["peak"])
        weights = potentials.class_weights().numpy()
        np.testing.assert_allclose(weights, _first_pair(potentials.logs), rtol=1e-9)
        assert weights.sum() == pytest.approx(1)
    assert len(peaks) > 3


def test_a_pair_far_above_all_others_is_drawn_and_others_after_it():
    confused = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    potentials = PairPotentials(6, 900.0, 1.0)
    potentials.update(torch.tensor([4, 1]), confused)
    random, third = generator(0), set()
    for _ in range(200):
        first, second, *others = potentials.draw(3, random).tolist()
        assert {first, second} == {1, 4}
        third |= set(others)
    assert third == {0, 2, 3, 5}


def test_classes_can_still_be_drawn_after_potentials_have_come_down_from_a_high_peak():
    potentials = PairPotentials(5, 20.0, 0.99)
    everything, confused = torch.arange(5), torch.full((5, 5), 0.5)
    for _ in range(800):
        potentials.update(everything, confused)
    for _ in range(400):
        potentials.update(everything, torch.zeros(5, 5))  # all is learned: ln P falls by 1 % a visit
    assert potentials.logs.max() > 0
    assert sorted(potentials.draw(5, generator(0)).tolist()) == list(range(5))
    assert potentials.class_weights().tolist() == pytest.approx([0.2] * 5)


@pytest.mark.parametrize("shift", [0.0, 1000.0])  # by e^1000: no double holds it, and no draw should tell
def test_every_draw_has_the_probability_that_enumeration_gives_it(shift):
    dense = _dense(_tasks(12, 3, 5, seed=3), 5, rate=2.0, forget=0.9)
    table, logs = np.exp(dense), dense.copy() + shift
    np.fill_diagonal(table, 0.0)
    np.fill_diagonal(logs, -np.inf)
    potentials = PairPotentials(5, 2.0, 0.9)
    potentials.load_state_dict({"logs": torch.from_numpy(logs).float(), "peak": shift + 3})
    pairs = {(i, j): table[i, j] / table.sum() for i, j in itertools.permutations(range(5), 2)}
    tasks = {}
    for (i, j), p in pairs.items():
        product = table[i] * table[j]
        for k in {0, 1, 2, 3, 4} - {i, j}:
            tasks[i, j, k] = p * product[k] / product.sum()
    assert max(tasks.values()) > 5 * min(tasks.values())
    random = generator(4, "draws")
    drawn = [tuple(potentials.draw(3, random).tolist()) for _ in range(6000)]
    assert set(drawn) <= tasks.keys()

    def fits(observed, exact):
        expected = [p * len(observed) for p in exact.values()]
        return chisquare([observed.count(key) for key in exact], expected).pvalue > P_VALUE

    assert sum(tasks.values()) == pytest.approx(1)
    assert fits([order[:2] for order in drawn], pairs)
    assert fits(
        [tuple(sorted(order[:2])) for order in drawn], {(i, j): 2 * p for (i, j), p in pairs.items() if i < j}
    )
    assert fits(drawn, tasks)


def test_a_state_goes_on_with_the_same_potentials_and_sums():
    tasks = list(_tasks(80, 4, 6, seed=5))
    whole, stopped = _trained(tasks, 6, 6.0, 1.0), _trained(tasks[:50], 6, 6.0, 1.0)
    other = PairPotentials(6, 6.0, 1.0)
    other.load_state_dict(stopped.state_dict())
    for chosen, confusion in tasks[50:]:
        other.update(chosen, confusion)
    assert np.array_equal(other.logs, whole.logs)
    assert torch.equal(other.class_weights(), whole.class_weights())
    assert other.state_dict()["peak"] == whole.state_dict()["peak"] > 0
    assert other.draw(4, generator(0)).tolist() == whole.draw(4, generator(0)).tolist()


def test_a_new_table_draws_every_order_alike():
    potentials, random = PairPotentials(4, 0.5, 0.9), generator(6)
    drawn = [tuple(potentials.draw(2, random).tolist()) for _ in range(1200)]
    orders = list(itertools.permutations(range(4), 2))
    assert chisquare([drawn.count(order) for order in orders]).pvalue > P_VALUE
