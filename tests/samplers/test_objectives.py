"""What a meta-batch's losses are made into, against quantiles of scipy and gradients of autograd."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gamma, norm, uniform

from mtl.config import HardTasks
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.episode import EpisodeShape
from mtl.samplers.objectives import Cvar, Ohem, UniformDifficultySampler, build_objective

NORMAL, SKEWED = norm(1.0, 0.2), gamma(2, scale=0.3)

distinct = st.lists(st.integers(-1000, 1000), min_size=1, max_size=20, unique=True)
tails = st.floats(0.01, 1.0)


def _stream(law, batches, tasks, seed=0):
    draws = law.rvs(size=(batches, tasks), random_state=seed)
    return torch.from_numpy(draws).float()


def _at(threshold, tail):
    """Cvar that has met a meta-batch and then has this threshold."""
    objective = Cvar(tail)
    objective.task_weights(_stream(NORMAL, 1, 8)[0])
    objective.load_state_dict(objective.state_dict() | {"threshold": threshold})
    return objective


@given(distinct, tails)
@settings(deadline=None, max_examples=80)
def test_ohem_counts_the_worst_tasks_alike_and_the_others_not_at_all(losses, tail):
    losses = torch.tensor(losses) / 100
    weights = Ohem(tail).task_weights(losses)
    counted = weights > 0
    count = int(counted.sum())
    assert count == math.ceil(tail * len(losses) - 1e-9)
    assert float(weights.mean()) == pytest.approx(1)
    assert set(weights[counted].tolist()) == {float(weights.max())}
    if count < len(losses):
        assert losses[counted].min() > losses[~counted].max()


def test_ohem_by_hand():
    losses = torch.tensor([0.3, 2.0, 0.1, 1.0])
    assert Ohem(0.5).task_weights(losses).tolist() == [0, 2, 0, 2]
    assert Ohem(0.25).task_weights(losses).tolist() == [0, 4, 0, 0]
    assert Ohem(0.01).task_weights(losses).tolist() == [0, 4, 0, 0]
    assert Ohem(1.0).task_weights(losses).tolist() == [1, 1, 1, 1]


def test_cvar_counts_the_tasks_beyond_its_threshold_by_one_over_the_tail():
    objective = _at(1.0, tail=0.2)
    assert objective.task_weights(torch.tensor([0.3, 2.0, 0.9, 1.1])).tolist() == pytest.approx([0, 5, 0, 5])
    assert objective.threshold > 1.0  # half of them lay beyond it, where a fifth should


def test_cvar_begins_with_the_quantile_of_the_first_meta_batch():
    losses = torch.arange(10.0)[torch.randperm(10, generator=torch.Generator().manual_seed(0))]
    weights = Cvar(0.3).task_weights(losses)
    assert set(losses[weights > 0].tolist()) == {7.0, 8.0, 9.0}
    assert float(weights.mean()) == pytest.approx(1)


@pytest.mark.parametrize("tasks", [1, 2, 4, 16])
@pytest.mark.parametrize("tail", [0.5, 0.2])
@pytest.mark.parametrize("law", [NORMAL, SKEWED], ids=["normal", "skewed"])
def test_the_threshold_of_cvar_finds_the_quantile_and_its_weights_the_mean_of_one(law, tail, tasks):
    objective = Cvar(tail)
    thresholds, means = [], []
    for losses in _stream(law, 3000, tasks):
        means.append(float(objective.task_weights(losses).mean()))
        thresholds.append(objective.threshold)
    mean = sum(thresholds[500:]) / 2500
    assert law.sf(mean) == pytest.approx(tail, rel=0.15)
    assert sum(means[500:]) / 2500 == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("start", [-1.0, 8.0])
def test_a_threshold_that_is_far_off_comes_back(start):
    objective = _at(start, tail=0.5)
    for losses in _stream(NORMAL, 2500, 4):
        objective.task_weights(losses)
    assert objective.threshold == pytest.approx(NORMAL.ppf(0.5), abs=0.2)


def test_the_whole_tail_is_the_plain_mean():
    objective = Cvar(1.0)
    for losses in _stream(NORMAL, 50, 4):
        assert objective.task_weights(losses).tolist() == [1.0] * 4


@pytest.mark.parametrize("tail", [0.1, 0.4, 0.9])
def test_the_gradient_is_that_of_the_conditional_value_at_risk(tail):
    random = torch.Generator().manual_seed(0)
    slopes, threshold = torch.randn(12, 3, generator=random, dtype=torch.float64), 0.4
    position = torch.tensor([0.3, -0.7, 0.2], dtype=torch.float64, requires_grad=True)
    losses = (slopes @ position).exp()
    assert 0 < int((losses > threshold).sum()) < 12
    cvar = threshold + torch.relu(losses - threshold).mean() / tail
    (wanted,) = torch.autograd.grad(cvar, position, retain_graph=True)
    weighed = (losses * _at(threshold, tail).task_weights(losses.detach()).double()).mean()
    (found,) = torch.autograd.grad(weighed, position)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("stop", [0, 1, 7])
def test_cvar_goes_on_from_a_state_as_if_it_had_not_stopped(stop):
    stream = _stream(SKEWED, 30, 3)
    whole, first, second = Cvar(0.3), Cvar(0.3), Cvar(0.3)
    weights = [whole.task_weights(losses) for losses in stream]
    for losses in stream[:stop]:
        first.task_weights(losses)
    second.load_state_dict(first.state_dict())
    for losses, then in zip(stream[stop:], weights[stop:], strict=True):
        assert torch.equal(second.task_weights(losses), then)
    assert second.state_dict() == whole.state_dict()
    assert math.isfinite(whole.threshold)


def test_tasks_that_are_all_alike_all_count():
    assert Cvar(0.3).task_weights(torch.full((5,), 0.7)).gt(0).all()
    assert float(Ohem(0.4).task_weights(torch.full((5,), 0.7)).mean()) == pytest.approx(1)


def test_a_config_names_its_objective():
    assert build_objective("mean", 0.5) is None
    for name, kind in (("ohem", Ohem), ("cvar", Cvar)):
        objective = build_objective(HardTasks(objective=name).objective, 0.3)
        assert type(objective) is kind
        assert objective.tail == 0.3


MEAN, DEVIATION = 1.3, 0.4


@pytest.fixture
def sampler(index):
    return UniformDifficultySampler(index, EpisodeShape(3, 1, 3), 0)


def _losses(batches, tasks, seed=0):
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
    for losses in _losses(240 // tasks, tasks):
        met += losses.tolist()
        weights = sampler.task_weights(torch.from_numpy(losses))
        if len(met) > 2 * tasks:
            assert weights.tolist() == pytest.approx(_by_scipy(met, tasks).tolist(), rel=1e-7)
            checked += 1
    assert checked > 5
    assert sampler.moments.mean == pytest.approx(MEAN, abs=0.15)


def test_moments_are_those_of_all_losses_at_first(sampler):
    losses = _losses(1, 80)[0]
    sampler.task_weights(torch.from_numpy(losses))
    assert sampler.moments.mean == pytest.approx(losses.mean())
    assert sampler.moments.deviation == pytest.approx(losses.std())


def test_the_first_two_meta_batches_count_alike_and_the_third_does_not(sampler):
    weights = [sampler.task_weights(torch.from_numpy(losses)) for losses in _losses(3, 6)]
    assert weights[0].tolist() == weights[1].tolist() == [1.0] * 6
    assert weights[2].tolist() != [1.0] * 6


def test_weighed_losses_are_spread_evenly_where_plain_ones_are_normal(sampler):
    edges = np.linspace(MEAN - 2 * DEVIATION, MEAN + 2 * DEVIATION, 9)
    plain, weighed = np.zeros(8), np.zeros(8)
    for losses in _losses(120, 400):
        weights = sampler.task_weights(torch.from_numpy(losses)).numpy()
        plain += np.histogram(losses, edges)[0]
        weighed += np.histogram(losses, edges, weights=weights)[0]
    assert plain.max() > 3.5 * plain.min()
    np.testing.assert_allclose(weighed / weighed.mean(), 1, atol=0.12)


def test_a_loss_out_of_range_counts_nothing(sampler):
    for losses in _losses(30, 10):
        sampler.task_weights(torch.from_numpy(losses))
    weights = sampler.task_weights(MEAN + DEVIATION * torch.tensor([0.0, 20.0, 1.0, -9.0]))
    assert (weights > 0).tolist() == [True, False, True, False]


def test_where_all_lie_out_of_range_all_count_alike(sampler):
    for losses in _losses(300, 1):
        sampler.task_weights(torch.from_numpy(losses))
    assert sampler.task_weights(torch.tensor([MEAN + 8 * DEVIATION])).tolist() == [1.0]


def test_losses_that_are_all_alike_count_alike(sampler):
    for _ in range(5):
        assert sampler.task_weights(torch.full((4,), 0.5)).tolist() == [1.0] * 4


def test_weights_depend_on_neither_place_nor_scale_of_the_losses(sampler, index):
    other = UniformDifficultySampler(index, EpisodeShape(3, 1, 3), 0)
    for losses in torch.from_numpy(_losses(40, 5)):
        own, scaled = sampler.task_weights(losses), other.task_weights(3 * losses + 2)
        torch.testing.assert_close(own, scaled, rtol=1e-6, atol=1e-9)


def test_weights_have_the_kind_of_the_losses(sampler):
    for losses in _losses(5, 6):
        assert sampler.task_weights(torch.from_numpy(losses).float()).dtype == torch.float32
    assert sampler.has_task_weights


def test_its_episodes_are_those_of_the_uniform_sampler_whatever_the_losses(sampler, index, assert_same):
    plain = CategoriesSampler.of(index, EpisodeShape(3, 1, 3), 0)
    for losses in _losses(10, 4):
        assert_same(sampler.draw(4), plain.draw(4))
        sampler.task_weights(torch.from_numpy(losses))


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 60])
def test_a_state_goes_on_with_the_same_weights(sampler, index, stop):
    stream = torch.from_numpy(_losses(80, 3))
    whole = [sampler.task_weights(losses) for losses in stream]
    first, second = (UniformDifficultySampler(index, EpisodeShape(3, 1, 3), 0) for _ in range(2))
    for losses in stream[:stop]:
        first.task_weights(losses)
    second.load_state_dict(first.state_dict())
    for losses, then in zip(stream[stop:], whole[stop:], strict=True):
        assert torch.equal(second.task_weights(losses), then)
