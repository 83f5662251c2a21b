"""Boosted neighbourhoods: AdaBoost's rule by hand, who is drawn with the first class, what a round finds."""

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_options import sampler_of
from scipy.stats import chisquare

from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.episodes.pairs import pair_count, pair_index
from mtl.runtime.seeds import generator
from mtl.samplers.boosted import heaviest_partners
from mtl.samplers.image_weights import ImageWeights
from mtl.samplers.pair_errors import counted_errors, estimated_errors, image_errors, task_accuracies

ERRORS = {"counted": counted_errors, "estimated": estimated_errors}


def _features(classes, images=10, size=4):
    random = generator(classes, "features")
    return torch.randn(classes, 1, size, generator=random) + torch.randn(
        classes, images, size, generator=random
    )


def _sampler(labels, classes=8, way=3, **keys):
    keys = {"share": 1.0, "warm_up": 0.0, "fade": 0.0, "every": 4, **keys}
    return sampler_of("boosted", ClassIndex.of(labels(classes, 10)), EpisodeShape(way, 1, 3), **keys)


def _round(sampler, features):
    return sampler.receive(sampler.request(0), features.flatten(0, 1))


def _adaboost(weights, errors, way, rate=1.0, forget=0.5, floor=0.0, cap=math.inf):
    """SAMME by hand, every unit visited: the new weights, ε and α."""
    epsilon = sum(w * e for w, e in zip(weights, errors, strict=True)) / sum(weights)
    alpha = min(max(0.0, rate * (math.log((1 - epsilon) / epsilon) + math.log(way - 1))), cap)
    new = [w**forget * math.exp(alpha * e) for w, e in zip(weights, errors, strict=True)]
    return [(1 - floor) * w / sum(new) + floor / len(new) for w in new], epsilon, alpha


@pytest.mark.parametrize("rule", [{"rate": 0.5, "forget": 0.9, "floor": 0.1, "cap": 0.6}, {}])
@pytest.mark.parametrize("errors", ERRORS)
def test_a_round_is_adaboost_over_pairs(labels, errors, rule):
    sampler, features = _sampler(labels, errors=errors, **rule), _features(8)
    weights = [1 / 28] * 28
    for number in range(3):
        ended = _round(sampler, features * (1 + number))
        weights, epsilon, alpha = _adaboost(weights, ERRORS[errors](features, 1).tolist(), 2, **rule)
        torch.testing.assert_close(ended.weights.tolist(), weights)
        assert (ended.number, ended.unit, ended.pool) == (number, "pair", 8)
        assert (ended.epsilon, ended.alpha) == (pytest.approx(epsilon), pytest.approx(alpha))
        assert ended.members(torch.tensor([0, 27])).tolist() == [[0, 1], [6, 7]]
        assert sampler.update(sampler.draw(2), None) is None
        units = [[int(pair_index(torch.tensor(c), p, 8)) for p in sampler.nearest[c]] for c in range(8)]
        around = [sum(weights[u] for u in of_class) for of_class in units]
        wanted = [8 * w / sum(around) for w in around]
        torch.testing.assert_close(ended.neighbourhoods.weight.tolist(), wanted)


def test_with_boosted_firsts_a_round_is_adaboost_over_neighbourhoods(labels):
    sampler, features, weights = _sampler(labels, first="boosted"), _features(8), [1 / 8] * 8
    for number in range(3):
        ended = _round(sampler, features * (1 + number))
        found = ended.neighbourhoods
        weights, epsilon, alpha = _adaboost(weights, (1 - found.accuracy.double()).tolist(), 3)
        torch.testing.assert_close(ended.weights.tolist(), weights)
        torch.testing.assert_close(found.weight.tolist(), [8 * w for w in weights])
        assert (ended.number, ended.unit, ended.pool) == (number, "neighbourhood", 8)
        assert (ended.epsilon, ended.alpha) == (pytest.approx(epsilon), pytest.approx(alpha))
        assert ended.members(torch.tensor([0, 7])).tolist() == [[0], [7]]


def test_the_images_looked_at_are_weighed_by_how_often_they_are_taken_for_a_partner(labels):
    sampler, features = _sampler(labels, classes=8, look=6, nearest=4), _features(8, images=6)
    before = sampler.image_weights.weights[sampler.image_weights.valid].tolist()
    images = sampler.request(0).view(8, 6)
    sampler.receive(images.flatten(), features.flatten(0, 1))
    errors = image_errors(features, sampler.nearest, 1)
    flat = {int(x): float(e) for x, e in zip(images.flatten(), errors.flatten(), strict=True)}
    epsilon = sum(flat.values()) / len(flat)
    alpha = math.log((1 - epsilon) / epsilon)
    # those not visited keep their weight: so does one with the mean error, but for forgetting
    raw = [w * math.exp(alpha * (flat[x] - epsilon)) if x in flat else w for x, w in enumerate(before)]
    wanted = [w / sum(raw) for w in raw]
    found = sampler.image_weights
    by_image = dict(
        zip(found.index.members[found.valid].tolist(), found.weights[found.valid].tolist(), strict=True)
    )
    torch.testing.assert_close([by_image[x] for x in range(80)], wanted)
    assert len(flat) == 48


