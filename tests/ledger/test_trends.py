import pytest

from mtl.errors import UserError
from mtl.ledger.class_history import class_trends
from mtl.ledger.confusions import confusions
from mtl.ledger.queries import confused_pairs, hardest_classes
from mtl.ledger.store import Ledger, Round


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.register_classes("train", {0: "ant", 1: "bee", 2: "cat", 3: "dog"})
        yield ledger


def test_trends_by_hand(ledger, solved):
    ledger.append("p", 0, 0, *solved([[0, 1]], [[1.0, 0.5]]), "train")
    ledger.append("p", 1, 0, *solved([[0, 1]], [[0.5, 0.5]]), "train")
    ledger.append("p", 3, 0, *solved([[0, 2]], [[0.25, 0.0]]), "train")
    ledger.append("p", 3, 0, *solved([[0, 2]], [[1.0, 0.75]], queries=8), "train")
    assert class_trends(ledger, "p", ["bee", "ant", "cat"]) == [
        [0.5, 0.5, None],
        [1.0, 0.5, 9 / 12],  # 1 of 4 and 8 of 8: queries count, not episodes
        [None, None, 6 / 12],
    ]
    assert class_trends(ledger, "p", ["ant", "bee"], points=2) == [[1.0, 11 / 16], [0.5, 0.5]]
    assert class_trends(ledger, "p", ["ant"], points=1) == [[(4 + 2 + 1 + 8) / 20]]
    assert class_trends(ledger, "p", ["dog"]) == [[None, None, None]]  # registered, never drawn
    assert class_trends(ledger, "p", []) == []


def test_rounds_without_episodes_are_no_stretch(ledger, solved):
    ledger.append("p", 5, 0, *solved([[0, 1]], [[1.0, 0.5]]), "train")
    ledger.add_round("p", "train", Round(6, 10, "class", 4, None, 0.0, None, 0.5))
    assert class_trends(ledger, "p", ["ant"]) == [[1.0]]
    ledger.append("p", 90, 0, *solved([[0, 1]], [[0.0, 0.5]]), "train")
    assert class_trends(ledger, "p", ["ant"]) == [[1.0, 0.0]]


def test_a_phase_without_episodes_has_no_points(ledger):
    ledger.add_round("p", "train", Round(0, 10, "class", 4, None, 0.0, None, 0.5))
    assert class_trends(ledger, "p", ["ant", "bee"]) == [[], []]


@pytest.mark.parametrize("points", [1, 3, 8, 24])
def test_against_a_plain_loop(ledger, random_solved, points):
    rounds, met = 11, {}
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
    names = ["ant", "bee", "cat", "dog", "4", "5", "6", "7", "8"]
    found = class_trends(ledger, "p", names, points)
    assert [[x is None for x in row] for row in found] == [[x is None for x in row] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert [x for x in row if x is not None] == pytest.approx([x for x in other if x is not None])


def test_what_is_not_there_is_told(ledger, solved):
    ledger.append("p", 0, 0, *solved([[0, 1]], [[1.0, 0.5]]), "train")
    with pytest.raises(UserError, match='no phase "q"'):
        class_trends(ledger, "q", ["ant"])
    for name in ("yak", "0", "7"):  # class 0 has a name, and goes by it
        with pytest.raises(UserError, match=f"phase \"p\" knows no class '{name}'"):
            class_trends(ledger, "p", ["ant", name])
    with pytest.raises(ValueError, match="at least 1"):
        class_trends(ledger, "p", ["ant"], points=0)


def test_an_evaluation_is_told_by_its_evenly_drawn_tasks_alone(ledger, solved):
    phase = "evaluate train 2-way 1-shot"
    ledger.append(phase, 0, 0, *solved([[0, 1], [2, 3]], [[1.0, 0.5], [0.75, 0.75]]), "train")
    for number in range(1, 4):  # what was answered worst, again and again
        ledger.append(phase, number, 0, *solved([[0, 1]], [[0.0, 0.0]]), "train")
    assert class_trends(ledger, phase, ["ant", "cat"]) == [[1.0], [0.75]]
    found = {c.name: (c.recall, c.draws, c.trend) for c in hardest_classes(ledger, phase)}
    assert found == {
        "ant": (1.0, 1, None),
        "bee": (0.5, 1, None),
        "cat": (0.75, 1, None),
        "dog": (0.75, 1, None),
    }
    assert {pair.n for pair in confused_pairs(ledger, phase)} == {1}
    assert hardest_classes(ledger, phase, round=3)[0].recall == 0.0  # asked for, it is shown
    matrix = confusions(ledger, phase).matrix
    pairs = {frozenset(p.classes): p.confusion for p in confused_pairs(ledger, phase)}
    names = confusions(ledger, phase).names
    of_pair = {
        frozenset((names[i], names[j])): (matrix[i, j] + matrix[j, i]) / 2 for i in range(4) for j in range(i)
    }
    assert {pair: of_pair[pair] for pair in pairs} == pytest.approx(pairs)
