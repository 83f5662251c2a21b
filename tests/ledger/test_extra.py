import pytest

from mtl.errors import UserError
from mtl.ledger.class_history import Share, extra_draws
from mtl.ledger.store import Ledger, Round


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        yield ledger


def _draw(ledger, solved, task, origin, phase="p"):
    ledger.append(phase, 0, 0, *solved([task], [[0.5] * len(task)], origin), "train")


NAMES = {0: "ant", 1: "bee", 2: "cat", 3: "dog", 4: "eel"}


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
    groups = {0: "large", 1: "large", 2: "large", 3: "small", 4: "small"}
    ledger.register_classes("train", NAMES, groups)
    for task, origin in (([0, 1], "hard"), ([2, 3], "hard"), ([3, 4], "hard"), ([0, 3], "uniform")):
        _draw(ledger, solved, task, origin)
    # of 6 hard draws an even share is 3.6 and 2.4: the larger group has as many, and less than its share
    assert extra_draws(ledger, "p") == [
        Share("small", 3, 4, pytest.approx(2.4)), Share("large", 3, 4, pytest.approx(3.6))
    ]  # fmt: skip


def test_first_what_got_most_above_its_share(ledger, solved):
    """Not what got most, nor what got the largest multiple of its share."""
    groups = {0: "one"} | dict.fromkeys(range(1, 8), "many") | dict.fromkeys(range(8, 11), "some")
    ledger.register_classes("train", {c: str(c) for c in groups}, groups)
    for task in [[1, 2]] * 6 + [[8, 9]] * 5 + [[0, 3]] * 4:  # 16, 10 and 4 of 30; even are 19.1, 8.2 and 2.7
        _draw(ledger, solved, task, "hard")
    assert [(s.name, s.hard) for s in extra_draws(ledger, "p")] == [("some", 10), ("one", 4), ("many", 16)]


def test_shares_add_up_to_the_hard_draws(ledger, random_solved):
    for number, origin in enumerate(("uniform", "hard", "resampled")):
        ledger.append("p", number, 0, *random_solved(20, 4, 15, seed=number, origin=origin), "train")
    for groups in (None, {c: f"g{c % 4}" for c in range(15)}):
        ledger.register_classes("train", {c: f"c{c}" for c in range(15)}, groups)
        shares = extra_draws(ledger, "p")
        assert len(shares) == (4 if groups else 15)
        assert sum(s.hard for s in shares) == pytest.approx(sum(s.expected for s in shares)) == 160
        assert sum(s.draws for s in shares) == 240
        above = [s.hard - s.expected for s in shares]
        assert above == sorted(above, reverse=True)


@pytest.mark.parametrize("groups", [{0: "x", 1: "x", 2: "x"}, {0: "x", 1: "y"}, {0: "x", 1: "y", 2: ""}])
def test_groups_that_cannot_stand_for_their_classes(ledger, solved, groups):
    ledger.register_classes("train", {c: NAMES[c] for c in range(3)}, groups)
    _draw(ledger, solved, [0, 1], "hard")
    assert [s.name for s in extra_draws(ledger, "p")] == ["ant", "bee", "cat"]


def test_too_many_groups_are_shown_by_class(ledger, solved):
    _draw(ledger, solved, [0, 1], "hard")
    for count in (200, 201):
        ledger.register_classes(
            "train", {c: f"c{c}" for c in range(count)}, {c: f"g{c}" for c in range(count)}
        )
        assert extra_draws(ledger, "p")[0].name == ("g0" if count == 200 else "c0")


def test_without_hard_draws_there_is_nothing_to_show(ledger, solved):
    ledger.add_round("p", "train", Round(0, 0, "class", 2, None, 0.0, None, 0.5))
    assert extra_draws(ledger, "p") == []
    _draw(ledger, solved, [0, 1], "uniform")
    assert extra_draws(ledger, "p") == []


def test_what_is_not_there_is_told(ledger):
    with pytest.raises(UserError, match='no phase "q"'):
        extra_draws(ledger, "q")
    with pytest.raises(UserError, match="at least 1 row"):
        extra_draws(ledger, "q", top=0)
