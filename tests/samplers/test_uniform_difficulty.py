"""Weights that make every difficulty count alike, against scipy's distributions."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, uniform

from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.episode import EpisodeShape
from mtl.samplers.objectives import UniformDifficultySampler

MEAN, DEVIATION = 1.3, 0.4


@pytest.fixture
def sampler(index):
    return UniformDifficultySampler(index, EpisodeShape(3, 1, 3), 0)


def _stream(batches, tasks, seed=0):
    return norm(MEAN, DEVIATION).rvs(size=(batches, tasks), random_state=seed)


def _by_scipy(met, tasks):
    """Weights T (p/q) / Σ (p/q) of the last `tasks` of all losses met; ones where p/q is 0 for all."""
    mean = square = 0.0
    for count, loss in enumerate(met, start=1):
        rate = 1 / count if count <= 100 else 0.01
        mean, square = (1 - rate) * mean + rate * loss, (1 - rate) * square + rate * loss**2
    deviation = math.sqrt(square - mean**2)
    q = norm(mean, deviation)
    p = uniform(mean - 2.58 * deviation, 2 * 2.58 * deviation)
    ratio = np.array([p.pdf(loss) / q.pdf(loss) for loss in met[-tasks:]])
    if not ratio.any():
        return np.ones(tasks)
    return tasks * ratio / ratio.sum()


@pytest.mark.parametrize("tasks", [1, 4, 30])
def test_weights_are_those_of_the_formula_written_out(sampler, tasks):
    met, checked = [], 0
    for losses in _stream(240 // tasks, tasks):
        met += losses.tolist()
        weights = sampler.task_weights(torch.from_numpy(losses))
        if len(met) > 2 * tasks:
            assert weights.tolist() == pytest.approx(_by_scipy(met, tasks).tolist(), rel=1e-7)
            checked += 1
    assert checked > 5
    assert sampler.moments.mean == pytest.approx(MEAN, abs=0.15)


def test_moments_are_those_of_all_losses_at_first(sampler):
    losses = _stream(1, 80)[0]
    sampler.task_weights(torch.from_numpy(losses))
    assert sampler.moments.mean == pytest.approx(losses.mean())
    assert sampler.moments.deviation == pytest.approx(losses.std())


def test_the_first_two_meta_batches_count_alike_and_the_third_does_not(sampler):
    weights = [sampler.task_weights(torch.from_numpy(losses)) for losses in _stream(3, 6)]
    assert weights[0].tolist() == weights[1].tolist() == [1.0] * 6
    assert weights[2].tolist() != [1.0] * 6


def test_weighed_losses_are_spread_evenly_where_plain_ones_are_normal(sampler):
    edges = np.linspace(MEAN - 2 * DEVIATION, MEAN + 2 * DEVIATION, 9)
    plain, weighed = np.zeros(8), np.zeros(8)
    for losses in _stream(120, 400):
        weights = sampler.task_weights(torch.from_numpy(losses)).numpy()
        plain += np.histogram(losses, edges)[0]
        weighed += np.histogram(losses, edges, weights=weights)[0]
    assert plain.max() > 3.5 * plain.min()
    np.testing.assert_allclose(weighed / weighed.mean(), 1, atol=0.12)


def test_a_loss_out_of_range_counts_nothing(sampler):
    for losses in _stream(30, 10):
        sampler.task_weights(torch.from_numpy(losses))
    weights = sampler.task_weights(MEAN + DEVIATION * torch.tensor([0.0, 20.0, 1.0, -9.0]))
    assert (weights > 0).tolist() == [True, False, True, False]


def test_where_all_lie_out_of_range_all_count_alike(sampler):
    for losses in _stream(300, 1):
        sampler.task_weights(torch.from_numpy(losses))
    assert sampler.task_weights(torch.tensor([MEAN + 8 * DEVIATION])).tolist() == [1.0]


def test_losses_that_are_all_alike_count_alike(sampler):
    for _ in range(5):
        assert sampler.task_weights(torch.full((4,), 0.5)).tolist() == [1.0] * 4


def test_weights_depend_on_neither_place_nor_scale_of_the_losses(sampler, index):
    other = UniformDifficultySampler(index, EpisodeShape(3, 1, 3), 0)
    for losses in torch.from_numpy(_stream(40, 5)):
        own, scaled = sampler.task_weights(losses), other.task_weights(3 * losses + 2)
        torch.testing.assert_close(own, scaled, rtol=1e-6, atol=1e-9)


def test_weights_have_the_kind_of_the_losses(sampler):
    for losses in _stream(5, 6):
        assert sampler.task_weights(torch.from_numpy(losses).float()).dtype == torch.float32
    assert sampler.has_task_weights


def test_its_episodes_are_those_of_the_uniform_sampler_whatever_the_losses(sampler, index, assert_same):
    plain = CategoriesSampler.of(index, EpisodeShape(3, 1, 3), 0)
    for losses in _stream(10, 4):
        assert_same(sampler.draw(4), plain.draw(4))
        sampler.task_weights(torch.from_numpy(losses))


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 60])
def test_a_state_goes_on_with_the_same_weights(sampler, index, stop):
    stream = torch.from_numpy(_stream(80, 3))
    whole = [sampler.task_weights(losses) for losses in stream]
    first, second = (UniformDifficultySampler(index, EpisodeShape(3, 1, 3), 0) for _ in range(2))
    for losses in stream[:stop]:
        first.task_weights(losses)
    second.load_state_dict(first.state_dict())
    for losses, then in zip(stream[stop:], whole[stop:], strict=True):
        assert torch.equal(second.task_weights(losses), then)
