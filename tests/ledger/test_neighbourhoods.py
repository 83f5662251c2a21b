"""What the ledger keeps of the tasks around each class, and the view of the hardest."""

import json

import pytest
import torch

from mtl.episodes.episode import Neighbourhoods, Round
from mtl.ledger.neighbourhoods import hardest_neighbourhoods
from mtl.ledger.show import render
from mtl.ledger.store import KEPT_MEMBERS, Ledger
from mtl.training.stage import record_round

NAMES = {0: "a", 1: "b", 2: "c", 3: "d", 4: "e"}
MEMBERS = torch.tensor([[1, 2], [0, 2], [3, 1], [2, 4], [3, 0]])


def _round(ledger, number, accuracy, weight=None, members=MEMBERS, classes=range(5)):
    weights = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    found = Neighbourhoods(torch.tensor(list(classes)), torch.tensor(accuracy), weights, members)
    ended = Round(number, "pair", 5, float(found.accuracy.mean()), 1.0, 0.1, 2.0, neighbourhoods=found)
    record_round(ledger, "p", "train", 10 * number, ended)


@pytest.fixture
def ledger(tmp_path, solved):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.register_classes("train", NAMES)
        _round(ledger, 0, [0.5, 0.25, 1.0, 0.75, 0.75], [1.0, 2.0, 0.5, 0.5, 1.0])
        ledger.append("p", 0, 0, *solved([[1, 0, 2]], [[0.5, 0.5, 0.5]], "neighbourhood"), "train")
        ledger.append("p", 0, 0, *solved([[1, 2, 0]], [[1.0, 0.5, 0.75]], "neighbourhood"), "train")
        ledger.append("p", 0, 0, *solved([[3, 1, 0]], [[1.0, 1.0, 1.0]], "uniform"), "train")
        _round(ledger, 1, [0.5, 0.75, 1.0, 0.25, 0.75], [0.5, 1.5, 1.0, 1.0, 1.0], MEMBERS.flip(1))
        yield ledger


def test_the_hardest_come_first_with_what_became_of_them(ledger):
    rows = hardest_neighbourhoods(ledger, "p")
    assert [(r.name, r.history) for r in rows] == [
        ("a", (0.5, 0.5)), ("b", (0.25, 0.75)), ("d", (0.75, 0.25)), ("e", (0.75, 0.75)), ("c", (1.0, 1.0)),
    ]  # fmt: skip
    b = rows[1]
    assert (b.first, b.last, b.mean, b.members, b.weight) == (0.25, 0.75, 0.5, ("c", "a"), 1.5)
    assert (b.drawn, b.trained) == (2, pytest.approx((0.5 + 0.75) / 2))
    assert [(r.drawn, r.trained) for r in rows if r.name != "b"] == [(0, None)] * 4


def test_a_round_shows_how_it_was_then(ledger):
    rows = hardest_neighbourhoods(ledger, "p", round=0)
    assert [r.name for r in rows] == ["b", "a", "d", "e", "c"]
    assert (rows[0].members, rows[0].weight, rows[0].last) == (("a", "c"), 2.0, 0.25)
    assert rows[0].history == (0.25, 0.75)
    assert [r.name for r in hardest_neighbourhoods(ledger, "p", top=2, round=1)] == ["d", "a"]


def test_without_meta_tests_there_are_none(tmp_path, solved):
    with Ledger.open(tmp_path / "other.sqlite") as ledger:
        ledger.append("p", 0, 0, *solved([[1, 0, 2]], [[0.5, 0.5, 0.5]], "uniform"), "train")
        assert hardest_neighbourhoods(ledger, "p") == []


def test_rounds_of_a_set_leave_the_others_as_they_were(ledger):
    _round(ledger, 2, [0.0, 1.0], [1.0, 1.0], torch.tensor([[4], [3]]), classes=[3, 4])
    found = {r.name: r for r in hardest_neighbourhoods(ledger, "p")}
    assert found["d"].history == (0.75, 0.25, 0.0)
    assert (found["d"].members, found["a"].members) == (("e",), ("c", "b"))
    assert found["a"].history == (0.5, 0.5)
    assert [r.name for r in hardest_neighbourhoods(ledger, "p", round=2)] == ["d", "e"]


def test_of_many_members_the_first_are_kept(tmp_path):
    many = torch.arange(1, 21).expand(2, 20)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        _round(ledger, 0, [0.5, 0.5], members=many, classes=[0, 30])
        row = hardest_neighbourhoods(ledger, "p")[0]
    assert row.members == tuple(str(c) for c in range(1, KEPT_MEMBERS + 1))
    assert row.weight is None


def test_tables_show_neighbourhoods_instead_of_sets_of_classes_that_never_return(ledger):
    text = render(ledger)
    assert "Hardest neighbourhoods" in text
    assert "Hardest tasks" not in text
    assert "taken for it" in text
    phase = json.loads(render(ledger, format="json"))["phases"][0]
    assert phase["hardest_neighbourhoods"][1]["history"] == [0.25, 0.75]
    assert len(phase["hardest_tasks"]) == 2


def test_a_phase_that_is_cleared_has_none(ledger):
    ledger.clear("p")
    ledger.register_classes("train", NAMES)
    _round(ledger, 0, [1.0] * 5)
    assert [r.history for r in hardest_neighbourhoods(ledger, "p")] == [(1.0,)] * 5
    assert [r.drawn for r in hardest_neighbourhoods(ledger, "p")] == [0] * 5
