import numpy as np
import pytest
import torch

from mtl.errors import UserError
from mtl.ledger.class_history import WeightsAt, weights_over_rounds
from mtl.ledger.store import KEPT_WEIGHTS, Ledger, Round


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        yield ledger


def _add(ledger, number, weights, phase="p"):
    record = Round(number, 10 * number, "class", 4, None, 0.0, None, 0.5)
    weights = None if weights is None else torch.as_tensor(weights, dtype=torch.float64)
    ledger.add_round(phase, "train", record, weights, lambda units: units[:, None])


def test_weights_by_hand(ledger):
    _add(ledger, 2, [0.125, 0.5, 0.25, 0.0625, 0.0625])
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
    _add(ledger, 0, weights)
    (found,) = weights_over_rounds(ledger, "p")
    heaviest = np.sort(weights)[-kept:]
    assert (found.units, found.kept_all) == (kept, units == kept)
    assert found.heaviest == weights.max()
    assert found.median == pytest.approx(np.median(heaviest))
    assert found.quantiles == pytest.approx([np.quantile(heaviest, q) for q in (0.1, 0.25, 0.75, 0.9)])
    assert found.effective == pytest.approx(1 / ((heaviest / heaviest.sum()) ** 2).sum())
    every = 1 / (weights**2).sum()
    assert found.effective == pytest.approx(every) if kept == units else found.effective < every


def test_even_weights_are_as_many_effective_units(ledger):
    _add(ledger, 0, [1 / 8] * 8)
    _add(ledger, 1, [1.0] + [0.0] * 7)
    even, one = weights_over_rounds(ledger, "p")
    assert even.effective == pytest.approx(8)
    assert one.effective == 1
    assert one.quantiles == (0, 0, 0, pytest.approx(0.3))


def test_rounds_without_weights_and_other_phases_do_not_count(ledger):
    _add(ledger, 0, None)
    _add(ledger, 1, [0.5, 0.5])
    _add(ledger, 1, [1.0], phase="q")
    _add(ledger, 4, [0.25, 0.75])
    assert [(w.round, w.units) for w in weights_over_rounds(ledger, "p")] == [(1, 2), (4, 2)]
    _add(ledger, 0, None, phase="r")
    assert weights_over_rounds(ledger, "r") == []


@pytest.mark.parametrize("rounds", [1, 2, 5, 6, 7, 11, 30])
def test_many_rounds_are_thinned_evenly_between_the_first_and_the_last(ledger, rounds):
    for number in range(rounds):
        _add(ledger, 3 * number, [0.5, 0.5])
    found = [w.round // 3 for w in weights_over_rounds(ledger, "p", most=6)]
    assert len(found) == min(rounds, 6)
    assert (found[0], found[-1]) == (0, rounds - 1)
    steps = np.diff(found)
    assert len(steps) == 0 or max(steps) - min(steps) <= 1
    assert (steps > 0).all()


def test_what_is_not_there_is_told(ledger):
    with pytest.raises(UserError, match='no phase "q"'):
        weights_over_rounds(ledger, "q")
    with pytest.raises(ValueError, match="the first and the last"):
        weights_over_rounds(ledger, "q", most=1)
