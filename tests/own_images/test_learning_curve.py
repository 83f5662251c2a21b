"""Learning curves against all subsets there are, against chance, and against a truth that is known."""

import itertools
import math
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_classifiers import HEADS
from scipy.integrate import quad
from scipy.stats import norm

from mtl.config import Head
from mtl.models.heads import BaseLearner
from mtl.own_images import learning_curve as module
from mtl.own_images.learning_curve import (
    Forecast,
    LearningCurve,
    R,
    enough_images,
    extrapolate,
    forecast,
    forecast_sentence,
    measure_curve,
    share_right,
    shots_up_to,
)
from mtl.own_images.support import Support
from mtl.runtime.seeds import generator
from mtl.stats import wilson

D = 5
NEAREST = Head(name="prototype", metric="euclid")
NAMES = "abcdefghij"


def base_learner(head: Head = NEAREST, way: int = 3) -> BaseLearner:
    return BaseLearner(head, D, way).double().requires_grad_(False)


def pictures(counts: list[int], apart: float = 1.0, seed: int = 0) -> Support:
    """Noise of length 1 in each direction around centres `apart` as far from each other, in any order."""
    random = generator(seed, "pictures", *counts)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=random)]
    centres = apart * torch.randn(len(counts), D, generator=random, dtype=torch.float64)
    features = centres[labels] + torch.randn(len(labels), D, generator=random, dtype=torch.float64)
    return Support.of(features, [NAMES[k] for k in labels], list(map(str, range(len(labels)))))


def all_draws(support: Support, shot: int) -> list[tuple[int, ...]]:
    """Every choice of `shot` images of each class, class by class."""
    each = []
    for c in range(support.way):
        own = [row for row, label in enumerate(support.labels.tolist()) if label == c]
        each.append(list(itertools.combinations(own, shot)))
    return [sum(chosen, ()) for chosen in itertools.product(*each)]


def by_hand(support: Support, draws: list[tuple[int, ...]], shot: int) -> tuple[np.ndarray, list[float]]:
    """Share of right answers of each image, and each draw's accuracy, by the nearest mean."""
    features, labels = support.features.numpy(), support.labels.tolist()
    answers: list[list[bool]] = [[] for _ in labels]
    accuracies = []
    for rows in draws:
        means = [features[list(rows[c * shot : (c + 1) * shot])].mean(0) for c in range(support.way)]
        right: list[list[bool]] = [[] for _ in means]
        for row, label in enumerate(labels):
            if row not in rows:
                nearest = int(np.argmin([((features[row] - mean) ** 2).sum() for mean in means]))
                answers[row].append(nearest == label)
                right[label].append(nearest == label)
        accuracies.append(fmean(fmean(own) for own in right))
    return np.array([fmean(own) if own else math.nan for own in answers]), accuracies


@pytest.mark.parametrize("counts", [[3, 3, 3], [4, 3, 5]], ids=str)
def test_of_all_draws_there_are_the_curve_is_what_counting_finds(counts, monkeypatch):
    support = pictures(counts)
    draws = {shot: all_draws(support, shot) for shot in (1, 2)}
    monkeypatch.setattr(module, "_drawn", lambda labels, way, shot, *_: torch.tensor(draws[shot]))
    curve = measure_curve(base_learner(), support)
    assert curve.shots == (1, 2)
    for point, right, shot in zip(curve.points(), curve.right, (1, 2), strict=True):
        shares, accuracies = by_hand(support, draws[shot], shot)
        np.testing.assert_allclose(right, shares, rtol=1e-12)
        recalls = [np.mean(shares[support.labels.numpy() == c]) for c in range(3)]
        assert point.recalls == pytest.approx(recalls, rel=1e-12)
        assert point.accuracy == pytest.approx(np.mean(recalls), rel=1e-12)
        assert point.spread == pytest.approx(np.std(accuracies, ddof=1), rel=1e-12)
        assert point.worst == int(np.argmin(recalls))


def test_a_draw_has_as_many_different_images_of_each_class_each_as_often():
    labels = torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 1])
    rows = module._drawn(labels, 2, 3, 3000, generator(0, "drawn"))
    assert rows.shape == (3000, 6)
    assert (labels[rows] == torch.tensor([0, 0, 0, 1, 1, 1])).all()
    assert all(len(set(row)) == 6 for row in rows.tolist())
    shares = torch.bincount(rows.flatten(), minlength=9) / 3000
    torch.testing.assert_close(shares, torch.where(labels == 0, 3 / 4, 3 / 5), atol=0.03, rtol=0)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_classes_that_lie_far_apart_are_always_right(head):
    labels = torch.arange(3).repeat_interleave(6)
    features = 20 * torch.eye(3, D, dtype=torch.float64)[labels]
    features += 0.1 * torch.randn(features.shape, generator=generator(0, "near"), dtype=torch.float64)
    learner = base_learner(head)
    names, files = ["abc"[k] for k in labels], list(map(str, range(18)))
    support = Support.of(learner.transform_features(features), names, files)
    curve = measure_curve(learner, support, draws=80)
    assert [point.shot for point in curve.points()] == [1, 2, 3, 5]
    for point in curve.points():
        assert (point.accuracy, point.spread, point.high, set(point.recalls)) == (1, 0, 1, {1.0})
        assert point.low == wilson(18, 18)[0]


