"""Who learned, and data maps, against plain loops over what was recorded."""

from collections import defaultdict
from itertools import combinations
from statistics import fmean, pstdev

import pytest

from mtl.ledger import training_dynamics
from mtl.ledger.neighbourhoods import HardNeighbourhood
from mtl.ledger.queries import confused_pairs
from mtl.ledger.training_dynamics import class_map, learned_since, pair_map

PHASE = "meta-train"


def _row(name, *history):
    return HardNeighbourhood(name, ("x",), history[0], history[-1], fmean(history), 0, None, None, history)


def test_learned_are_those_that_began_low_and_rose_most():
    rows = [
        _row("c", 0.125, 0.375), _row("b", 0.25, 0.875), _row("a", 0.25, 0.5), _row("fell", 0.4, 0.1),
        _row("high", 0.7, 1.0), _row("d", 0.8, 0.9), _row("e", 0.5, 0.6), _row("f", 0.9, 0.9),
    ]  # fmt: skip
    assert [row.name for row in learned_since(rows, 8)] == ["b", "a", "c"]  # equals by name
    assert [row.name for row in learned_since(rows, 2)] == ["b", "a"]
    assert learned_since([], 4) == []


@pytest.fixture
def trained(ledger, random_solved):
    """Twelve rounds of four-way tasks of nine classes; class 8 and its pairs only in the first three."""
    solved = []
    for number in range(12):
        batch, outcome = random_solved(6, 4, 9 if number < 3 else 8, seed=number)
        ledger.append(PHASE, number, number, batch, outcome, "train")
        solved.append((batch, outcome))
    return ledger, solved


def _plain(values):
    """Mean, standard deviation, and the last quarter minus the first, of what is known by round."""
    quarter = len(values) // 4
    return fmean(values), pstdev(values), fmean(values[-quarter:]) - fmean(values[:quarter])


def _require_equal(found, expected):
    assert set(found.names) == set(expected)
    for name, *numbers in zip(found.names, found.mean, found.spread, found.change, strict=True):
        assert numbers == pytest.approx(_plain(expected[name]), abs=1e-3), name  # half floats


def test_classes_against_a_plain_loop(trained):
    ledger, solved = trained
    history = defaultdict(list)
    for batch, outcome in solved:
        of_round = defaultdict(list)
        for classes, recalls in zip(batch.classes.tolist(), outcome.recall.tolist(), strict=True):
            for c, recall in zip(classes, recalls, strict=True):
                of_round[c].append(recall)
        for c, recalls in of_round.items():
            history[c].append(fmean(recalls))
    found = class_map(ledger, PHASE, [])
    assert found.unit == "class"
    _require_equal(found, {(str(c),): values for c, values in history.items() if len(values) > 3})
    assert ("8",) not in found.names


@pytest.mark.parametrize("bins", [50, 4])
def test_pairs_against_a_plain_loop(trained, monkeypatch, bins):
    ledger, solved = trained
    monkeypatch.setattr(training_dynamics, "_BINS", bins)
    spans = (
        [solved[k : k + 1] for k in range(12)] if bins == 50 else [solved[k : k + 3] for k in (0, 3, 6, 9)]
    )
    history = defaultdict(list)
    for span in spans:
        of_span = defaultdict(list)
        for batch, outcome in span:
            for classes, confusion in zip(batch.classes.tolist(), outcome.confusion.tolist(), strict=True):
                for i, j in combinations(range(4), 2):
                    pair = tuple(sorted((str(classes[i]), str(classes[j]))))
                    of_span[pair].append((confusion[i][j] + confusion[j][i]) / 2)
        for pair, values in of_span.items():
            history[pair].append(fmean(values))
    found = pair_map(ledger, PHASE)
    assert len(found.names) > 20
    _require_equal(found, {pair: values for pair, values in history.items() if len(values) > 3})
    few = pair_map(ledger, PHASE, most=10)
    assert set(few.names) <= {pair.classes for pair in confused_pairs(ledger, PHASE, 10)}


def test_neighbourhoods_come_before_classes(trained):
    ledger, _ = trained
    rows = [_row(f"n{k}", *(0.1 * k, 0.3, 0.5, 0.9)) for k in range(5)]
    found = class_map(ledger, PHASE, rows)
    assert found.unit == "neighbourhood"
    _require_equal(found, {(row.name,): list(row.history) for row in rows})


def test_too_little_makes_no_map(ledger, random_solved, trained):
    rows = [_row(f"n{k}", 0.1, 0.2, 0.3) for k in range(9)]
    assert class_map(ledger, PHASE, rows) is None  # three rounds
    assert class_map(ledger, PHASE, [_row(f"n{k}", *[0.5] * 9) for k in range(4)]) is None  # four points
    for number in range(4):
        ledger.append("evaluate test", number, 0, *random_solved(9, 4, 6, seed=number), "test")
        if number < 3:
            ledger.append("short", number, 0, *random_solved(9, 4, 6, seed=number), "train")
    for phase in ("evaluate test", "short"):
        assert class_map(ledger, phase, []) is None
        assert pair_map(ledger, phase) is None