def test_queries_follow_the_weights_of_images_and_support_images_do_not(labels):
    sampler = _sampler(labels, classes=8, way=3)
    _round(sampler, _features(8))
    weights = torch.rand(8, 10, dtype=torch.float64, generator=generator(1)) ** 2
    sampler.image_weights.weights = weights / weights.sum()
    random, classes = generator(2), torch.tensor([5])
    drawn = [sampler.image_weights.draw(classes, 1, 1, random)[0] for _ in range(8000)]
    place = {int(image): p for p, image in enumerate(sampler.index.members[5])}
    support, query = (Counter(place[int(images[k])] for images in drawn) for k in (0, 1))
    assert chisquare([support[p] for p in range(10)]).pvalue > 1e-4
    w = (weights[5] / weights[5].sum()).tolist()
    chance = [sum(w[p] / (1 - w[s]) for s in range(10) if s != p) / 10 for p in range(10)]
    assert sum(chance) == pytest.approx(1)
    assert chisquare([query[p] for p in range(10)], [8000 * c for c in chance]).pvalue > 1e-4
    assert all(int(a) != int(b) for a, b in drawn)


def test_with_uniform_queries_images_are_drawn_as_in_any_other_episode(labels, assert_same):
    batches = []
    for queries in ("uniform", "boosted"):
        sampler = _sampler(labels, queries=queries)
        _round(sampler, _features(8))
        batches.append(sampler.draw(20))
        assert (sampler.image_weights is None) == (queries == "uniform")
    assert torch.equal(batches[0].classes, batches[1].classes)
    random = generator(sampler.seed, "hard", 3)
    torch.rand((), generator=random)
    classes = sampler.choose(3, random)
    plain = sampler.index.draw_episode(classes, 1, 3, random)
    assert torch.equal(torch.cat([batches[0].support[3], batches[0].query[3]], 1), plain)


