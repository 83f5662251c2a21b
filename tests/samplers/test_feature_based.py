"""Tasks by Fisher's ratio, against loops in float64; and how features of classes are asked for."""

import itertools
import math

import pytest
import torch
from sampler_options import sampler_of
from scipy.stats import chisquare

from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.runtime.seeds import generator

BY_FEATURES = pytest.mark.parametrize("kind", ["fisher", "neighbours"])


def _sampler(index, kind="fisher", way=3, **config):
    always = {"share": 1.0, "warm_up": 0.0, "fade": 0.0}
    return sampler_of(kind, index, EpisodeShape(way, 1, 3), **{**always, **config})


def _features(classes, images, length=6, seed=0):
    """(C · images, D): classes whose centres and widths differ, away from the origin."""
    random = generator(seed, "features")
    centres = 2 + torch.randn(classes, 1, length, generator=random)
    widths = torch.rand(classes, 1, 1, generator=random)
    return (centres + widths * torch.randn(classes, images, length, generator=random)).flatten(0, 1)


def _ratio(task, features):
    """(mean of s_i) / (mean of ‖μ_i − μ_j‖², i ≠ j), one image and one pair after the other."""
    images = features.double().view(-1, 10, features.shape[-1])
    centres = {c: sum(images[c]) / 10 for c in task}
    scatter = [sum(float((x - centres[c]) @ (x - centres[c])) for x in images[c]) / 9 for c in task]
    apart = [
        float((centres[i] - centres[j]) @ (centres[i] - centres[j])) for i in task for j in task if i != j
    ]
    return (sum(scatter) / len(scatter)) / (sum(apart) / len(apart))


@pytest.mark.parametrize("way", [2, 5, 30])
def test_the_ratio_is_that_of_a_loop_over_images_and_pairs(labels, way):
    sampler, features = _sampler(ClassIndex.of(labels(40, 10))), _features(40, 10)
    sampler.receive(sampler.request(0), features)
    random = generator(0)
    tasks = torch.stack([torch.randperm(40, generator=random)[:way] for _ in range(8)])
    expected = [_ratio(task, features) for task in tasks.tolist()]
    assert sampler.ratio(tasks).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("part", [0.25, 0.5, 1.0])
def test_tasks_are_among_the_hardest_by_the_part_asked_for(labels, part):
    """The k-th of M uniform candidates is expected at the quantile k / (M + 1) of all tasks."""
    index, features = ClassIndex.of(labels(14, 10)), _features(14, 10)
    sampler = _sampler(index, candidates=16, part=part)
    sampler.receive(sampler.request(0), features)
    ratio = {task: _ratio(task, features) for task in itertools.combinations(range(14), 3)}
    order = {task: place / len(ratio) for place, task in enumerate(sorted(ratio, key=ratio.__getitem__))}
    random = generator(1)
    drawn = [tuple(sorted(sampler.choose(n, random).tolist())) for n in range(800)]
    kept = round(16 * part)
    expected = (16 - kept + 1 + 16) / 2 / 17
    assert sum(order[task] for task in drawn) / 800 == pytest.approx(expected, abs=0.03)
    uniform = sum(ratio.values()) / len(ratio)
    mean = sum(ratio[task] for task in drawn) / 800
    assert mean == pytest.approx(uniform, rel=0.05) if part == 1 else mean > 1.2 * uniform


def test_classes_that_are_wide_and_near_each_other_are_drawn_together(index):
    sampler = _sampler(index, candidates=100, part=0.05)
    features = 10 * torch.eye(20).repeat_interleave(10, 0)
    features[:50] = 1.0 + torch.randn(50, 20, generator=generator(2))  # classes 0 to 4
    sampler.receive(sampler.request(0), features)
    tasks = sampler.draw(100).classes
    assert float((tasks < 5).float().mean()) > 0.6  # a quarter if drawn uniformly


def test_classes_with_one_centre_are_the_hardest_and_no_error(index):
    sampler = _sampler(index, candidates=400, part=0.001)
    features = torch.eye(20).repeat_interleave(10, 0) + 0.01 * _features(20, 10, 20)
    features[:30] = torch.randn(10, 20, generator=generator(3)).repeat(3, 1)
    sampler.receive(sampler.request(0), features)
    assert sampler.ratio(torch.tensor([[0, 1, 2]])) > 1e6
    tasks = [frozenset(sampler.choose(n, generator(n)).tolist()) for n in range(60)]
    assert tasks.count(frozenset({0, 1, 2})) > 5  # one of 1140 if drawn uniformly


@BY_FEATURES
def test_a_request_is_for_different_images_of_each_class_in_turn(index, kind):
    wanted = _sampler(index, kind, look=7).request(0).view(20, 7)
    assert (wanted % 20 == torch.arange(20)[:, None]).all()
    assert all(len(set(row)) == 7 for row in wanted.tolist())


@BY_FEATURES
def test_the_class_with_the_fewest_images_limits_a_request(kind):
    index = ClassIndex.of(torch.tensor([0] * 9 + [1] * 4 + [2] * 30))
    wanted = _sampler(index, kind, way=2, look=10).request(0)
    assert len(wanted) == 12
    assert torch.bincount(torch.bucketize(wanted, torch.tensor([9, 13]), right=True)).tolist() == [4, 4, 4]
    assert set(wanted[4:8].tolist()) == {9, 10, 11, 12}


