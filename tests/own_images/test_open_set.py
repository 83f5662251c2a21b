"""None of these: likenesses against brute force, the threshold against scipy, known images against unlike."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mtl.own_images.leave_one_out import OpenSet, fit_open_set, likenesses
from mtl.own_images.support import Support
from mtl.runtime.seeds import generator

D = 12


def clouds(counts, spread=0.5, size=D, seed=0):
    """Support features around a random centre of each class, and the centres (N, D)."""
    random = generator(seed, "clouds", *counts)
    centres = torch.randn(len(counts), size, generator=random)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    features = centres[labels] + spread * torch.randn(len(labels), size, generator=random)
    names = [f"{label:03d}" for label in labels]
    return Support.of(features, names, names), centres


def one_by_one(support):
    """Likenesses in plain loops: the cosines themselves, each made up for as the docstring has it."""
    unit = F.normalize(support.features.double(), dim=-1)
    labels, way = support.labels.tolist(), support.way
    of_class = [[unit[i] for i, label in enumerate(labels) if label == c] for c in range(way)]
    known, unlike = [], []
    for i, label in enumerate(labels):
        cosines = sorted(
            (float(F.cosine_similarity(unit[i], sum(of_class[c]), dim=0)) for c in range(way) if c != label),
            reverse=True,
        )
        gap = cosines[0] - cosines[1] if way > 2 else 0.0
        unlike.append(min(1.0, cosines[0] + gap / way))
        n = len(of_class[label])
        if n == 1:
            known.append(math.nan)
            continue
        pairs = [
            float(a @ b)
            for x, a in enumerate(of_class[label])
            for y, b in enumerate(of_class[label])
            if x < y
        ]
        alike = max(sum(pairs) / len(pairs), 1e-3)

        def of_mean(m, c=alike):
            return c * math.sqrt(m / (1 + (m - 1) * c))

        rest = sum(of_class[label]) - unit[i]
        own = float(F.cosine_similarity(unit[i], rest, dim=0)) * of_mean(n) / of_mean(n - 1)
        known.append(min(1.0, max(own, cosines[0])))
    return known, unlike


@pytest.mark.parametrize("counts", [[3, 3, 3, 3], [5, 1, 2, 9], [4, 2]], ids=str)
def test_likenesses_are_those_of_loops(counts):
    support, _ = clouds(counts, spread=2.0)  # some are more like another class than their own
    loops = one_by_one(support)
    assert any(own <= other for own, other in zip(*loops, strict=True))
    for found, wanted in zip(likenesses(support), loops, strict=True):
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize(("images", "lacks"), [(2, 0.04), (4, 0.01)])
def test_what_an_image_lacks_is_made_up_for(images, lacks):
    """Left-out images are, on average, as alike as new ones are to the mean of all."""
    told, true, raw = [], [], []
    for seed in range(60):
        support, centres = clouds([images] * 2, spread=1.0, size=200, seed=seed)
        random = generator(seed, "new")
        prototype = F.normalize(F.normalize(support.features[:images], dim=-1).sum(0), dim=0)
        new = F.normalize(centres[0] + torch.randn(50, 200, generator=random), dim=-1)
        true.append(float((new @ prototype).mean()))
        told.append(float(likenesses(support)[0][:images].mean()))
        unit = F.normalize(support.features[:images], dim=-1)
        rest = F.normalize(unit.sum(0) - unit, dim=-1)
        raw.append(float((unit * rest).sum(-1).mean()))
    assert np.mean(told) == pytest.approx(np.mean(true), abs=lacks / 4)
    assert np.mean(raw) < np.mean(true) - lacks


def test_the_class_that_is_missing_is_made_up_for():
    """Images without their class are as like to the nearest of N - 1 as images of none to that of N."""
    told, true, raw = [], [], []
    for seed in range(150):
        support, _ = clouds([4] * 8, spread=0.3, seed=seed)
        prototypes = torch.stack(
            [F.normalize(support.features[support.labels == c], dim=-1).sum(0) for c in range(8)]
        )
        new = torch.randn(60, D, generator=generator(seed, "none"))
        true.append(float((F.normalize(new, dim=-1) @ F.normalize(prototypes, dim=-1).T).amax(-1).mean()))
        told.append(float(likenesses(support)[1].mean()))
        cosines = F.normalize(support.features, dim=-1) @ F.normalize(prototypes, dim=-1).T
        raw.append(float(cosines.scatter(1, support.labels[:, None], -2).amax(-1).mean()))
    assert abs(np.mean(told) - np.mean(true)) < 0.5 * abs(np.mean(raw) - np.mean(true))


@pytest.mark.parametrize("counts", [[5, 5, 5], [9, 1, 2, 4]], ids=str)
def test_threshold_and_slope_are_those_of_a_logistic_regression(counts):
    support, _ = clouds(counts, spread=1.0)
    known, unlike = (values.numpy() for values in likenesses(support))
    share = (1 / support.counts()[support.labels].double()).numpy()
    several = ~np.isnan(known)
    likeness = np.r_[known[several], unlike]
    of_known = np.r_[np.ones(several.sum()), np.zeros(len(unlike))]
    weight = np.r_[share[several] / share[several].sum(), share / share.sum()] / 2
    shares = np.r_[share[several], share]
    total = shares.sum() ** 2 / (shares**2).sum()
    middle = (weight * likeness).sum()
    deviation = np.sqrt((weight * (likeness - middle) ** 2).sum())

    def loss(line):
        logits = line[0] * (likeness - line[1])
        nll = np.logaddexp(0, logits) - of_known * logits
        return total * (weight * nll).sum() + (line[0] * deviation) ** 2 / 2

    wanted = minimize(
        loss, [1 / deviation, middle], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}
    )
    found = fit_open_set(support)
    assert found.threshold == pytest.approx(wanted.x[1], rel=1e-3)
    assert found.slope == pytest.approx(wanted.x[0], rel=1e-3)
    prototypes = [
        F.normalize(F.normalize(support.features[support.labels == c], dim=-1).sum(0), dim=0)
        for c in range(len(counts))
    ]
    torch.testing.assert_close(found.prototypes, torch.stack(prototypes))


def test_the_probability_is_even_at_the_threshold_and_falls_with_likeness():
    asked = OpenSet(torch.eye(3), 0.6, 20.0)
    angles = torch.tensor([0.0, math.acos(0.6), math.acos(0.4)])
    features = torch.stack([angles.cos(), -angles.sin(), 0 * angles], 1) * 7  # its length makes no difference
    wanted = [1 / (1 + math.exp(20 * (like - 0.6))) for like in (1.0, 0.6, 0.4)]
    found = asked.none(features)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)
    assert asked.none(torch.eye(3)[2:] * 0.01).item() == pytest.approx(wanted[0], rel=1e-4)


def test_known_and_unlike_images_are_told_apart():
    support, centres = clouds([6] * 5, size=30)
    found = fit_open_set(support)
    random = generator(0, "queries")
    known = centres.repeat(40, 1) + 0.5 * torch.randn(200, 30, generator=random)
    unlike = torch.randn(200, 30, generator=random)
    assert (found.none(known) < 0.5).double().mean() > 0.95
    assert (found.none(unlike) > 0.5).double().mean() > 0.95


def test_where_unlike_images_are_as_alike_the_slope_stays_positive():
    random = generator(0, "noise")
    for seed in range(10):
        names = list("aabbcc")
        noise = Support.of(torch.randn(6, 3, generator=random), names, [str(seed)] * 6)
        found = fit_open_set(noise)
        assert found.slope > 0
        assert math.isfinite(found.threshold)


def test_nothing_is_known_where_no_class_has_two_images():
    assert fit_open_set(clouds([1, 1, 1])[0]) is None
    assert fit_open_set(clouds([2, 1, 1])[0]) is not None


def test_copies_of_one_image_are_no_cause_of_nonsense():
    names = list("aabb")
    found = fit_open_set(Support.of(torch.eye(2).repeat_interleave(2, 0), names, names))
    assert math.isfinite(found.threshold)
    assert 0 < found.slope < math.inf
    assert found.none(torch.eye(2)).max() < 0.5 < found.none(-torch.eye(2)).min()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.integers(0, 1000), st.floats(0.01, 100))
def test_neither_lengths_nor_the_order_of_images_matter(counts, seed, length):
    support, _ = clouds(counts, seed=seed)
    order = torch.randperm(len(support), generator=generator(seed, "order"))
    names = support.names()
    mixed = Support.of(
        length * support.features[order], [names[i] for i in order], [str(i) for i in range(len(order))]
    )
    one, other = fit_open_set(support), fit_open_set(mixed)
    if one is None:
        assert other is None
        return
    assert other.threshold == pytest.approx(one.threshold, abs=1e-3)
    assert other.slope == pytest.approx(one.slope, rel=1e-2)
