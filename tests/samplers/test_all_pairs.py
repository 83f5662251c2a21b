"""Boosting of every pair of classes, against a loop over all two-way tasks and AdaBoost's rule by hand."""

import itertools
import math
from collections import Counter

import pytest
import torch
from sampler_options import sampler_of
from scipy.stats import chisquare

from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.episodes.pairs import pair_count, pair_index
from mtl.runtime.seeds import generator
from mtl.samplers.all_pairs import two_way_errors


def _features(classes, images=10, size=4):
    """Classes that overlap, of features of different lengths."""
    random = generator(classes, "features")
    centres = torch.randn(classes, 1, size, generator=random)
    features = centres + torch.randn(classes, images, size, generator=random)
    return features * torch.logspace(-1, 1, images)[:, None]


def _two_way_error(one, other, shot):
    """Of the nearest-centre classifier between two lists of features, by the cosine."""

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    centres = [[sum(c) / shot for c in zip(*rows[:shot], strict=True)] for rows in (one, other)]
    wrong = []
    for rows, own, foreign in ((one, *centres), (other, *reversed(centres))):
        wrong += [cosine(q, own) < cosine(q, foreign) for q in rows[shot:]]
    return sum(wrong) / len(wrong)


@pytest.mark.parametrize(("classes", "shot"), [(7, 1), (7, 3), (20, 9), (70, 2)])
def test_errors_are_those_of_every_two_way_task(classes, shot):
    features = _features(classes)
    rows = features.tolist()
    pairs = itertools.combinations(range(classes), 2)
    wanted = [_two_way_error(rows[i], rows[j], shot) for i, j in pairs]
    assert 0 < sum(wanted) < len(wanted) / 2
    torch.testing.assert_close(two_way_errors(features, shot).tolist(), wanted, rtol=0, atol=1e-6)


def test_of_few_images_one_is_left_as_a_query():
    features = _features(5)
    torch.testing.assert_close(two_way_errors(features[:, :3], 5), two_way_errors(features[:, :3], 2))


def test_a_learner_that_tells_nothing_apart_errs_half_the_time():
    assert two_way_errors(torch.ones(4, 6, 3), 1).tolist() == [0.5] * 6


def _sampler(labels, classes=8, way=3, **keys):
    keys = {"share": 1.0, "warm_up": 0.0, "fade": 0.0, "every": 4, "cap": 100.0, **keys}
    return sampler_of("all_pairs", ClassIndex.of(labels(classes, 10)), EpisodeShape(way, 1, 3), **keys)


def test_a_round_is_adaboost_over_all_pairs(labels):
    sampler, features = _sampler(labels, rate=0.5, forget=0.9, floor=0.1), _features(8)
    weights = [1 / 28] * 28
    for number in range(3):
        sampler.receive(sampler.request(0), (features * (1 + number)).flatten(0, 1))
        errors = two_way_errors(features, 1).tolist()
        epsilon = sum(w * e for w, e in zip(weights, errors, strict=True))
        alpha = 0.5 * math.log((1 - epsilon) / epsilon)
        new = [w**0.9 * math.exp(alpha * e) for w, e in zip(weights, errors, strict=True)]
        weights = [0.9 * w / sum(new) + 0.1 / 28 for w in new]
        torch.testing.assert_close(sampler.weights.tolist(), weights)
        ended = sampler.update(sampler.draw(2), None)
        assert (ended.number, ended.unit, ended.pool) == (number, "pair", 28)
        assert ended.epsilon == pytest.approx(epsilon)
        assert ended.alpha == pytest.approx(alpha)
        assert ended.accuracy == pytest.approx(1 - sum(errors) / 28)
        assert ended.members(torch.tensor([0, 27])).tolist() == [[0, 1], [6, 7]]
        assert sampler.update(sampler.draw(2), None) is None  # a round ends once


def test_the_first_class_is_uniform_and_the_others_follow_their_pairs_with_it(labels):
    sampler = _sampler(labels, classes=5, way=3)
    sampler.weights = torch.rand(pair_count(5), dtype=torch.float64, generator=generator(3))
    chance = {}
    for first in range(5):
        others = [c for c in range(5) if c != first]
        weight = {
            c: float(sampler.weights[pair_index(torch.tensor(first), torch.tensor(c), 5)]) for c in others
        }
        total = sum(weight.values())
        for a, b in itertools.permutations(others, 2):
            chance[first, a, b] = weight[a] / total * weight[b] / (total - weight[a]) / 5
    assert sum(chance.values()) == pytest.approx(1)
    random, draws = generator(1), 6000
    met = Counter(tuple(sampler.choose(n, random).tolist()) for n in range(draws))
    wanted = {(f, *sorted(rest)): 0.0 for f, *rest in chance}
    found = dict.fromkeys(wanted, 0)
    for (f, *rest), p in chance.items():
        wanted[f, *sorted(rest)] += draws * p
        found[f, *sorted(rest)] += met[f, *rest]
    assert sum(found.values()) == draws
    assert chisquare([found[k] for k in wanted], list(wanted.values())).pvalue > 1e-4


def test_pairs_that_are_mistaken_for_each_other_meet_more_often(labels):
    features = torch.eye(10)[:, None].repeat(1, 10, 1) + 0.1 * torch.randn(
        10, 10, 10, generator=generator(0, "noise")
    )
    features[1] = features[0].flip(0)  # 0 and 1 look alike, all others are far apart
    sampler = _sampler(labels, classes=10, way=2, rate=1.0, floor=0.1)
    for _ in range(4):
        sampler.receive(sampler.request(0), features.flatten(0, 1))
    tasks = sampler.draw(500).classes.tolist()
    of_either = [set(task) == {0, 1} for task in tasks if task[0] < 2]
    assert sum(of_either) > 0.6 * len(of_either)  # 1/9 without weights
    assert {task[0] for task in tasks} == set(range(10))