@BY_FEATURES
def test_features_are_requested_every_so_many_steps_of_other_images_each_time(index, kind):
    sampler, requests = _sampler(index, kind, every=4, look=5), {}
    for step in range(13):
        wanted = sampler.request(step)
        if wanted is not None:
            requests[step] = wanted
            sampler.receive(wanted, _features(20, 5, seed=step))
    assert list(requests) == [0, 4, 8, 12]
    for one, other in itertools.combinations(requests.values(), 2):
        assert set(one.tolist()) != set(other.tolist())


@BY_FEATURES
def test_nothing_is_chosen_before_the_first_features_and_the_latest_counts(index, kind, assert_same):
    sampler, late = (_sampler(index, kind) for _ in range(2))
    assert set(sampler.draw(20).origin) == {"uniform"}
    for seed in (0, 1):
        sampler.receive(sampler.request(0), _features(20, 10, seed=seed))
    late.draw(20)
    late.receive(late.request(0), _features(20, 10, seed=1))
    batch = sampler.draw(20)
    assert set(batch.origin) == {sampler.reason}
    assert_same(batch, late.draw(20))


@BY_FEATURES
def test_features_of_half_precision_serve_as_well(index, kind):
    sampler = _sampler(index, kind)
    sampler.receive(sampler.request(0), _features(20, 10).bfloat16())
    assert set(sampler.draw(5).origin) == {sampler.reason}


def _neighbours(index, way, neighbours):
    always = {"share": 1.0, "warm_up": 0.0, "fade": 0.0}
    return sampler_of("neighbours", index, EpisodeShape(way, 1, 3), nearest=neighbours, **always)


def _with_features(labels, classes, way, neighbours):
    """A sampler that has seen features of different lengths, and the nearest classes by brute force."""
    features = torch.randn(classes, 10, 5, generator=generator(classes, "features"))
    features *= torch.logspace(-1, 1, classes)[:, None, None]
    sampler = _neighbours(ClassIndex.of(labels(classes, 10)), way, neighbours)
    sampler.receive(sampler.request(0), features.flatten(0, 1))
    centres = [[sum(column) / 10 for column in zip(*rows, strict=True)] for rows in features.tolist()]
    nearest = {}
    for c, own in enumerate(centres):
        cosine = {}
        for d, other in enumerate(centres):
            product = sum(a * b for a, b in zip(own, other, strict=True))
            cosine[d] = product / math.hypot(*own) / math.hypot(*other)
        others = sorted((d for d in cosine if d != c), key=lambda d, known=cosine: -known[d])
        nearest[c] = others[:neighbours]
    return sampler, nearest


@pytest.mark.parametrize("neighbours", [3, 8, 50])
def test_neighbours_are_the_nearest_by_the_cosine_of_their_centres(labels, neighbours):
    sampler, nearest = _with_features(labels, 9, 3, neighbours)
    found = {c: set(row) for c, row in enumerate(sampler.nearest.tolist())}
    assert found == {c: set(others) for c, others in nearest.items()}
    assert all(c not in row and len(row) == min(neighbours, 8) for c, row in found.items())


def test_where_no_number_is_given_there_are_three_times_as_many_as_ways(labels):
    sampler = _neighbours(ClassIndex.of(labels(20, 10)), 4, neighbours=None)
    sampler.receive(sampler.request(0), torch.randn(200, 3, generator=generator(0)))
    assert sampler.nearest.shape == (20, 12)


def test_of_more_classes_than_are_looked_at_together_each_has_its_nearest(labels):
    features = torch.randn(1100, 2, 6, generator=generator(0), dtype=torch.float64)
    sampler = _neighbours(ClassIndex.of(labels(1100, 10)), 3, neighbours=4)
    sampler.receive(sampler.request(0), features.flatten(0, 1))
    centres = features.mean(1)
    assert sampler.nearest.shape == (1100, 4)
    for c in (0, 1, 1023, 1024, 1099):
        cosine = torch.cosine_similarity(centres[c][None], centres)
        cosine[c] = -2
        assert set(sampler.nearest[c].tolist()) == set(cosine.argsort()[-4:].tolist())


@pytest.mark.parametrize(("way", "neighbours"), [(3, 3), (2, 4), (4, 3)])
def test_every_set_of_a_class_and_some_of_its_nearest_is_equally_likely(labels, way, neighbours):
    sampler, nearest = _with_features(labels, 6, way, neighbours)
    allowed = [
        (c, frozenset(others)) for c in range(6) for others in itertools.combinations(nearest[c], way - 1)
    ]
    random = generator(1)
    drawn = []
    for number in range(100 * len(allowed)):
        first, *others = sampler.choose(number, random).tolist()
        drawn.append((first, frozenset(others)))
    assert set(drawn) == set(allowed)
    assert chisquare([drawn.count(one) for one in allowed]).pvalue > 1e-4


def test_tasks_of_training_lie_among_the_nearest_of_a_class(labels):
    sampler, nearest = _with_features(labels, 12, 4, 5)
    batch = sampler.draw(60)
    assert set(batch.origin) == {sampler.reason}
    for first, *others in batch.classes.tolist():
        assert set(others) <= set(nearest[first])
    assert {task[0] for task in batch.classes.tolist()} == set(range(12))
