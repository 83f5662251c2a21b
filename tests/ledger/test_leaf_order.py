import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from mtl.ledger.leaf_order import leaf_order


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


def test_leaves_that_nobody_turned_would_fail():
    """The order in which the clustering lists its leaves is one of the tree's, and seldom the nearest."""
    longer = 0
    for seed in range(20):
        distance = _distances(8, seed)
        as_listed = leaves_list(linkage(squareform(distance), "average"))
        longer += _length(distance, as_listed) > _length(distance, leaf_order(distance)) + 1e-6
    assert longer > 15


def test_points_on_a_line_by_hand():
    at = np.array([5.0, 0.0, 9.0, 1.0, 10.0, 6.0])
    assert leaf_order(abs(at[:, None] - at)).tolist() == [1, 3, 0, 5, 2, 4]  # the ends are 1 and 4
    back = at[::-1]  # from right to left now: the ends are 1, at 10, and 4, at 0
    assert leaf_order(abs(back[:, None] - back)).tolist() == [1, 3, 0, 5, 2, 4]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [2, 3, 8, 13, 40])
def test_equals_keep_their_order(n, value):
    assert leaf_order(np.full((n, n), value)).tolist() == list(range(n))


def test_the_diagonal_is_not_looked_at():
    distance = _distances(6, 0)
    expected = leaf_order(distance).tolist()
    np.fill_diagonal(distance, 0.7)
    assert leaf_order(distance).tolist() == expected
    assert distance[3, 3] == 0.7  # and the caller's matrix is as it was
