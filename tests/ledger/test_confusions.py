"""The matrix of confusions, and the order of its classes."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from mtl.errors import UserError
from mtl.ledger.confusions import confusions, leaf_order
from mtl.ledger.queries import confused_pairs
from mtl.ledger.store import RoundRow


def _cells(found):
    """{(row, column): probability} of all cells that are known."""
    cells = itertools.product(enumerate(found.names), repeat=2)
    return {(a, b): found.matrix[i, j] for (i, a), (j, b) in cells if not math.isnan(found.matrix[i, j])}


def _met(batches):
    """{(class, class): probabilities at each meeting}, by a plain loop."""
    met = {}
    for batch, outcome in batches:
        for classes, table in zip(batch.classes.tolist(), outcome.confusion.tolist(), strict=True):
            for (i, a), (j, b) in itertools.permutations(enumerate(classes), 2):
                met.setdefault((a, b), []).append(table[i][j])
    return met


def test_a_matrix_of_classes_by_hand(ledger, solved):
    ledger.register_classes("train", {4: "dog", 1: "ant", 2: "bee"})
    table = [[[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.0, 0.5, 0.5]]]
    ledger.append("p", 0, 0, *solved([[2, 1, 4]], [[0.5, 0.75, 0.5]], confusion=table), "train")
    ledger.append("p", 1, 0, *solved([[1, 2]], [[1.0, 0.5]]), "train")
    ledger.append("p", 1, 0, *solved([[1, 9]], [[0.75, 1.0]]), "train")
    found = confusions(ledger, "p")
    assert not found.by_group
    assert found.left_out == 0
    assert _cells(found) == pytest.approx({
        ("bee", "ant"): (0.25 + 0.5) / 2, ("ant", "bee"): (0.125 + 0) / 2,
        ("bee", "dog"): 0.25, ("dog", "bee"): 0.0, ("ant", "dog"): 0.125, ("dog", "ant"): 0.5,
        ("ant", "9"): 0.25, ("9", "ant"): 0.0,
    })  # fmt: skip
    assert found.matrix.shape == (4, 4)


def test_classes_against_a_plain_loop(ledger, random_solved):
    batches = [random_solved(6, way, 9, seed=way) for way in (2, 3, 4)]
    for batch, outcome in batches:
        ledger.append("p", 0, 0, batch, outcome, "train")
    ledger.append("other", 0, 0, *random_solved(6, 3, 9, seed=9), "train")
    met = _met(batches)
    assert len(met) < 9 * 8  # some never met
    found = confusions(ledger, "p", most=9)
    assert _cells(found) == pytest.approx(
        {(str(a), str(b)): float(np.mean(p)) for (a, b), p in met.items()}, abs=1e-3
    )
    assert sorted(found.names) == [str(c) for c in range(9)]


def _grouped(ledger, groups):
    ledger.register_classes("train", {c: f"class {c}" for c in groups}, groups)


def test_a_matrix_of_groups_by_hand(ledger, solved):
    _grouped(ledger, {0: "x", 1: "x", 2: "y", 3: "y"})
    table = [[[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.0, 0.5, 0.5]]]
    ledger.append("p", 0, 0, *solved([[2, 0, 1]], [[0.5, 0.75, 0.5]], confusion=table), "train")
    ledger.append("p", 0, 0, *solved([[3, 0]], [[0.5, 1.0]]), "train")
    assert not confusions(ledger, "p", most=4).by_group
    assert not confusions(ledger, "p", most=3).by_group  # two groups say less than three classes
    found = confusions(ledger, "p", most=3, fewest_groups=2)
    assert found.by_group
    assert found.left_out == 0
    assert found.names == ("x", "y")
    # y as x: class 2 as 0 and as 1, class 3 as 0; a mean over meetings, not over pairs or groups
    assert found.matrix.tolist() == [
        [(0.125 + 0.5) / 2, (0.125 + 0.0 + 0.0) / 3],
        [(0.25 + 0.25 + 0.5) / 3, pytest.approx(math.nan, nan_ok=True)],  # classes 2 and 3 never met
    ]


def test_groups_against_a_plain_loop(ledger, random_solved):
    groups = {c: f"g{c % 4}" for c in range(16)}
    _grouped(ledger, groups)
    batches = [random_solved(900, way, 16, seed=way) for way in (3, 5)]  # more than are read at a time
    for batch, outcome in batches:
        ledger.append("p", 0, 0, batch, outcome, "train")
    ledger.append("other", 0, 0, *random_solved(6, 3, 9, seed=9), "train")
    met = {}
    for (a, b), shares in _met(batches).items():
        met.setdefault((groups[a], groups[b]), []).extend(shares)
    found = confusions(ledger, "p", most=15, fewest_groups=4)
    assert found.by_group
    assert _cells(found) == pytest.approx({k: float(np.mean(p)) for k, p in met.items()}, abs=1e-4)


@pytest.mark.parametrize("most", [3, 4, 5, 8])
def test_of_many_classes_those_in_the_most_confused_pairs(ledger, random_solved, most):
    batches = [random_solved(40, 3, 12, seed=1)]
    ledger.append("p", 0, 0, *batches[0], "train")
    expected: list[str] = []
    for pair in confused_pairs(ledger, "p", top=100):
        for name in sorted(pair.classes, key=int):
            if name not in expected and len(expected) < most:
                expected.append(name)
    found = confusions(ledger, "p", most)
    assert sorted(found.names) == sorted(expected)
    assert found.left_out == 12 - most
    among = {(str(a), str(b)): float(np.mean(p)) for (a, b), p in _met(batches).items()}
    among = {pair: p for pair, p in among.items() if set(pair) <= set(expected)}
    assert _cells(found) == pytest.approx(among, abs=1e-3)  # float16


def _solved_by(table, solved):
    """One task of all classes, whose confusion is `table` (n, n)."""
    n = len(table)
    return solved([list(range(n))], [[0.5] * n], confusion=[table.tolist()])


def test_confused_classes_are_neighbours(ledger, solved):
    n, kind = 12, np.arange(12) % 3
    noise = np.random.default_rng(0).random((n, n)) * 0.01
    table = 0.02 + 0.1 * (kind[:, None] == kind) + noise
    ledger.append("p", 0, 0, *_solved_by(table, solved), "train")
    found = confusions(ledger, "p")
    runs = [k for k, _ in itertools.groupby(int(name) % 3 for name in found.names)]
    assert sorted(runs) == [0, 1, 2]  # in the order of the classes there would be 12 runs
    assert int(found.names[0]) < int(found.names[-1])


def test_classes_confused_equally_are_ordered_by_name(ledger, solved):
    names = ["g", "c", "a", "k", "b", "i", "e", "h", "d", "j", "f", "l"]
    ledger.register_classes("train", dict(enumerate(names)))
    ledger.append("p", 0, 0, *_solved_by(np.full((12, 12), 0.0625), solved), "train")
    ledger.append("q", 0, 0, *_solved_by(np.eye(12), solved), "train")
    assert confusions(ledger, "p").names == confusions(ledger, "q").names == tuple(sorted(names))


def test_fewer_than_three_classes_are_no_matrix(ledger, solved):
    ledger.add_round("p", "train", RoundRow(0, 0, "class", 2, None, 0.0, None, 0.5))
    assert confusions(ledger, "p") is None
    ledger.append("p", 0, 0, *solved([[1, 2]], [[0.5, 0.5]]), "train")
    assert confusions(ledger, "p") is None
    ledger.append("p", 0, 0, *solved([[1, 3]], [[0.5, 0.5]]), "train")
    assert len(confusions(ledger, "p").names) == 3


def test_a_wrong_phase_or_number_is_refused(ledger):
    with pytest.raises(UserError, match='no phase "q"'):
        confusions(ledger, "q")
    with pytest.raises(ValueError, match="fewer than 3"):
        confusions(ledger, "q", most=2)


def _distances(n, seed):
    distance = np.random.default_rng(seed).random((n, n))
    distance += distance.T
    np.fill_diagonal(distance, 0)
    return distance


def _length(distance, order):
    return sum(distance[a, b] for a, b in itertools.pairwise(order))


def _orders(tree, n):
    """All that the tree leaves open, by turning each of its nodes."""
    nodes = [[[k]] for k in range(n)]
    for a, b, *_ in tree:
        nodes.append([x + y for p in nodes[int(a)] for q in nodes[int(b)] for x, y in ((p, q), (q, p))])
    return nodes[-1]


@given(st.integers(2, 9), st.integers(0, 10**6))
def test_no_order_of_the_tree_has_nearer_neighbours(n, seed):
    distance = _distances(n, seed)
    orders = _orders(linkage(squareform(distance), "average"), n)
    assert len(orders) == 2 ** (n - 1)
    order = leaf_order(distance).tolist()
    assert order in orders
    assert order[0] < order[-1]
    assert _length(distance, order) == pytest.approx(min(_length(distance, o) for o in orders), abs=1e-6)


def test_points_on_a_line_by_hand():
    at = np.array([5.0, 0.0, 9.0, 1.0, 10.0, 6.0])
    assert leaf_order(abs(at[:, None] - at)).tolist() == [1, 3, 0, 5, 2, 4]  # the ends are 1 and 4
    back = at[::-1]  # from right to left now: the ends are 1, at 10, and 4, at 0
    assert leaf_order(abs(back[:, None] - back)).tolist() == [1, 3, 0, 5, 2, 4]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [2, 3, 8, 13, 40])
def test_equals_keep_their_order(n, value):
    assert leaf_order(np.full((n, n), value)).tolist() == list(range(n))
