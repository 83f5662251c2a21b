"""The views of a phase by hand, by round, and against each other."""

import pytest
import torch

from mtl.errors import UserError
from mtl.ledger.queries import (
    ConfusedPair,
    HardClass,
    HardTask,
    confused_pairs,
    hardest_classes,
    hardest_tasks,
    rounds,
    whole_groups,
)
from mtl.ledger.store import RoundRow
from mtl.stats import recall_intervals

NAMES = {0: "ant", 1: "bee", 2: "cat", 3: "dog", 4: "eel"}


@pytest.fixture
def filled(ledger, solved):
    """Rounds 0 to 2 of one phase, five classes, two ways, four queries."""
    ledger.register_classes("train", NAMES, {0: "insects", 1: "insects"})
    ledger.append("p", 0, 0, *solved([[0, 1], [2, 3]], [[1.0, 0.5], [0.5, 0.25]]), "train")
    ledger.append("p", 1, 50, *solved([[3, 2]], [[0.0, 0.5]], "hard"), "train")
    ledger.append("p", 2, 100, *solved([[2, 3], [4, 0]], [[0.75, 0.75], [0.0, 1.0]], "hard"), "train")
    ledger.append("p", 2, 110, *solved([[3, 2]], [[0.25, 1.0]]), "train")
    tasks = torch.tensor([[0, 1], [2, 3]])
    for number, weights in ((1, [0.5, 0.5]), (2, [0.2, 0.8])):
        record = RoundRow(number, 50 * number, "task", 2, 0.4, 0.7, 0.6, 0.5)
        ledger.add_round("p", "train", record, torch.tensor(weights), tasks.__getitem__)
    ledger.set_task_weights("p", tasks, torch.tensor([0.25, 0.75]))
    ledger.set_verdict("p", (2, 3), "hard classes")
    return ledger


def test_hardest_tasks(filled):
    # Σ(1 - accuracy)/(n + 1): cat-dog (0.625 + 0.75 + 0.25 + 0.375)/5 = 0.4, eel-ant 0.5/2, ant-bee 0.25/2
    assert hardest_tasks(filled, "p") == [
        HardTask(("cat", "dog"), 0.375, 0.625, 0.5, 4, 2, 0.75, "hard classes"),
        HardTask(("ant", "eel"), 0.5, 0.5, 0.5, 1, 1, None, None),
        HardTask(("ant", "bee"), 0.75, 0.75, 0.75, 1, 0, 0.25, None),
    ]
    assert [t.classes for t in hardest_tasks(filled, "p", top=1)] == [("cat", "dog")]


def test_hardest_tasks_of_a_round(filled):
    # cat-dog (0.25 + 0.375)/3 = 0.208, eel-ant 0.5/2; weights are those of the round
    second = hardest_tasks(filled, "p", round=2)
    assert [t.classes for t in second] == [("ant", "eel"), ("cat", "dog")]
    assert second[0] == HardTask(("ant", "eel"), 0.5, 0.5, 0.5, 1, 1, None, None)
    weight = pytest.approx(0.8, abs=1e-6)
    assert second[1] == HardTask(("cat", "dog"), 0.375, 0.625, 0.6875, 2, 1, weight, "hard classes")
    assert [t.classes for t in hardest_tasks(filled, "p", top=1, round=2)] == [("ant", "eel")]


def test_hardest_classes(filled):
    # correct of queries: ant 8/8, bee 2/4, cat 2 + 2 + 3 + 4 = 11/16, dog 1 + 0 + 3 + 1 = 5/16, eel 0/4
    found = hardest_classes(filled, "p")
    assert [c.name for c in found] == ["eel", "dog", "cat", "bee", "ant"]
    correct = (8, 2, 11, 5, 0)  # squares: ant 16 + 16, bee 4, cat 4 + 4 + 9 + 16, dog 1 + 0 + 9 + 1, eel 0
    intervals = recall_intervals((2, 1, 4, 4, 1), (8, 4, 16, 16, 4), correct, (32, 4, 33, 11, 0))
    by_name = dict(zip(NAMES.values(), intervals, strict=True))
    assert {c.name: (c.low, c.high) for c in found} == by_name
    assert [c.high for c in found] == sorted(c.high for c in found)
    # The first of three rounds is held against the last: dog 1/4 and 4/8.
    assert found[1] == HardClass("dog", None, 5 / 16, *by_name["dog"], 16, 4, 2, 0.25, 0.5, 0.25)
    assert found[0] == HardClass("eel", None, 0.0, *by_name["eel"], 4, 1, 1, None, 0.0, None)
    assert found[4].group == "insects"
    assert [c.name for c in hardest_classes(filled, "p", top=2)] == ["eel", "dog"]


