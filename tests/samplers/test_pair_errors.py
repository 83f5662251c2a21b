"""Errors of tasks by their features, against loops over two-way tasks, formulas in numpy, and simulation."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import norm, spearmanr

from mtl.runtime.seeds import generator
from mtl.samplers.pair_errors import counted_errors, estimated_errors, image_errors, task_accuracies


def _features(classes, images=10, size=4):
    """Classes that overlap, of features of different lengths."""
    random = generator(classes, "features")
    centres = torch.randn(classes, 1, size, generator=random)
    features = centres + torch.randn(classes, images, size, generator=random)
    return features * torch.logspace(-1, 1, images)[:, None]


def _cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def _two_way_error(one, other, shot):
    """Of the nearest-centre classifier between two lists of features, by the cosine."""
    centres = [[sum(c) / shot for c in zip(*rows[:shot], strict=True)] for rows in (one, other)]
    wrong = []
    for rows, own, foreign in ((one, *centres), (other, *reversed(centres))):
        wrong += [_cosine(q, own) < _cosine(q, foreign) for q in rows[shot:]]
    return sum(wrong) / len(wrong)


@pytest.mark.parametrize(("classes", "shot"), [(7, 1), (7, 3), (20, 9), (300, 2)])
def test_counted_errors_are_those_of_every_two_way_task(classes, shot):
    features = _features(classes)
    rows, pairs = features.tolist(), list(itertools.combinations(range(classes), 2))
    some = range(0, len(pairs), max(1, len(pairs) // 500))
    wanted = [_two_way_error(rows[pairs[p][0]], rows[pairs[p][1]], shot) for p in some]
    assert 0 < sum(wanted) < len(wanted) / 2
    found = counted_errors(features, shot)
    assert len(found) == len(pairs)
    torch.testing.assert_close(found[list(some)].tolist(), wanted, rtol=0, atol=1e-6)


def test_of_few_images_one_is_left_as_a_query():
    features = _features(5)
    assert torch.equal(counted_errors(features[:, :3], 5), counted_errors(features[:, :3], 2))


def test_a_learner_that_tells_nothing_apart_errs_half_the_time():
    assert counted_errors(torch.ones(4, 6, 3), 1).tolist() == [0.5] * 6
    same = torch.eye(3)[[0, 1, 2, 0, 1, 2]].expand(4, 6, 3)
    assert (estimated_errors(same, 1) > 0.5).all()  # another image of one's class is never the image itself


@pytest.mark.parametrize(("classes", "shot"), [(4, 1), (6, 5), (300, 1)])
def test_estimated_errors_follow_their_formula(classes, shot):
    x = _features(classes).double().numpy()
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    mean = x.mean(1)
    spread = sum((row - row.mean(0)).T @ (row - row.mean(0)) for row in x) / (len(x) * 9)
    pairs = list(itertools.combinations(range(classes), 2))
    found = estimated_errors(_features(classes), shot).tolist()
    for p in range(0, len(pairs), max(1, len(pairs) // 200)):
        error = 0.0
        for i, j in (pairs[p], pairs[p][::-1]):
            within = np.mean([x[i, a] @ x[i, b] for a in range(10) for b in range(10) if a != b])
            apart = mean[i] - mean[j]
            variance = apart @ spread @ apart
            variance += (
                mean[i] @ spread @ mean[i] + mean[j] @ spread @ mean[j] + 2 * np.trace(spread @ spread)
            ) / shot
            error += norm.cdf(-(within - mean[i] @ mean[j]) / math.sqrt(variance)) / 2
        assert found[p] == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize("shot", [1, 5])
def test_estimated_errors_are_near_those_of_simulated_tasks(shot):
    """Of normal features, from many images a class: what thousands of tasks with other images come to."""
    random, classes, size = generator(0, "simulated"), 12, 24
    centres = torch.randn(classes, size, generator=random)

    def drawn(count):
        noise = torch.randn(classes, count, size, generator=random)
        return F.normalize(centres[:, None] + 1.5 * noise, dim=-1)

    estimate = estimated_errors(drawn(1500), shot)
    support, queries = drawn(4000 * shot).view(classes, 4000, shot, size).mean(2), drawn(4000)
    wrong = []
    for i, j in itertools.combinations(range(classes), 2):
        for a, b in ((i, j), (j, i)):
            margin = (queries[a] * support[a]).sum(-1) - (queries[a] * support[b]).sum(-1)
            wrong.append(float((margin < 0).double().mean()))
    true = torch.tensor(wrong).view(-1, 2).mean(1)
    assert 0.02 < true.mean() < 0.2
    assert spearmanr(estimate, true).statistic > 0.98
    assert float((estimate - true).abs().mean()) < 0.01


def test_features_of_one_point_a_class_make_no_error_and_no_nan():
    apart = torch.eye(5)[:, None].expand(5, 4, 5)
    assert estimated_errors(apart, 1).tolist() == [0.0] * 10


@pytest.mark.parametrize("shot", [1, 3])
def test_accuracies_of_tasks_are_those_of_the_nearest_centre(shot):
    features, tasks = _features(9), torch.tensor([[0, 1, 2], [8, 3, 5], [4, 2, 7]])
    rows = features.tolist()
    wanted = []
    for task in tasks.tolist():
        centres = {c: [sum(x) / shot for x in zip(*rows[c][:shot], strict=True)] for c in task}
        right = [
            max(task, key=lambda other, q=q: _cosine(q, centres[other])) == c
            for c in task
            for q in rows[c][shot:]
        ]
        wanted.append(sum(right) / len(right))
    assert min(wanted) < 1
    torch.testing.assert_close(task_accuracies(features, tasks, shot).tolist(), wanted)


@pytest.mark.parametrize(("classes", "shot"), [(4, 1), (6, 5), (260, 1)])
def test_errors_of_images_follow_their_formula(classes, shot):
    x = _features(classes).double().numpy()
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    mean = x.mean(1)
    spread = sum((row - row.mean(0)).T @ (row - row.mean(0)) for row in x) / (len(x) * 9)
    partners = torch.stack([torch.arange(classes).roll(-1 - c)[:3] for c in range(classes)])
    found = image_errors(_features(classes), partners, shot)
    for c in range(0, classes, max(1, classes // 7)):
        for image in (0, 7):
            query, others = x[c, image], np.delete(x[c], image, axis=0).mean(0)
            deviation = math.sqrt(2 * query @ spread @ query / shot)
            errors = [norm.cdf(-query @ (others - mean[j]) / deviation) for j in partners[c].tolist()]
            assert float(found[c, image]) == pytest.approx(np.mean(errors), abs=1e-9)
