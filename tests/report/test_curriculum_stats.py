"""When images began to count: every number by counting one image after the other."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtl.report import curriculum_stats as stats
from mtl.training.curriculum import UNMET, Curriculum


def records(epochs: int = 6, images: int = 25):
    """Weights (E, P) of which many are 0, 100 or UNMET."""
    values = st.sampled_from([UNMET, 0, 0, 1, 40, 100])
    shapes = st.tuples(st.integers(1, epochs), st.integers(1, images))
    return shapes.flatmap(lambda shape: hnp.arrays(np.int8, shape, elements=values)).map(torch.from_numpy)


def record(weights, labels, mislabelled=None, classes=3):
    weights, labels = torch.tensor(weights, dtype=torch.int8), torch.tensor(labels)
    wrong = torch.zeros(len(labels), dtype=torch.bool) if mislabelled is None else torch.tensor(mislabelled)
    names = tuple(f"class {i}" for i in range(classes))
    return Curriculum(torch.arange(len(labels)), labels, wrong, weights, names)


def entry_of(column):
    """The first epoch in which an image counts, None where there is none."""
    return next((e for e, v in enumerate(column) if v > 0), None)


@given(records(), st.integers(0, 2**25 - 1))
def test_the_pace_is_of_the_images_that_were_met(weights, chosen):
    among = torch.tensor([bool(chosen >> p & 1) for p in range(weights.shape[1])])
    for of, found in (
        (weights, stats.pace(weights)),
        (weights[:, among], stats.pace(weights, among)),
    ):
        for e, row in enumerate(of.tolist()):
            met = [v for v in row if v != UNMET]
            assert found.met[e] == len(met)
            assert found.counted[e] == sum(v > 0 for v in met)
            if met:
                assert float(found.share[e]) == sum(v > 0 for v in met) / len(met)
                assert float(found.weight[e]) == pytest.approx(sum(met) / len(met) / 100)
            else:
                assert math.isnan(found.share[e])
                assert math.isnan(found.weight[e])


def test_images_that_were_not_met_do_not_lower_the_share():
    weights = torch.tensor([[100, 50, 0, UNMET, UNMET]], dtype=torch.int8)
    found = stats.pace(weights)
    assert float(found.share) == 2 / 3
    assert float(found.weight) == 0.5
    assert float((weights > 0).double().mean()) == 2 / 5  # what counting all of them would say


def test_sums_of_many_images_do_not_overflow():
    weights = torch.full((2, 100_000), 100, dtype=torch.int8)
    assert stats.pace(weights).weight.tolist() == [1.0, 1.0]
    assert stats.in_order(weights).tolist() == list(range(100_000))


@given(records())
def test_an_image_enters_when_it_first_counts(weights):
    epochs = len(weights)
    columns = weights.T.tolist()
    expected = [entry_of(column) for column in columns]
    assert stats.entry(weights).tolist() == [epochs if e is None else e for e in expected]
    met = [any(v != UNMET for v in column) for column in columns]
    never = [e is None and m for e, m in zip(expected, met, strict=True)]
    assert stats.never(weights).tolist() == never


@given(records())
def test_images_are_in_order_of_their_entry_then_of_their_mean_weight(weights):
    def key(place):
        column = weights[:, place].tolist()
        met = [v for v in column if v != UNMET]
        enters = entry_of(column)
        return (len(column) if enters is None else enters, -sum(met) / max(len(met), 1), place)

    assert stats.in_order(weights).tolist() == sorted(range(weights.shape[1]), key=key)


@given(records(), st.integers(1, 30), st.randoms(use_true_random=False))
def test_the_heat_map_holds_the_means_of_bins(weights, rows, random):
    order = list(range(weights.shape[1]))
    random.shuffle(order)
    found = stats.heat(weights, torch.tensor(order), rows)
    bins = np.array_split(order, min(rows, len(order)))
    assert found.shape == (len(bins), len(weights))
    for r, own in enumerate(bins):
        for e in range(len(weights)):
            met = [int(weights[e, p]) for p in own if weights[e, p] != UNMET]
            expected = np.mean(met) / 100 if met else math.nan
            assert float(found[r, e]) == pytest.approx(expected, nan_ok=True)


@settings(deadline=None)
@given(records(images=40), st.integers(1, 8), st.integers(0, 5))
def test_strips_are_of_those_that_counted_first_late_and_never(weights, size, seed):
    epochs = len(weights)
    columns = weights.T.tolist()
    enters = [entry_of(column) for column in columns]
    start = min((e for e in enters if e is not None), default=None)
    waited = {p for p, e in enumerate(enters) if 0 in columns[p][: epochs if e is None else e]}
    late = sorted(e for p, e in enumerate(enters) if e is not None and e > start and p in waited)
    strips = {strip.name: strip for strip in stats.strips(weights, size, seed)}

    expected = {
        "First": sum(e is not None and e == start for e in enters),
        "Midway": len(late) - size,
        "Last": len(late),
        "Never": sum(e is None and p in waited for p, e in enumerate(enters)),
    }
    assert {n: len(s.shown) for n, s in strips.items()} == {
        n: min(count, size) for n, count in expected.items() if count > 0
    }
    shown = [p for strip in strips.values() for p in strip.shown.tolist()]
    assert len(set(shown)) == len(shown)
    for name, strip in strips.items():
        own = [enters[p] for p in strip.shown.tolist()]
        if name == "Never":
            assert strip.epochs is None
            assert set(own) == {None}
            assert set(strip.members.tolist()) == {p for p in waited if enters[p] is None}
            continue
        low, high = strip.epochs
        assert (low, high) == (min(own), max(own))
        assert set(strip.members.tolist()) == {
            p
            for p, e in enumerate(enters)
            if e is not None and low <= e <= high and (e == start or p in waited)
        }
        assert set(strip.shown.tolist()) <= set(strip.members.tolist())
    if "Last" in strips:
        assert sorted(enters[p] for p in strips["Last"].shown.tolist()) == late[-size:]
    if "Midway" in strips:
        before, count = len(late) - size, len(strips["Midway"].shown)
        gap = (before - count) // 2
        assert sorted(enters[p] for p in strips["Midway"].shown.tolist()) == late[gap : gap + count]


def test_an_image_that_was_only_not_met_is_not_late():
    weights = torch.tensor([[100, 0, UNMET, UNMET], [100, 100, 100, UNMET]], dtype=torch.int8)
    assert stats.entry(weights).tolist() == [0, 1, 1, 2]
    strips = {strip.name: strip.shown.tolist() for strip in stats.strips(weights, 4, 0)}
    assert strips == {"First": [0], "Last": [1]}


def test_what_is_shown_is_drawn_from_the_seed():
    weights = torch.full((3, 500), 100, dtype=torch.int8)
    one, same, other = (stats.strips(weights, 10, seed)[0].shown.tolist() for seed in (0, 0, 1))
    assert one == same
    assert set(one) != set(other)
    assert one != sorted(one)  # a draw, not the first ten of the set
    curriculum = record(weights.tolist(), [p % 50 for p in range(500)], classes=50)
    grids = [stats.grid(curriculum, 5, 3, seed) for seed in (0, 0, 1)]
    kept = [{label: own.tolist() for label, own in one.items()} for one in grids]
    assert kept[0] == kept[1]
    assert set(kept[0]) != set(kept[2])


def test_the_grid_has_images_of_some_classes_in_their_order():
    random = np.random.default_rng(0)
    weights = random.choice([UNMET, 0, 100], size=(4, 60)).astype(np.int8)
    labels = random.choice([0, 1, 3, 4], size=60)  # no image is of class 2
    labels[labels == 4] = 3
    labels[7] = 4
    curriculum = record(weights.tolist(), labels.tolist(), classes=6)
    place = {p: i for i, p in enumerate(stats.in_order(curriculum.weights).tolist())}
    found = stats.grid(curriculum, 12, 8, 0)
    assert list(found) == [0, 1, 3, 4]
    for label, own in found.items():
        assert set(curriculum.labels[own].tolist()) == {label}
        assert len(own) == min((labels == label).sum(), 8)
        assert [place[p] for p in own.tolist()] == sorted(place[p] for p in own.tolist())
    few = stats.grid(curriculum, 2, 3, 0)
    assert [len(own) for own in few.values()] == [3, 3] or 4 in few


def test_images_are_told_apart_by_label_where_some_are_wrong():
    weights, labels = [[100, 0, 100]], [0, 1, 2]
    assert stats.groups(record(weights, labels)) == {}
    found = stats.groups(record(weights, labels, [True, False, False]))
    assert {name: own.tolist() for name, own in found.items()} == {
        "right labels": [False, True, True],
        "wrong labels": [True, False, False],
    }


@pytest.mark.parametrize(
    ("counts", "apart"),
    [
        ([8, 4, 2], True),
        ([4, 3, 2], True),  # just twice
        ([5, 4, 3], False),
        ([8, 1], False),  # too few classes for thirds
        ([20, 18, 22, 19, 25, 15], False),  # unequal as wrong labels make it
        ([9, 9, 9, 3, 3, 3], True),
        ([9, 0, 9, 9], False),
    ],
)
def test_images_are_told_apart_by_class_size_where_sizes_differ(counts, apart):
    labels = [c for c, n in enumerate(counts) for _ in range(n)]
    found = stats.groups(record([[100] * len(labels)], labels, classes=len(counts)))
    assert list(found) == (["many", "medium", "few"] if apart else [])
    if apart:
        sizes = {name: [counts[labels[p]] for p in own.nonzero()] for name, own in found.items()}
        assert min(sizes["many"]) >= max(sizes["medium"])
        assert min(sizes["medium"]) >= max(sizes["few"])
        assert sum(own.int() for own in found.values()).tolist() == [1] * len(labels)
