import itertools

import pytest

from mtl.ledger.regression_to_mean import class_retests, task_retests
from mtl.ledger.rows import HARD_ORIGINS
from mtl.ledger.store import Ledger, Round


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        yield ledger


def _rows(found):
    """(before, after, picked), in order."""
    columns = found.before.tolist(), found.after.tolist(), found.picked.tolist()
    return list(zip(*columns, strict=True))


def _solve(ledger, solved, round_, task, recall, origin="uniform", **kwargs):
    ledger.append("p", round_, 0, *solved([task], [recall], origin, **kwargs), "train")


def test_classes_by_hand(ledger, solved):
    _solve(ledger, solved, 0, [1, 2], [0.25, 1.0])
    _solve(ledger, solved, 0, [1, 3], [0.0, 0.0], "hard")  # one hard draw for 1 and for 3; even is 2/3
    _solve(ledger, solved, 1, [1, 2], [0.5, 0.5], queries=4)
    _solve(ledger, solved, 1, [1, 2], [1.0, 0.0], queries=8)
    _solve(ledger, solved, 2, [3, 2], [0.75, 0.25])
    _solve(ledger, solved, 3, [3, 1], [0.5, 0.25])
    # 1: 1/4, then (2 + 8)/12, then 1/4; 2: 1, 2/12, 1/4; 3: measured in rounds 2 and 3 alone
    found = class_retests(ledger, ledger.phase("p"))
    assert _rows(found) == [
        (0.25, pytest.approx(10 / 12), True), (pytest.approx(10 / 12), 0.25, False),
        (1.0, pytest.approx(2 / 12), False), (pytest.approx(2 / 12), 0.25, False),
        (0.75, 0.5, False),
    ]  # fmt: skip
    assert found.rows(True).tolist() == [[0.25, pytest.approx(10 / 12)]]
    assert len(found.rows(False)) == 4
    assert (found.units_of(True).tolist(), found.units_of(False).tolist()) == ([0], [0, 1, 1, 2])