@given(classes=st.integers(2, 9), count=st.integers(1, 8), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_partners_are_those_of_the_heaviest_pairs(classes, count, seed):
    count = min(count, classes - 1)
    weights = torch.rand(pair_count(classes), dtype=torch.float64, generator=generator(seed))
    table = torch.zeros(classes, classes, dtype=torch.float64)
    i, j = torch.triu_indices(classes, classes, 1)
    table[i, j] = table[j, i] = weights
    wanted = [
        sorted((o for o in range(classes) if o != c), key=lambda o: -table[c, o])[:count]
        for c in range(classes)
    ]
    assert heaviest_partners(weights, classes, count).tolist() == wanted


@pytest.mark.parametrize("classes", [1023, 1025])
def test_partners_of_many_classes_are_found_in_parts(classes):
    near = torch.zeros(pair_count(classes), dtype=torch.float64)
    low = torch.arange(0, classes - 1, 2)
    near[pair_index(low, low + 1, classes)] = 1.0
    found = heaviest_partners(near, classes, 1).flatten()
    assert torch.equal(found[low], low + 1)
    assert torch.equal(found[low + 1], low)


def test_the_first_class_is_uniform_and_the_others_are_among_its_heaviest_partners(labels):
    sampler = _sampler(labels, classes=9, way=3, nearest=4)
    _round(sampler, _features(9))
    tasks = sampler.draw(6000)
    assert set(tasks.origin) == {"neighbourhood"}
    firsts = Counter(tasks.classes[:, 0].tolist())
    assert chisquare([firsts[c] for c in range(9)]).pvalue > 1e-4
    partners = heaviest_partners(sampler.pair_weights, 9, 4).tolist()
    met = Counter((f, frozenset(rest)) for f, *rest in tasks.classes.tolist())
    possible = {(f, frozenset(two)) for f in range(9) for two in itertools.combinations(partners[f], 2)}
    assert met.keys() == possible
    assert chisquare([met[k] for k in sorted(possible, key=str)]).pvalue > 1e-4


def test_tasks_are_drawn_around_classes_by_the_weights_of_their_neighbourhoods(labels):
    sampler = _sampler(labels, classes=9, way=3, nearest=2, first="boosted")
    _round(sampler, _features(9))
    firsts = Counter(sampler.draw(6000).classes[:, 0].tolist())
    assert float(sampler.weights.max() / sampler.weights.min()) > 1.4
    assert chisquare([firsts[c] for c in range(9)], (6000 * sampler.weights).tolist()).pvalue > 1e-4


def test_without_the_cut_the_others_follow_their_pairs_with_the_first(labels):
    sampler = _sampler(labels, classes=5, way=3, draw="weight")
    _round(sampler, _features(5))
    assert set(sampler.draw(5).origin) == {"hard"}
    sampler.pair_weights = torch.rand(pair_count(5), dtype=torch.float64, generator=generator(3))
    chance = {}
    for first in range(5):
        others = [c for c in range(5) if c != first]
        units = [int(pair_index(torch.tensor(first), torch.tensor(c), 5)) for c in others]
        weight = {c: float(sampler.pair_weights[u]) for c, u in zip(others, units, strict=True)}
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


@pytest.mark.parametrize(("nearest", "partners"), [(None, 7), (1, 2), (4, 4), (50, 7)])
def test_a_neighbourhood_has_at_least_the_ways_and_at_most_all_classes(labels, nearest, partners):
    sampler = _sampler(labels, classes=8, way=3, nearest=nearest)
    _round(sampler, _features(8))
    assert sampler.nearest.shape == (8, partners)


def test_classes_that_are_taken_for_each_other_meet(labels):
    features = torch.eye(10)[:, None].repeat(1, 10, 1) + 0.1 * torch.randn(
        10, 10, 10, generator=generator(0, "noise")
    )
    features[1] = features[0].flip(0)  # 0 and 1 look alike, all others are far apart
    sampler = _sampler(labels, classes=10, way=2, nearest=1)
    _round(sampler, features)
    tasks = sampler.draw(500).classes.tolist()
    assert {frozenset(task) for task in tasks if task[0] < 2} == {frozenset({0, 1})}
    assert {task[0] for task in tasks} == set(range(10))


def test_what_is_no_longer_mistaken_loses_its_weight(labels):
    sampler, far = _sampler(labels, classes=10, way=2), torch.eye(10)[:, None].repeat(1, 10, 1)
    far = far + 0.1 * torch.randn(10, 10, 10, generator=generator(0, "noise"))
    alike = far.clone()
    alike[1] = far[0].flip(0)
    weights = []
    for features in (alike, alike, far, far, far, far):
        _round(sampler, features)
        weights.append(45 * float(sampler.pair_weights[0]))
    assert min(weights[:2]) > 1.2
    assert weights[1] > weights[3] > weights[5] >= 1


def test_a_round_tests_a_task_of_every_neighbourhood(labels):
    sampler, features = _sampler(labels, classes=8, way=3, nearest=4), _features(8)
    ended = _round(sampler, features)
    found = ended.neighbourhoods
    assert found.classes.tolist() == list(range(8))
    assert found.members.tolist() == sampler.nearest[:, :2].tolist()
    possible = [
        {
            float(task_accuracies(features, torch.tensor([[c, *two]]), 1))
            for two in itertools.permutations(sampler.nearest[c].tolist(), 2)
        }
        for c in range(8)
    ]
    assert all(float(a) in p for a, p in zip(found.accuracy, possible, strict=True))
    assert ended.accuracy == pytest.approx(float(found.accuracy.mean()))


def test_images_without_weight_come_last_and_never_double_the_support(labels):
    sampler = _sampler(labels, classes=8, way=3)
    _round(sampler, _features(8))
    sampler.image_weights.weights = torch.zeros(8, 10, dtype=torch.float64)
    sampler.image_weights.weights[:, 0] = 1 / 8
    random, classes = generator(4), torch.arange(8)
    for _ in range(50):
        images = sampler.image_weights.draw(classes, 2, 8, random)
        assert torch.equal(images.sort(1).values, sampler.index.members)
        heavy = sampler.index.members[:, :1]
        assert ((images[:, 2:3] == heavy) | (images[:, :2] == heavy).any(1, keepdim=True)).all()


def test_images_without_weight_come_before_the_padding_of_smaller_classes():
    index = ClassIndex.of(torch.tensor([0] * 9 + [1] * 4 + [2] * 6))
    weights = ImageWeights(index)
    weights.weights = torch.zeros_like(weights.weights)
    random = generator(5)
    for _ in range(50):
        images = weights.draw(torch.tensor([1]), 1, 3, random)[0]
        assert sorted(images.tolist()) == index.members[1, :4].tolist()


def test_pairs_whose_weight_has_underflowed_are_drawn_where_nothing_else_is_left(labels):
    sampler = _sampler(labels, classes=5, way=4, draw="weight")
    _round(sampler, _features(5))
    sampler.pair_weights = torch.zeros_like(sampler.pair_weights)
    sampler.pair_weights[0] = 1.0  # of classes 0 and 1
    for task in sampler.draw(100).classes.tolist():
        assert len(set(task)) == 4
        assert task[0] > 1 or task[1] == 1 - task[0]
