"""A phase's confusions as a matrix, ordered so that classes which are confused are neighbours."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtl.episodes.pairs import pair_count
from mtl.ledger.queries import class_names, classes_drawn, episode_span, even_round, pair_sums, whole_groups
from mtl.ledger.rows import episode_blobs, phase_span
from mtl.ledger.store import Ledger, Phase

Floats = NDArray[np.float64]

_FEWEST = 3  # classes; the confusion of two is one number
_TIE = 1e-9  # of distance for each place between two: equals keep their order


@dataclass(frozen=True)
class Confusions:
    """How often n classes or groups were mistaken for each other."""

    names: tuple[str, ...]  # neighbours are much confused
    by_group: bool
    # (n, n): mean probability that a query of the row got for a class of the column that was in its task;
    # nan if the two were never in one task, and on the diagonal of classes (of groups: confusion within them)
    matrix: Floats
    left_out: int  # classes of the phase that are not shown


def confusions(ledger: Ledger, phase: str, most: int = 40, fewest_groups: int = 8) -> Confusions | None:
    """Of all classes drawn if they are at most `most`; else of their groups, or of the most confused classes.

    Groups replace their classes where every class is in one and there are `fewest_groups` to `most` of them:
    fewer say less than single classes do. Otherwise the first `most` classes of the most confused pairs are
    taken.

    The order is that of `leaf_order` for the distance 1 − mean of both confusions, 1 for two that were never
    in one task; equals are ordered by name.

    Returns:
        None where fewer than 3 classes were drawn.

    Raises:
        UserError: there is no such phase.
        ValueError: `most` is below 3.
    """
    if most < _FEWEST:
        raise ValueError(f"most: {most}; a matrix of fewer than {_FEWEST} classes shows nothing")
    at = ledger.phase(phase)
    classes = classes_drawn(ledger, at)
    if len(classes) < _FEWEST:
        return None
    groups = whole_groups(ledger, at, classes, most, fewest_groups) if len(classes) > most else None
    if groups is not None:
        names, matrix = _between_groups(ledger, at, groups)
    else:
        chosen = classes if len(classes) <= most else _most_confused(ledger, at, most)
        names, matrix = _between_classes(ledger, at, chosen)
    confusion: Floats = np.nan_to_num((matrix + matrix.T) / 2)
    order = leaf_order(1 - confusion)
    left_out = 0 if groups is not None else len(classes) - len(names)
    return Confusions(
        tuple(names[k] for k in order), groups is not None, matrix[np.ix_(order, order)], left_out
    )


def _most_confused(ledger: Ledger, at: Phase, most: int) -> list[int]:
    """The first `most` classes in the most confused pairs."""
    enough = pair_count(most - 1) + 1  # that many pairs have at least `most` classes
    pairs = pair_sums(ledger, at, even_round(at)).most_confused(enough)
    return list(dict.fromkeys(c for low, high, *_ in pairs for c in (low, high)))[:most]


def _between_classes(ledger: Ledger, at: Phase, classes: Iterable[int]) -> tuple[list[str], Floats]:
    """Names in order, and the matrix of classes, from the sums over pairs."""
    names = class_names(ledger, at)
    ordered = sorted((names[c], c) for c in classes)
    row = {c: number for number, (_, c) in enumerate(ordered)}
    sums = pair_sums(ledger, at, even_round(at))
    low, high = sums.keys >> 32, sums.keys & 0xFFFFFFFF
    place = np.full(max(*row, int(high.max(initial=0))) + 1, -1)  # in the matrix
    place[list(row)] = list(row.values())
    i, j = place[low], place[high]
    shown = (i >= 0) & (j >= 0)
    matrix = np.full((len(row), len(row)), np.nan)
    matrix[i[shown], j[shown]] = (sums.there / sums.visits)[shown]
    matrix[j[shown], i[shown]] = (sums.back / sums.visits)[shown]
    return [name for name, _ in ordered], matrix


def _between_groups(ledger: Ledger, at: Phase, groups: dict[int, str]) -> tuple[list[str], Floats]:
    """Names in order, and the matrix of groups, from the episodes: of pairs there may be many more."""
    names = sorted(set(groups.values()))
    n = len(names)
    row = np.zeros(max(groups) + 1, dtype=np.int64)
    row[list(groups)] = [names.index(group) for group in groups.values()]
    total, count = np.zeros(n * n), np.zeros(n * n)
    even = even_round(at)
    episodes = ledger.sql.execute(
        "SELECT classes, confusion FROM episode WHERE id BETWEEN ? AND ?",
        phase_span(at.id) if even is None else episode_span(ledger, at, even),
    )
    for classes, confusion in episode_blobs(episodes, "<f2"):
        rows = row[classes]
        others = ~np.eye(rows.shape[1], dtype=bool).ravel()
        place = (rows[:, :, None] * n + rows[:, None, :]).reshape(len(rows), -1)[:, others].ravel()
        total += np.bincount(place, confusion[:, others].ravel(), n * n)
        count += np.bincount(place, minlength=n * n)
    mean: Floats = np.divide(total, count, out=np.full(n * n, np.nan), where=count > 0)
    return names, mean.reshape(n, n)


def leaf_order(distance: Floats) -> NDArray[np.int64]:
    """An order (n,) of things by their distances, in which near ones are neighbours.

    Of the orders that the tree of average linkage leaves open, the one of the least sum of neighbours'
    distances (Bar-Joseph, Gifford and Jaakkola, "Fast optimal leaf ordering for hierarchical clustering",
    Bioinformatics 2001), in the direction whose first end is the lower. The `optimal_leaf_ordering` of scipy
    (1.17) often misses it.

    Args:
        distance: (n, n), symmetric, n at least 2; the diagonal is ignored.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    n = len(distance)
    place = np.arange(n)
    near = distance + _TIE * abs(place[:, None] - place)
    np.fill_diagonal(near, 0)
    # Of each node: its leaves; its children; the least sum (k, k) from one leaf at its left end to another at
    # its right end.
    leaves = [[k] for k in range(n)]
    children: list[tuple[int, int]] = [(k, k) for k in range(n)]
    least: list[Floats] = [np.zeros((1, 1))] * n
    for a, b in linkage(squareform(near, checks=False), "average")[:, :2].astype(int).tolist():
        across = _through(_through(least[a], near[np.ix_(leaves[a], leaves[b])]), least[b])
        both = np.full((len(leaves[a]) + len(leaves[b]),) * 2, np.inf)
        both[: len(across), len(across) :] = across
        both[len(across) :, : len(across)] = across.T
        leaves.append(leaves[a] + leaves[b])
        children.append((a, b))
        least.append(both)

    def between(node: int, left: int, right: int) -> list[int]:
        """The best order of a node's leaves with these two, by their places among them, at its ends."""
        if node < n:
            return [node]
        a, b = children[node]
        size = len(leaves[a])
        if left >= size:
            return between(node, right, left)[::-1]
        inner = least[a][left][:, None] + near[np.ix_(leaves[a], leaves[b])] + least[b][:, right - size]
        end, start = divmod(int(inner.argmin()), inner.shape[1])
        return between(a, left, end) + between(b, start, right - size)

    left, right = divmod(int(least[-1].argmin()), n)
    order = between(len(leaves) - 1, left, right)
    return np.array(order if order[0] < order[-1] else order[::-1])


def _through(one: Floats, other: Floats) -> Floats:
    """(i, k): the least of one[i, j] + other[j, k] over j."""
    return np.stack([(row[:, None] + other).min(0) for row in one])
