"""Classes over the rounds of a phase, their shares of the hard draws, and weights over rounds."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl.errors import UserError
from mtl.ledger.class_history import (
    Share,
    WeightsAt,
    class_trends,
    extra_draws,
    round_bins,
    weights_over_rounds,
)
from mtl.ledger.confusions import confusions
from mtl.ledger.queries import confused_pairs, hardest_classes
from mtl.ledger.store import KEPT_WEIGHTS, RoundRow

NAMES = {0: "ant", 1: "bee", 2: "cat", 3: "dog", 4: "eel"}
NO_EPISODES = RoundRow(0, 10, "class", 4, None, 0.0, None, 0.5)


def test_bins_by_hand():
    assert round_bins([0, 1, 2, 3], 2) == [(0, 1), (2, 3)]
    assert round_bins([3, 5, 6, 10, 11], 2) == [(3, 5), (6, 11)]
    assert round_bins([4], 7) == [(4, 4)]
    assert round_bins([], 7) == []
    with pytest.raises(ValueError, match="at least 1"):
        round_bins([1, 2], 0)


@given(st.sets(st.integers(0, 1000)).map(sorted), st.integers(1, 40))
def test_every_round_is_in_one_bin_and_sizes_differ_by_one_at_most(rounds, most):
    bins = round_bins(rounds, most)
    assert len(bins) == min(most, len(rounds))
    inside = [[r for r in rounds if first <= r <= last] for first, last in bins]
    assert [r for part in inside for r in part] == rounds
    sizes = [len(part) for part in inside]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert all((part[0], part[-1]) == one for part, one in zip(inside, bins, strict=True))


def test_trends_by_hand(ledger, solved):
    ledger.register_classes("train", NAMES)
    ledger.append("p", 0, 0, *solved([[0, 1]], [[1.0, 0.5]]), "train")
    ledger.append("p", 1, 0, *solved([[0, 1]], [[0.5, 0.5]]), "train")
    ledger.append("p", 3, 0, *solved([[0, 2]], [[0.25, 0.0]]), "train")
    ledger.append("p", 3, 0, *solved([[0, 2]], [[1.0, 0.75]], queries=8), "train")
    ledger.add_round(
        "p", "train", RoundRow(6, 10, "class", 4, None, 0.0, None, 0.5)
    )  # without episodes: no bin
    assert class_trends(ledger, "p", ["bee", "ant", "cat"]) == [
        [0.5, 0.5, None],
        [1.0, 0.5, 9 / 12],  # 1 of 4 and 8 of 8: queries count, not episodes
        [None, None, 6 / 12],
    ]
    assert class_trends(ledger, "p", ["ant", "bee"], points=2) == [[1.0, 11 / 16], [0.5, 0.5]]
    assert class_trends(ledger, "p", ["ant"], points=1) == [[(4 + 2 + 1 + 8) / 20]]
    assert class_trends(ledger, "p", ["dog"]) == [[None, None, None]]  # registered, never drawn
    assert class_trends(ledger, "p", []) == []
    ledger.add_round("q", "train", NO_EPISODES)
    assert class_trends(ledger, "q", ["ant", "bee"]) == [[], []]


@pytest.mark.parametrize("points", [1, 3, 8, 24])
def test_trends_against_a_plain_loop(ledger, random_solved, points):
    rounds, met = 11, {}
    ledger.register_classes("train", {c: NAMES[c] for c in range(4)})
    for number in range(rounds):
        batch, outcome = random_solved(3, 3, 9, seed=number)
        ledger.append("p", number, number, batch, outcome, "train")
        ledger.append("other", number, number, *random_solved(3, 3, 9, seed=100 + number), "train")
        for classes, recall in zip(batch.classes.tolist(), outcome.recall.tolist(), strict=True):
            for c, share in zip(classes, recall, strict=True):
                met.setdefault(c, []).append((number, share))
    count = min(points, rounds)
    cuts = [rounds * k // count for k in range(count + 1)]
    expected = []
    for c in range(9):
        shares = [[s for n, s in met[c] if cuts[k] <= n < cuts[k + 1]] for k in range(count)]
        expected.append([sum(s) / len(s) if s else None for s in shares])
    found = class_trends(ledger, "p", ["ant", "bee", "cat", "dog", "4", "5", "6", "7", "8"], points)
    assert [[x is None for x in row] for row in found] == [[x is None for x in row] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert [x for x in row if x is not None] == pytest.approx([x for x in other if x is not None])


def test_an_evaluation_is_judged_by_its_evenly_drawn_tasks_alone(ledger, solved):
    phase = "evaluate train 2-way 1-shot"
    ledger.register_classes("train", NAMES)
    ledger.append(phase, 0, 0, *solved([[0, 1], [2, 3]], [[1.0, 0.5], [0.75, 0.75]]), "train")
    for number in range(1, 4):  # the worst task, again and again
        ledger.append(phase, number, 0, *solved([[0, 1]], [[0.0, 0.0]]), "train")
    assert class_trends(ledger, phase, ["ant", "cat"]) == [[1.0], [0.75]]
    assert {c.name: (c.recall, c.draws, c.trend) for c in hardest_classes(ledger, phase)} == {
        "ant": (1.0, 1, None),
        "bee": (0.5, 1, None),
        "cat": (0.75, 1, None),
        "dog": (0.75, 1, None),
    }
    assert {pair.n for pair in confused_pairs(ledger, phase)} == {1}
    assert hardest_classes(ledger, phase, round=3)[0].recall == 0.0  # asked for, it is shown
    found = confusions(ledger, phase)
    pairs = {frozenset(p.classes): p.confusion for p in confused_pairs(ledger, phase)}
    of_pair = {
        frozenset((found.names[i], found.names[j])): (found.matrix[i, j] + found.matrix[j, i]) / 2
        for i in range(4)
        for j in range(i)
    }
    assert {pair: of_pair[pair] for pair in pairs} == pytest.approx(pairs)


def _draw(ledger, solved, task, origin, phase="p"):
    ledger.append(phase, 0, 0, *solved([task], [[0.5] * len(task)], origin), "train")


def test_shares_of_classes_by_hand(ledger, solved):
    ledger.register_classes("train", NAMES)
    for task, origin in (
        ([0, 1], "uniform"), ([2, 1], "hard"), ([2, 3], "resampled"), ([2, 0], "hard"), ([3, 2], "uniform"),
        ([0, 3], "meta-test"), ([1, 0], "control"),
    ):  # fmt: skip
        _draw(ledger, solved, task, origin)
    _draw(ledger, solved, [0, 1], "hard", phase="q")
    # 6 hard draws over 5 classes, of which eel was never drawn
    expected = [
        Share("cat", 3, 4, 1.2), Share("ant", 1, 4, 1.2), Share("bee", 1, 3, 1.2), Share("dog", 1, 3, 1.2),
        Share("eel", 0, 0, 1.2),
    ]  # fmt: skip
    assert extra_draws(ledger, "p") == expected
    assert extra_draws(ledger, "p", top=2) == expected[:2]


def test_shares_of_groups_by_hand(ledger, solved):
    ledger.register_classes("train", NAMES, {0: "large", 1: "large", 2: "large", 3: "small", 4: "small"})
    for task, origin in (([0, 1], "hard"), ([2, 3], "hard"), ([3, 4], "hard"), ([0, 3], "uniform")):
        _draw(ledger, solved, task, origin)
    # of 6 hard draws an even share is 3.6 and 2.4: the larger group has as many, and less than its share
    assert extra_draws(ledger, "p") == [
        Share("small", 3, 4, pytest.approx(2.4)), Share("large", 3, 4, pytest.approx(3.6))
    ]  # fmt: skip


def test_the_first_got_most_above_its_share(ledger, solved):
    """Not the most draws, nor the largest multiple of its share."""
    groups = {0: "one"} | dict.fromkeys(range(1, 8), "many") | dict.fromkeys(range(8, 11), "some")
    ledger.register_classes("train", {c: str(c) for c in groups}, groups)
    for task in [[1, 2]] * 6 + [[8, 9]] * 5 + [[0, 3]] * 4:  # 16, 10 and 4 of 30; even are 19.1, 8.2 and 2.7
        _draw(ledger, solved, task, "hard")
    assert [(s.name, s.hard) for s in extra_draws(ledger, "p")] == [("some", 10), ("one", 4), ("many", 16)]


def test_too_many_groups_are_shown_by_class(ledger, solved):
    _draw(ledger, solved, [0, 1], "hard")
    for count in (200, 201):
        names, groups = ({c: f"{letter}{c}" for c in range(count)} for letter in "cg")
        ledger.register_classes("train", names, groups)
        assert extra_draws(ledger, "p")[0].name == ("g0" if count == 200 else "c0")


def test_without_hard_draws_there_are_no_shares(ledger, solved):
    ledger.add_round("p", "train", NO_EPISODES)
    assert extra_draws(ledger, "p") == []
    _draw(ledger, solved, [0, 1], "uniform")
    assert extra_draws(ledger, "p") == []


def _weigh(ledger, number, weights, phase="p"):
    record = RoundRow(number, 10 * number, "class", 4, None, 0.0, None, 0.5)
    weights = None if weights is None else torch.as_tensor(weights, dtype=torch.float64)
    ledger.add_round(phase, "train", record, weights, lambda units: units[:, None])


def test_weights_by_hand(ledger):
    _weigh(ledger, 2, [0.125, 0.5, 0.25, 0.0625, 0.0625])
    (found,) = weights_over_rounds(ledger, "p")
    assert found == WeightsAt(
        round=2, units=5, heaviest=0.5, median=0.125,
        quantiles=(0.0625, 0.0625, 0.25, pytest.approx(0.25 + 0.6 * 0.25)),
        effective=1 / (0.25 + 0.0625 + 0.015625 + 2 * 0.00390625), kept_all=True,
    )  # fmt: skip


@pytest.mark.parametrize(("units", "kept"), [(7, 7), (KEPT_WEIGHTS, KEPT_WEIGHTS), (1500, KEPT_WEIGHTS)])
def test_of_many_units_the_numbers_are_those_of_the_heaviest(ledger, units, kept):
    weights = np.random.default_rng(0).exponential(size=units)
    weights /= weights.sum()
    _weigh(ledger, 0, weights)
    (found,) = weights_over_rounds(ledger, "p")
    heaviest = np.sort(weights)[-kept:]
    assert (found.units, found.kept_all) == (kept, units == kept)
    assert found.heaviest == weights.max()
    assert found.median == pytest.approx(np.median(heaviest))
    assert found.quantiles == pytest.approx([np.quantile(heaviest, q) for q in (0.1, 0.25, 0.75, 0.9)])
    assert found.effective == pytest.approx(1 / ((heaviest / heaviest.sum()) ** 2).sum())
    every = 1 / (weights**2).sum()
    assert found.effective == pytest.approx(every) if kept == units else found.effective < every


def test_rounds_without_weights_and_other_phases_do_not_count(ledger):
    _weigh(ledger, 0, None)
    _weigh(ledger, 1, [0.5, 0.5])
    _weigh(ledger, 1, [1.0], phase="q")
    _weigh(ledger, 4, [0.25, 0.75])
    assert [(w.round, w.units) for w in weights_over_rounds(ledger, "p")] == [(1, 2), (4, 2)]
    _weigh(ledger, 0, None, phase="r")
    assert weights_over_rounds(ledger, "r") == []


@pytest.mark.parametrize("rounds", [1, 2, 5, 6, 7, 11, 30])
def test_many_rounds_are_thinned_evenly_between_the_first_and_the_last(ledger, rounds):
    for number in range(rounds):
        _weigh(ledger, 3 * number, [0.5, 0.5])
    found = [w.round // 3 for w in weights_over_rounds(ledger, "p", most=6)]
    assert len(found) == min(rounds, 6)
    assert (found[0], found[-1]) == (0, rounds - 1)
    steps = np.diff(found)
    assert len(steps) == 0 or 0 < min(steps) <= max(steps) <= min(steps) + 1


def test_a_wrong_name_or_number_is_refused(ledger, solved):
    ledger.register_classes("train", NAMES)
    ledger.append("p", 0, 0, *solved([[0, 1]], [[1.0, 0.5]]), "train")
    for view, more in ((class_trends, [["ant"]]), (extra_draws, []), (weights_over_rounds, [])):
        with pytest.raises(UserError, match='no phase "q"'):
            view(ledger, "q", *more)
    for name in ("yak", "0", "7"):  # class 0 has a name, and goes by it
        with pytest.raises(UserError, match=f"phase \"p\" has no class '{name}'"):
            class_trends(ledger, "p", ["ant", name])
    with pytest.raises(UserError, match="top: 0"):
        extra_draws(ledger, "p", top=0)
    with pytest.raises(ValueError, match="most: 1"):
        weights_over_rounds(ledger, "p", most=1)