def test_the_same_seed_draws_the_same():
    support = pictures([5, 6, 5])
    one, again, other = (measure_curve(base_learner(), support, seed, draws=40) for seed in (3, 3, 4))
    assert torch.equal(one.right, again.right)
    assert (one.spread, one.points()) == (again.spread, again.points())
    assert not torch.equal(one.right, other.right)
    before = torch.random.get_rng_state()
    measure_curve(base_learner(), support, draws=3)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_the_order_of_classes_changes_nothing(head):
    support, new = pictures([5, 7, 6]), (2, 0, 1)
    other = replace(support, labels=torch.tensor(new)[support.labels])
    one, two = (measure_curve(base_learner(head), s, draws=40) for s in (support, other))
    torch.testing.assert_close(one.right, two.right)
    for a, b in zip(one.points(), two.points(), strict=True):
        assert a.recalls == pytest.approx([b.recalls[place] for place in new])
        assert (a.accuracy, a.low, a.high, a.spread) == pytest.approx((b.accuracy, b.low, b.high, b.spread))


def test_tasks_that_do_not_fit_together_are_asked_in_turn(monkeypatch):
    support = pictures([6, 6, 6])
    together = measure_curve(base_learner(), support, draws=30)
    monkeypatch.setattr(module, "_FLOATS", 1)
    apart = measure_curve(base_learner(), support, draws=30)
    assert torch.equal(together.right, apart.right)
    assert together.spread == pytest.approx(apart.spread)


def test_large_support_sets_are_drawn_less_often_and_end_somewhere(monkeypatch):
    sizes, plain = {}, module._drawn

    def noting(labels, way, shot, draws, random):
        sizes[shot] = draws
        return plain(labels, way, shot, draws, random)

    monkeypatch.setattr(module, "_drawn", noting)
    monkeypatch.setattr(module, "_WORK", 30 * 6**2)
    monkeypatch.setattr(module, "_IMAGES", 10)
    assert measure_curve(base_learner(), pictures([9, 9, 9]), draws=100).shots == (1, 2, 3)
    assert sizes == {1: 100, 2: 30, 3: 20}
    measure_curve(base_learner(), pictures([9, 9, 9]), draws=7)
    assert sizes == {1: 7, 2: 7, 3: 7}


@pytest.mark.parametrize(
    ("counts", "used"),
    [
        ([10, 10, 10, 5], [1, 1, 1, 1]),  # half as many are enough
        ([10, 10, 10, 4], [1, 1, 1, 0]),
        ([30, 28, 25, 3], [1, 1, 1, 0]),
        ([1, 1, 2, 3], [0, 0, 1, 1]),
        ([2, 50], [1, 1]),  # the middle one of two is the smaller
        ([5, 5, 5, 40, 40], [1, 1, 1, 1, 1]),
        ([1, 1], [0, 0]),
        ([1], [0]),
    ],
    ids=str,
)
def test_classes_with_too_few_images_are_left_out(counts, used):
    assert enough_images(torch.tensor(counts)).tolist() == list(map(bool, used))


def test_the_set_of_classes_is_the_same_along_the_curve_and_the_rest_is_told():
    support = pictures([6, 1, 7, 2, 6])
    curve = measure_curve(base_learner(way=5), support, draws=30)
    assert (curve.classes, curve.too_few) == (("a", "c", "e"), (("b", 1), ("d", 2)))
    assert (curve.shots, curve.most) == ((1, 2, 3, 5), 6)
    assert all(len(point.recalls) == 3 for point in curve.points())
    alone = measure_curve(base_learner(way=3), support.without(["b", "d"]), draws=30)
    assert torch.equal(curve.right, alone.right)


@pytest.mark.parametrize("counts", [[5], [5, 1], [1, 1, 1]], ids=str)
def test_one_class_that_can_be_asked_is_no_curve(counts):
    with pytest.raises(ValueError, match="two classes of two images"):
        measure_curve(base_learner(), pictures(counts))


def test_a_learned_start_serves_its_own_number_of_classes():
    learner = base_learner(Head(init="learned"), way=4)
    with pytest.raises(ValueError, match="serves 4 ways, not 3"):
        measure_curve(learner, pictures([4, 4, 4]))
    assert measure_curve(learner, pictures([4, 4, 4, 4, 1]), draws=5).shots == (1, 2, 3)


