"""The law of learning curves: its integral, its fit, and that it sees further than that nothing changes."""

import math
from statistics import fmean

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from mtl.config import Head
from mtl.models.heads import BaseLearner
from mtl.own_images import forecast as module
from mtl.own_images.forecast import Forecast, R, carried_on, forecast, share_right, told
from mtl.own_images.learning_curve import LearningCurve, learning_curve
from mtl.own_images.support import Support
from mtl.runtime.seeds import generator
from mtl.stats import wilson


def curve_of(accuracies: dict[int, float], way: int = 3, images: int = 0) -> LearningCurve:
    """Of `images` images a class, each with the accuracy of its k."""
    images = images or max(accuracies) + 1
    labels = torch.arange(way).repeat_interleave(images)
    right = torch.tensor(list(accuracies.values()), dtype=torch.float64)[:, None].expand(-1, len(labels))
    classes = tuple(f"{c:04d}" for c in range(way))
    return LearningCurve(classes, labels, tuple(accuracies), right, (0.0,) * len(accuracies), ())


@pytest.mark.parametrize("way", [2, 3, 5, 20, 200])
@pytest.mark.parametrize("sensitivity", [0.0, 0.3, 1.7, 4.0])
def test_the_share_that_is_right_is_the_integral(way, sensitivity):
    wanted, _ = quad(lambda x: norm.pdf(x - sensitivity) * norm.cdf(x) ** (way - 1), -12, 16, epsabs=1e-12)
    assert float(share_right(np.array(sensitivity), way)) == pytest.approx(wanted, abs=1e-9)


def test_without_sensitivity_it_is_chance_and_between_two_it_is_a_normal_share():
    d = np.array([[0.0, 1.0], [2.0, 12.0]])
    assert share_right(d, 2) == pytest.approx(norm.cdf(d / math.sqrt(2)), abs=1e-12)
    for way in (2, 7, 1000):
        assert float(share_right(np.array(0.0), way)) == pytest.approx(1 / way, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(way=st.integers(2, 30), limit=st.floats(0.05, 5), images=st.integers(4, 60))
def test_a_curve_that_follows_the_law_is_found_and_gone_on_with(way, limit, images):
    def law(k):
        return float(share_right(np.array(limit / math.sqrt(1 + R / k)), way))

    found = forecast(curve_of({k: law(k) for k in (1, 2, images - 1)}, way, images))
    assert found is not None
    assert found.way == way
    for k in (1, images, 2 * images):
        expected = found.at(k)
        assert expected.shot == k
        assert expected.accuracy == pytest.approx(law(k), abs=1e-4)
        answers = 0.8 * way * images
        wanted = wilson(min(expected.accuracy * answers, answers), answers)
        assert (expected.low, expected.high) == pytest.approx(wanted)
    assert found.at(images).accuracy < found.at(2 * images).accuracy


def test_points_of_many_images_weigh_more():
    def fitted(a, b, c):
        return forecast(curve_of({1: a, 2: b, 20: c})).sensitivity

    base = fitted(0.5, 0.6, 0.7)
    assert fitted(0.5, 0.6, 0.75) - base > 3 * (fitted(0.55, 0.6, 0.7) - base) > 0

    def cost(sensitivity):
        shots, found = np.array([1, 2, 20]), np.array([0.5, 0.6, 0.7])
        return (shots * (share_right(sensitivity / np.sqrt(1 + R / shots), 3) - found) ** 2).sum()

    assert base == pytest.approx(min(np.linspace(0, 4, 4001), key=cost), abs=1e-3)


@pytest.mark.parametrize(("accuracy", "expected"), [(1.0, 1.0), (0.1, 1 / 3)])
def test_all_right_stays_so_and_below_chance_is_chance(accuracy, expected):
    found = forecast(curve_of(dict.fromkeys((1, 2, 3), accuracy)))
    assert found.at(8).accuracy == pytest.approx(expected, abs=1e-3)
    assert 0 <= found.at(8).low <= found.at(8).high <= 1


@settings(max_examples=40, deadline=None)
@given(way=st.integers(2, 30), limit=st.floats(0.05, 5), shot=st.floats(1, 40), more=st.floats(1, 40))
def test_an_accuracy_is_carried_along_the_law_and_back(way, limit, shot, more):
    one, other = (float(share_right(np.array(limit / math.sqrt(1 + R / k)), way)) for k in (shot, more))
    assert carried_on(one, way, shot, more) == pytest.approx(other, abs=1e-6)
    assert carried_on(other, way, more, shot) == pytest.approx(one, abs=1e-6)


@pytest.mark.parametrize("accuracy", [0.0, 0.1, 0.2, 1.0])
def test_chance_and_less_and_all_right_are_carried_as_they_are(accuracy):
    assert carried_on(accuracy, 5, 1, 20) == accuracy
    assert carried_on(0.2001, 5, 1, 20) == pytest.approx(0.2001, abs=2e-4)
    assert carried_on(0.9999, 5, 1, 20) > 0.9999


def test_fewer_than_three_points_are_no_law():
    assert forecast(curve_of({1: 0.5, 2: 0.6})) is None
    assert forecast(curve_of({1: 0.5})) is None
    assert forecast(curve_of({1: 0.5, 2: 0.6, 3: 0.7})) is not None


def test_a_person_is_told_what_there_is_and_what_twice_as_many_would_bring():
    curve = curve_of({1: 0.5, 2: 0.6, 4: 0.7}, images=5)
    law = Forecast(3, 2.0, 15.0)
    now, more = law.at(5), law.at(10)
    assert [round(100 * x) for x in (now.accuracy, now.low, now.high, more.accuracy)] == [81, 53, 94, 83]
    assert told(curve, law) == (
        "With 5 pictures of each class about 81 % are right (53 to 94 %); with 10 about 83 %."
    )
    assert [round(100 * x) for x in wilson(1.2, 6)] == [4, 59]
    assert told(curve_of({1: 0.2}), None) == (
        "With 1 picture of each class 20 % are right (4 to 59 %); what more would bring so few cannot tell."
    )
    assert told(curve_of({1: 0.2, 2: 0.25}), None).startswith(
        "With 2 pictures of each class 25 % are right ("
    )


def test_on_clouds_of_points_it_is_nearer_than_that_all_stays_as_it_is():
    way, size, images, off, stays = 4, 12, 6, [], []
    learner = BaseLearner(Head(name="prototype", metric="euclid"), size, way).requires_grad_(False)
    for seed in range(40):
        random = generator(seed, "clouds")
        centres = 0.9 * torch.randn(way, 1, size, generator=random)
        mine, others = (centres + torch.randn(way, n, size, generator=random) for n in (images, 300))
        labels = torch.arange(way).repeat_interleave(images)
        names = [f"{label}" for label in labels]
        curve = learning_curve(learner, Support.of(mine.flatten(0, 1), names, names), draws=60)
        found = forecast(curve).at(2 * images).accuracy
        twice = others[:, : 2 * images * 10].unflatten(1, (10, 2 * images)).transpose(0, 1)
        head = learner.classifier(
            twice.flatten(1, 2), torch.arange(way).repeat_interleave(2 * images).expand(10, -1), way
        )
        asked = others[:, 2 * images * 10 :]
        right = head(asked.flatten(0, 1)[None]).argmax(-1) == torch.arange(way).repeat_interleave(
            asked.shape[1]
        )
        truth = float(right.double().mean())
        off.append(abs(found - truth))
        stays.append(abs(curve.points()[-1].accuracy - truth))
    assert fmean(off) < 0.9 * fmean(stays)
    assert module.POINTS == 3