def test_hardest_classes_of_a_round(filled):
    found = hardest_classes(filled, "p", round=1)
    assert [(c.name, c.queries, c.recall, c.early, c.late) for c in found] == [
        ("dog", 4, 0.0, 0.25, 0.0),
        ("cat", 4, 0.5, 0.5, 0.5),
    ]
    assert found[0].trend == -0.25
    assert all(c.trend is None for c in hardest_classes(filled, "p", round=0))  # nothing comes before it


def test_few_draws_do_not_top_the_classes(ledger, solved):
    ledger.register_classes("train", NAMES)
    ledger.append("p", 0, 0, *solved([[0, 1]], [[0.25, 1.0]]), "train")  # ant: 1 of 4
    ledger.append("p", 0, 0, *solved([[2, 1]] * 20, [[0.3, 1.0]] * 20, queries=10), "train")  # cat: 60 of 200
    assert [c.name for c in hardest_classes(ledger, "p", 2)] == ["cat", "ant"]


def test_most_confused_pairs(filled):
    # Two ways: what a class does not get goes to the other.
    # The four visits of cat-dog: cat loses 0.5, 0.5, 0.25, 0; dog loses 0.75, 1, 0.25, 0.75.
    found = confused_pairs(filled, "p")
    assert found == [
        ConfusedPair(("cat", "dog"), (1.25 + 2.75) / 8, 1.25 / 4, 2.75 / 4, 4),
        ConfusedPair(("ant", "eel"), 0.5, 0.0, 1.0, 1),
        ConfusedPair(("ant", "bee"), 0.25, 0.0, 0.5, 1),
    ]
    assert confused_pairs(filled, "p", top=1) == found[:1]


def test_most_confused_pairs_of_a_round(filled):
    # cat-dog: (0.25 + 0.25 + 0 + 0.75)/3 = 0.417, ant-eel: 1/2
    found = confused_pairs(filled, "p", round=2)
    assert found == [
        ConfusedPair(("ant", "eel"), 0.5, 0.0, 1.0, 1),
        ConfusedPair(("cat", "dog"), 1.25 / 4, 0.125, 0.5, 2),
    ]
    assert confused_pairs(filled, "p", top=1, round=2) == found[:1]


def test_pairs_of_a_round_agree_with_the_sums_of_the_phase(ledger, random_solved):
    for way in (3, 5):  # a round of two ways
        ledger.append("p", 1, 0, *random_solved(40, way, 9, seed=way), "train")
    sums = confused_pairs(ledger, "p", top=50)
    ledger.append("p", 2, 0, *random_solved(4, 3, 9, seed=9), "train")
    again = confused_pairs(ledger, "p", top=50, round=1)
    assert [(p.classes, p.n) for p in again] == [(p.classes, p.n) for p in sums]
    for a, b in zip(again, sums, strict=True):
        assert a.confusion == pytest.approx(b.confusion, abs=1e-3)  # kept as float16
        assert a.first_as_second == pytest.approx(b.first_as_second, abs=1e-3)


def test_few_pairs_are_the_first_of_many(ledger, random_solved):
    ledger.append("q", 0, 0, *random_solved(30, 4, 12, seed=1), "train")
    ledger.append("p", 0, 0, *random_solved(30, 4, 12, seed=2), "train")
    every = confused_pairs(ledger, "p", top=100)
    hot = sum(2 * p.confusion * p.n > 0.2 * (p.n + 1) for p in every)
    assert 3 < hot < len(every)  # some, and not all, are indexed as much confused
    for top in (1, 3, hot, hot + 1, len(every)):
        assert confused_pairs(ledger, "p", top=top) == every[:top]