def test_numbers_of_images_rise_by_about_a_half_up_to_the_last():
    assert shots_up_to(1) == (1,)
    assert shots_up_to(4) == (1, 2, 3, 4)
    assert shots_up_to(9) == (1, 2, 3, 5, 8, 9)
    assert shots_up_to(12) == (1, 2, 3, 5, 8, 12)
    assert shots_up_to(600) == (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 600)


@pytest.mark.parametrize(("images", "last"), [(2, 1), (10, 9), (39, 38), (40, 38), (200, 190)])
def test_the_last_point_leaves_an_image_in_twenty_to_be_asked(images, last):
    assert measure_curve(base_learner(), pictures([images, images]), draws=2).shots[-1] == last


@settings(max_examples=40, deadline=None)
@given(
    labels=st.lists(st.integers(0, 2), max_size=25).map(lambda more: [0, 1, 2, *more]),
    seed=st.integers(0, 99),
    asked=st.floats(0.1, 1),
)
def test_classes_count_the_same_and_distinct_images_are_the_evidence(labels, seed, asked):
    random = np.random.default_rng(seed)
    right = np.where(random.random(len(labels)) < asked, random.random(len(labels)), math.nan)
    right[:3] = random.random(3)  # an image of each class
    curve = LearningCurve(("a", "b", "c"), torch.tensor(labels), (1,), torch.tensor(right)[None], (0.1,), ())
    (point,) = curve.points()
    own = [right[(np.array(labels) == c) & ~np.isnan(right)] for c in range(3)]
    assert point.recalls == pytest.approx([x.mean() for x in own])
    assert point.accuracy == pytest.approx(np.mean([x.mean() for x in own]))
    assert point.answers == pytest.approx(9 / sum(1 / len(x) for x in own))
    assert (point.low, point.high) == pytest.approx(wilson(point.accuracy * point.answers, point.answers))
    assert point.low <= point.accuracy <= point.high
    assert (point.spread, curve.most) == (0.1, min(labels.count(c) for c in range(3)))


def test_the_interval_covers_what_is_true_of_the_classes():
    """That of 200 images a class; an interval that takes draws for evidence covers it far too seldom."""
    way, images, covered, naive = 3, 6, [], []
    for seed in range(100):
        classes = pictures([200] * way, 0.7, seed)
        own = [(classes.labels == c).nonzero().flatten() for c in range(way)]
        mine = torch.cat([rows[:images] for rows in own])
        names = [classes.classes[classes.labels[row]] for row in mine]
        curve = measure_curve(base_learner(), Support.of(classes.features[mine], names, names), draws=60)
        for point, right in zip(curve.points(), curve.right, strict=True):
            truth, _ = module._answer(base_learner(), classes, point.shot, 30, generator(seed, "truth"))
            covered.append(point.low <= float(truth.mean()) <= point.high)
            half = 1.96 * point.spread / math.sqrt(60)
            naive.append(abs(float(truth.mean()) - point.accuracy) <= half)
            assert right.isfinite().all()
    assert 0.92 <= fmean(covered) <= 0.995
    assert fmean(naive) < 0.6


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
    assert extrapolate(one, way, shot, more) == pytest.approx(other, abs=1e-6)
    assert extrapolate(other, way, more, shot) == pytest.approx(one, abs=1e-6)


@pytest.mark.parametrize("accuracy", [0.0, 0.1, 0.2, 1.0])
def test_chance_and_less_and_all_right_are_carried_as_they_are(accuracy):
    assert extrapolate(accuracy, 5, 1, 20) == accuracy
    assert extrapolate(0.2001, 5, 1, 20) == pytest.approx(0.2001, abs=2e-4)
    assert extrapolate(0.9999, 5, 1, 20) > 0.9999


def test_fewer_than_three_points_are_no_law():
    assert forecast(curve_of({1: 0.5, 2: 0.6})) is None
    assert forecast(curve_of({1: 0.5})) is None
    assert forecast(curve_of({1: 0.5, 2: 0.6, 3: 0.7})) is not None


def test_a_person_is_told_what_there_is_and_what_twice_as_many_would_bring():
    curve = curve_of({1: 0.5, 2: 0.6, 4: 0.7}, images=5)
    law = Forecast(3, 2.0, 15.0)
    now, more = law.at(5), law.at(10)
    assert [round(100 * x) for x in (now.accuracy, now.low, now.high, more.accuracy)] == [81, 53, 94, 83]
    assert forecast_sentence(curve, law) == (
        "With 5 pictures of each class about 81 % are right (53 to 94 %); with 10 about 83 %."
    )
    assert [round(100 * x) for x in wilson(1.2, 6)] == [4, 59]
    assert forecast_sentence(curve_of({1: 0.2}), None) == (
        "With 1 picture of each class 20 % are right (4 to 59 %); what more would bring so few cannot tell."
    )
    assert forecast_sentence(curve_of({1: 0.2, 2: 0.25}), None).startswith(
        "With 2 pictures of each class 25 % are right ("
    )
