"""Tasks of classes that look alike, against the nearest ones by brute force."""

import itertools
import math

import pytest
import torch
from sampler_options import sampler_of
from scipy.stats import chisquare

from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.runtime.seeds import generator


def _sampler(index, way, neighbours):
    always = {"share": 1.0, "warm_up": 0.0, "fade": 0.0}
    return sampler_of("neighbours", index, EpisodeShape(way, 1, 3), nearest=neighbours, **always)


def _surveyed(labels, classes, way, neighbours):
    """A sampler that has seen features of different lengths, and the nearest classes by brute force."""
    features = torch.randn(classes, 10, 5, generator=generator(classes, "features"))
    features *= torch.logspace(-1, 1, classes)[:, None, None]
    sampler = _sampler(ClassIndex.of(labels(classes, 10)), way, neighbours)
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
    sampler, nearest = _surveyed(labels, 9, 3, neighbours)
    found = {c: set(row) for c, row in enumerate(sampler.nearest.tolist())}
    assert found == {c: set(others) for c, others in nearest.items()}
    assert all(c not in row and len(row) == min(neighbours, 8) for c, row in found.items())


def test_where_no_number_is_given_there_are_three_times_as_many_as_ways(labels):
    sampler = _sampler(ClassIndex.of(labels(20, 10)), 4, neighbours=None)
    sampler.receive(sampler.request(0), torch.randn(200, 3, generator=generator(0)))
    assert sampler.nearest.shape == (20, 12)


def test_of_more_classes_than_are_looked_at_together_each_has_its_nearest(labels):
    features = torch.randn(1100, 2, 6, generator=generator(0), dtype=torch.float64)
    sampler = _sampler(ClassIndex.of(labels(1100, 10)), 3, neighbours=4)
    sampler.receive(sampler.request(0), features.flatten(0, 1))
    centres = features.mean(1)
    assert sampler.nearest.shape == (1100, 4)
    for c in (0, 1, 1023, 1024, 1099):
        cosine = torch.cosine_similarity(centres[c][None], centres)
        cosine[c] = -2
        assert set(sampler.nearest[c].tolist()) == set(cosine.argsort()[-4:].tolist())


@pytest.mark.parametrize(("way", "neighbours"), [(3, 3), (2, 4), (4, 3)])
def test_every_set_of_a_class_and_some_of_its_nearest_is_equally_likely(labels, way, neighbours):
    sampler, nearest = _surveyed(labels, 6, way, neighbours)
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
    sampler, nearest = _surveyed(labels, 12, 4, 5)
    batch = sampler.draw(60)
    assert set(batch.origin) == {"hard"}
    for first, *others in batch.classes.tolist():
        assert set(others) <= set(nearest[first])
    assert {task[0] for task in batch.classes.tolist()} == set(range(12))
