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

from mtl.config import Head
from mtl.models.heads import BaseLearner
from mtl.own_images import learning_curve as module
from mtl.own_images.learning_curve import LearningCurve, enough_images, learning_curve, shots_up_to
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
    curve = learning_curve(base_learner(), support)
    assert curve.shots == (1, 2)
    for point, right, shot in zip(curve.points(), curve.right, (1, 2), strict=True):
        shares, accuracies = by_hand(support, draws[shot], shot)
        np.testing.assert_allclose(right, shares, rtol=1e-12)
        recalls = [np.mean(shares[support.labels.numpy() == c]) for c in range(3)]
        assert point.recalls == pytest.approx(recalls, rel=1e-12)
        assert point.accuracy == pytest.approx(np.mean(recalls), rel=1e-12)
        assert point.spread == pytest.approx(np.std(accuracies, ddof=1), rel=1e-12)
        assert point.worst == int(np.argmin(recalls))


def test_many_draws_come_near_to_all_of_them():
    support = pictures([4, 5, 4])
    curve = learning_curve(base_learner(), support, draws=3000)
    for right, shot in zip(curve.right, curve.shots, strict=True):
        shares, _ = by_hand(support, all_draws(support, shot), shot)
        np.testing.assert_allclose(right, shares, atol=0.07)  # 4 standard errors of 750 answers


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
    curve = learning_curve(learner, support, draws=80)
    assert [point.shot for point in curve.points()] == [1, 2, 3, 5]
    for point in curve.points():
        assert (point.accuracy, point.spread, point.high, set(point.recalls)) == (1, 0, 1, {1.0})
        assert point.low == wilson(18, 18)[0]


def test_noise_is_guessed_for_no_image_answers_itself():
    points = [
        learning_curve(base_learner(way=4), pictures([12] * 4, 0, seed), draws=50).points()
        for seed in range(15)
    ]
    for at in zip(*points, strict=True):
        assert fmean(point.accuracy for point in at) == pytest.approx(0.25, abs=0.04)


def test_the_same_seed_draws_the_same():
    support = pictures([5, 6, 5])
    one, again, other = (learning_curve(base_learner(), support, seed, draws=40) for seed in (3, 3, 4))
    assert torch.equal(one.right, again.right)
    assert (one.spread, one.points()) == (again.spread, again.points())
    assert not torch.equal(one.right, other.right)
    before = torch.random.get_rng_state()
    learning_curve(base_learner(), support, draws=3)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_the_order_of_classes_changes_nothing(head):
    support, new = pictures([5, 7, 6]), (2, 0, 1)
    other = replace(support, labels=torch.tensor(new)[support.labels])
    one, two = (learning_curve(base_learner(head), s, draws=40) for s in (support, other))
    torch.testing.assert_close(one.right, two.right)
    for a, b in zip(one.points(), two.points(), strict=True):
        assert a.recalls == pytest.approx([b.recalls[place] for place in new])
        assert (a.accuracy, a.low, a.high, a.spread) == pytest.approx((b.accuracy, b.low, b.high, b.spread))


def test_tasks_that_do_not_fit_together_are_asked_in_turn(monkeypatch):
    support = pictures([6, 6, 6])
    together = learning_curve(base_learner(), support, draws=30)
    monkeypatch.setattr(module, "_FLOATS", 1)
    apart = learning_curve(base_learner(), support, draws=30)
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
    assert learning_curve(base_learner(), pictures([9, 9, 9]), draws=100).shots == (1, 2, 3)
    assert sizes == {1: 100, 2: 30, 3: 20}
    learning_curve(base_learner(), pictures([9, 9, 9]), draws=7)
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
    curve = learning_curve(base_learner(way=5), support, draws=30)
    assert (curve.classes, curve.too_few) == (("a", "c", "e"), (("b", 1), ("d", 2)))
    assert (curve.shots, curve.most) == ((1, 2, 3, 5), 6)
    assert all(len(point.recalls) == 3 for point in curve.points())
    alone = learning_curve(base_learner(way=3), support.without(["b", "d"]), draws=30)
    assert torch.equal(curve.right, alone.right)


@pytest.mark.parametrize("counts", [[5], [5, 1], [1, 1, 1]], ids=str)
def test_one_class_that_can_be_asked_is_no_curve(counts):
    with pytest.raises(ValueError, match="two classes of two images"):
        learning_curve(base_learner(), pictures(counts))


def test_a_learned_start_serves_its_own_number_of_classes():
    learner = base_learner(Head(init="learned"), way=4)
    with pytest.raises(ValueError, match="serves 4 ways, not 3"):
        learning_curve(learner, pictures([4, 4, 4]))
    assert learning_curve(learner, pictures([4, 4, 4, 4, 1]), draws=5).shots == (1, 2, 3)


def test_numbers_of_images_rise_by_about_a_half_up_to_the_last():
    assert shots_up_to(1) == (1,)
    assert shots_up_to(4) == (1, 2, 3, 4)
    assert shots_up_to(9) == (1, 2, 3, 5, 8, 9)
    assert shots_up_to(12) == (1, 2, 3, 5, 8, 12)
    assert shots_up_to(600) == (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 600)


@pytest.mark.parametrize(("images", "last"), [(2, 1), (10, 9), (39, 38), (40, 38), (200, 190)])
def test_the_last_point_leaves_an_image_in_twenty_to_be_asked(images, last):
    assert learning_curve(base_learner(), pictures([images, images]), draws=2).shots[-1] == last


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
        curve = learning_curve(base_learner(), Support.of(classes.features[mine], names, names), draws=60)
        for point, right in zip(curve.points(), curve.right, strict=True):
            truth, _ = module._ask(base_learner(), classes, point.shot, 30, generator(seed, "truth"))
            covered.append(point.low <= float(truth.mean()) <= point.high)
            half = 1.96 * point.spread / math.sqrt(60)
            naive.append(abs(float(truth.mean()) - point.accuracy) <= half)
            assert right.isfinite().all()
    assert 0.92 <= fmean(covered) <= 0.995
    assert fmean(naive) < 0.6