def test_rounds(filled):
    both = rounds(filled, "p")
    assert [(r.round, r.step, r.unit, r.epsilon, r.alpha) for r in both] == [
        (1, 50, "task", 0.4, 0.7),
        (2, 100, "task", 0.4, 0.7),
    ]
    assert rounds(filled, "p", top=1) == both[1:]
    assert rounds(filled, "p", round=1) == both[:1]
    assert rounds(filled, "p", round=0) == []


def test_equals_are_ordered_by_name(ledger, solved):
    ledger.register_classes("train", {1: "z", 2: "a", 3: "y", 4: "b"})
    ledger.append("p", 0, 0, *solved([[1, 3], [4, 2]], [[0.5, 0.5], [0.5, 0.5]]), "train")
    assert [c.name for c in hardest_classes(ledger, "p")] == ["a", "b", "y", "z"]
    assert [t.classes for t in hardest_tasks(ledger, "p")] == [("a", "b"), ("z", "y")]
    assert [p.classes for p in confused_pairs(ledger, "p")] == [("a", "b"), ("z", "y")]


def test_a_class_without_a_name_goes_by_its_number(ledger, solved):
    ledger.append("p", 0, 0, *solved([[10, 3]], [[0.5, 0.0]]), "train")
    assert hardest_tasks(ledger, "p")[0].classes == ("3", "10")
    assert hardest_classes(ledger, "p")[0].name == "3"


@pytest.mark.parametrize("view", [hardest_tasks, hardest_classes, confused_pairs])
def test_the_only_round_is_the_whole_phase(ledger, random_solved, view):
    ledger.append("p", 2, 0, *random_solved(30, 3, 6, seed=0), "train")
    assert view(ledger, "p", round=2) == view(ledger, "p")


@pytest.mark.parametrize("view", [hardest_tasks, hardest_classes, confused_pairs, rounds])
def test_what_is_not_there_is_refused(filled, view):
    with pytest.raises(UserError, match=r'round 3: not in phase "p" of .*; its rounds: 0 to 2'):
        view(filled, "p", round=3)
    with pytest.raises(UserError, match='no phase "q"'):
        view(filled, "q")
    with pytest.raises(UserError, match="at least 1 row"):
        view(filled, "p", top=0)


@pytest.mark.parametrize("view", [hardest_tasks, hardest_classes, confused_pairs])
def test_a_round_that_was_an_update_alone_has_no_episodes_to_show(filled, view):
    filled.add_round("p", "train", RoundRow(9, 500, "task", 2, None, 0.0, None, 0.5))
    assert view(filled, "p", round=9) == []
    assert len(rounds(filled, "p", round=9)) == 1


@pytest.mark.parametrize(
    ("groups", "most", "whole"),
    [
        ({0: "x", 1: "y", 2: "x"}, 2, True),
        ({0: "x", 1: "y", 2: "z"}, 3, True),
        ({0: "x", 1: "y", 2: "z"}, 2, False),  # too many
        ({0: "x", 1: "x", 2: "x"}, 9, False),  # too few
        ({0: "x", 1: "y"}, 9, False),  # one class is in none
        ({0: "x", 1: "y", 2: ""}, 9, False),
        (None, 9, False),
    ],
)
def test_groups_count_where_each_class_is_in_one(ledger, solved, groups, most, whole):
    ledger.register_classes("train", dict.fromkeys(range(5), "a"), groups)
    ledger.register_classes("test", dict.fromkeys(range(5), "a"), dict.fromkeys(range(3), "other"))
    ledger.append("p", 0, 0, *solved([[0, 1]], [[1.0, 1.0]]), "train")
    found = whole_groups(ledger, ledger.phase("p"), [0, 1, 2], most)
    assert found == (groups if whole else None)
    assert whole_groups(ledger, ledger.phase("p"), [], most) is None