def test_hard_draws_count_from_the_first_measurement_on_and_before_the_second(ledger, solved):
    """Class 1 is measured in rounds 1 and 4; class 2 in all, and never drawn as hard."""
    _solve(ledger, solved, 0, [1, 3], [0.5, 0.5], "hard")  # too early
    _solve(ledger, solved, 0, [2, 4], [0.5, 0.5])
    _solve(ledger, solved, 1, [1, 2], [0.5, 0.5])
    for number in (2, 3):
        _solve(ledger, solved, number, [2, 4], [0.5, 0.5])
    _solve(ledger, solved, 4, [1, 2], [1.0, 0.5])
    _solve(ledger, solved, 4, [1, 3], [0.5, 0.5], "hard")  # too late
    assert [row for row in _rows(class_retests(ledger, ledger.phase("p"))) if row[1] == 1] == [
        (0.5, 1, False)
    ]
    for inside in (1, 2, 3):
        with Ledger.open(ledger.path.with_name(f"{inside}.sqlite")) as other:
            for number, task in ((1, [1, 2]), (2, [2, 4]), (3, [2, 4]), (4, [1, 2])):
                _solve(other, solved, number, task, [0.5 + number // 4 / 2, 0.5])
                if number == inside:
                    _solve(other, solved, number, [1, 3], [0.5, 0.5], "resampled")
            rows = _rows(class_retests(other, other.phase("p")))
            assert (0.5, 1.0, True) in rows
            assert sum(picked for *_, picked in rows) == 1


def test_where_all_are_drawn_as_hard_the_picked_are_those_above_their_even_share(ledger, solved):
    _solve(ledger, solved, 0, [1, 2, 3, 4], [0.25, 0.5, 0.75, 1.0])
    for task in ([1, 2], [3, 4], [1, 2], [1, 3]):  # 3, 2, 2 and 1 draws; even are 2
        _solve(ledger, solved, 0, task, [0.0, 0.0], "hard")
    _solve(ledger, solved, 1, [1, 2, 3, 4], [0.5, 0.5, 0.5, 0.5])
    found = class_retests(ledger, ledger.phase("p"))
    assert _rows(found) == [(0.25, 0.5, True), (0.5, 0.5, False), (0.75, 0.5, False), (1.0, 0.5, False)]


ORIGINS = ("uniform", "hard", "meta-test", "resampled", "uniform")


@pytest.mark.parametrize("rounds", [1, 2, 7, 90])
def test_classes_against_a_plain_loop(ledger, random_solved, rounds):
    answers, hard = {}, {}  # by class and span
    spans = min(rounds, 40)
    cuts = [rounds * k // spans for k in range(spans + 1)]
    batches = 90
    for number in range(batches):
        round_ = number * rounds // batches
        span = next(k for k in range(spans) if cuts[k] <= round_ < cuts[k + 1])
        origin = ORIGINS[number % 5]
        batch, outcome = random_solved(2, 3, 12, seed=number, origin=origin, queries=4 + number % 3)
        ledger.append("p", 2 * round_, 0, batch, outcome, "train")  # numbers with gaps
        for classes, recall in zip(batch.classes.tolist(), outcome.recall.tolist(), strict=True):
            for c, share in zip(classes, recall, strict=True):
                if origin in HARD_ORIGINS:
                    hard[c, span] = hard.get((c, span), 0) + 1
                else:
                    q = batch.queries
                    answers.setdefault((c, span), []).append((round(share * q), q))
    ledger.append("q", 0, 0, *random_solved(2, 3, 12, seed=99), "train")
    met = sorted({c for c, _ in answers} | {c for c, _ in hard})
    recall = {key: sum(r for r, _ in seen) / sum(q for _, q in seen) for key, seen in answers.items()}
    expected = []
    for c in met:
        drawn = [span for span in range(spans) if (c, span) in recall]
        for now, then in itertools.pairwise(drawn):
            own = sum(hard.get((c, span), 0) for span in range(now, then))
            every = sum(hard.get((other, span), 0) for other in met for span in range(now, then))
            expected.append((recall[c, now], recall[c, then], own > every / len(met)))
    found = _rows(class_retests(ledger, ledger.phase("p")))
    assert found == expected
    if rounds > 1:
        assert {picked for *_, picked in found} == {True, False}


def test_tasks_by_hand(ledger, solved):
    first = [([1, 2], 0.25), ([3, 4], 0.5), ([2, 3], 1.0), ([5, 6], 0.0), ([2, 1], 0.75)]
    for task, share in first:
        _solve(ledger, solved, 0, task, [share, share])
    for number, picked, control in ((1, 0.5, 1.0), (2, 0.75, 0.5), (3, 1.0, 0.75)):
        _solve(ledger, solved, number, [2, 1], [picked, picked], "resampled")
        _solve(ledger, solved, number, [4, 3], [control, control], "control")
        _solve(ledger, solved, number, [6, 5], [1.0, 1.0], "uniform")  # neither picked nor a control
    _solve(ledger, solved, 4, [7, 8], [0.0, 0.0], "resampled")  # never scored before
    ledger.append("q", 0, 0, *solved([[1, 2]], [[0.0, 0.0]]), "train")
    ledger.append("q", 1, 0, *solved([[3, 4]], [[0.0, 0.0]], "control"), "train")
    found = task_retests(ledger, ledger.phase("p"))
    assert _rows(found) == [(0.5, 0.75, True), (0.5, 0.75, False)]  # 1 and 2 were scored as 0.25 and 0.75
    assert found.rows(True).tolist() == [[0.5, 0.75]]


def test_a_task_that_was_picked_and_drawn_as_a_control_was_picked(ledger, solved):
    _solve(ledger, solved, 0, [1, 2], [0.25, 0.25])
    _solve(ledger, solved, 1, [1, 2], [0.5, 0.5], "control")
    _solve(ledger, solved, 1, [1, 2], [1.0, 1.0], "resampled")
    assert _rows(task_retests(ledger, ledger.phase("p"))) == [(0.25, 0.75, True)]


def test_tasks_against_a_plain_loop(ledger, random_solved):
    before, after, picked = {}, {}, set()
    for number, origin in enumerate(("uniform", "resampled", "control", "hard", "control")):
        batch, outcome = random_solved(30, 2, 7, seed=number, origin=origin)  # of 21 tasks most come again
        ledger.append("p", number, 0, batch, outcome, "train")
        for classes, accuracy in zip(batch.classes.tolist(), outcome.accuracy.tolist(), strict=True):
            (after if number else before).setdefault(tuple(sorted(classes)), []).append(accuracy)
            if origin in HARD_ORIGINS:
                picked.add(tuple(sorted(classes)))
    both = sorted(before.keys() & after.keys())
    found = _rows(task_retests(ledger, ledger.phase("p")))
    assert [row[2] for row in found] == [task in picked for task in both]
    assert {row[2] for row in found} == {True, False}
    for row, task in zip(found, both, strict=True):
        mean = [sum(values[task]) / len(values[task]) for values in (before, after)]
        assert row[:2] == pytest.approx(mean)


@pytest.mark.parametrize("view", [class_retests, task_retests])
def test_one_round_and_none_have_nothing_measured_twice(ledger, random_solved, view):
    ledger.add_round("p", "train", Round(0, 0, "class", 2, None, 0.0, None, 0.5))
    assert _rows(view(ledger, ledger.phase("p"))) == []
    for origin in ("uniform", "hard", "uniform"):
        ledger.append("p", 0, 0, *random_solved(5, 3, 6, seed=0, origin=origin), "train")
        found = view(ledger, ledger.phase("p"))
        assert _rows(found) == []
        assert found.rows(True).shape == found.rows(False).shape == (0, 2)


def test_a_ledger_that_begins_later_has_no_first_scores(ledger, random_solved):
    for number, origin in ((1, "uniform"), (2, "resampled")):
        ledger.append("p", number, 0, *random_solved(9, 2, 4, seed=number, origin=origin), "train")
    assert _rows(task_retests(ledger, ledger.phase("p"))) == []
