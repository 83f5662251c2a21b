"""A phase's confusions as a matrix, laid out so that what is confused stands together."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtl.episodes.pairs import pair_count
from mtl.ledger.leaf_order import leaf_order
from mtl.ledger.queries import class_names, episode_span, even_round, pair_sums, round_pair_sums, whole_groups
from mtl.ledger.rows import PairSum, episode_columns, episode_id
from mtl.ledger.store import Ledger, Phase

Floats = NDArray[np.float64]

_LEAST = 3  # classes; the confusion of two is one number
_ALL = 10**9  # pairs: more than any set has


@dataclass(frozen=True)
class Confusions:
    """How n classes or groups were taken for each other."""

    names: tuple[str, ...]  # neighbours are much confused
    by_group: bool
    # (n, n): mean probability that a query of the row got for a class of the column that was in its task;
    # nan where the two never met, and on the diagonal of classes; that of groups is confusion within them
    matrix: Floats
    left_out: int  # classes met in the phase that are not shown


def confusions(ledger: Ledger, phase: str, most: int = 40, fewest_groups: int = 8) -> Confusions | None:
    """Of all classes met if they are at most `most`; else of their groups, or of the most confused classes.

    Groups stand for their classes where every class is in one and there are `fewest_groups` to `most` of
    them: fewer say less than single classes do. Otherwise the first `most` classes are taken that stand in
    the most confused pairs.

    The order is that of `leaf_order` for the distance 1 − mean of both confusions, 1 for two that never met;
    equals are ordered by name.

    Returns:
        None where fewer than 3 classes were met.

    Raises:
        UserError: there is no such phase.
        ValueError: `most` is below 3.
    """
    if most < _LEAST:
        raise ValueError(f"most: {most}; a matrix of fewer than {_LEAST} classes shows nothing")
    at = ledger.phase(phase)
    met = [row[0] for row in ledger.sql.execute("SELECT class FROM class_total WHERE phase = ?", (at.id,))]
    if len(met) < _LEAST:
        return None
    groups = whole_groups(ledger, at, met, most, fewest_groups) if len(met) > most else None
    if groups is not None:
        names, matrix = _between_groups(ledger, at, groups)
    else:
        chosen = met if len(met) <= most else _most_confused(ledger, at, most)
        names, matrix = _between_classes(ledger, at, chosen)
    confusion: Floats = np.nan_to_num((matrix + matrix.T) / 2)
    order = leaf_order(1 - confusion)
    left_out = 0 if groups is not None else len(met) - len(names)
    return Confusions(
        tuple(names[k] for k in order), groups is not None, matrix[np.ix_(order, order)], left_out
    )


def _most_confused(ledger: Ledger, at: Phase, most: int) -> set[int]:
    """The first `most` classes in the most confused pairs."""
    chosen: set[int] = set()
    enough = pair_count(most - 1) + 1  # pairs: so many have `most` classes
    for low, high, *_ in _sums(ledger, at, enough):
        for c in (low, high):
            if len(chosen) < most:
                chosen.add(c)
    return chosen


def _sums(ledger: Ledger, at: Phase, top: int) -> list[PairSum]:
    """The sums of the most confused pairs, of an evaluation those over its evenly drawn tasks."""
    even = even_round(at)
    return pair_sums(ledger, at, top) if even is None else round_pair_sums(ledger, at, even, top)


def _between_classes(ledger: Ledger, at: Phase, classes: Iterable[int]) -> tuple[list[str], Floats]:
    """Names in order, and the matrix of classes, from the sums over pairs."""
    names = class_names(ledger, at)
    ordered = sorted((names.get(c, str(c)), c) for c in classes)
    row = {c: number for number, (_, c) in enumerate(ordered)}
    matrix = np.full((len(row), len(row)), np.nan)
    for low, high, there, back, n in _sums_between(ledger, at, row):
        i, j = row[low], row[high]
        matrix[i, j], matrix[j, i] = there / n, back / n
    return [name for name, _ in ordered], matrix


def _sums_between(ledger: Ledger, at: Phase, classes: Collection[int]) -> list[PairSum]:
    """The sums of all pairs of these classes that met."""
    if even_round(at) is not None:
        every = _sums(ledger, at, _ALL)
        return [pair for pair in every if pair[0] in classes and pair[1] in classes]
    listed = ", ".join(map(str, classes))
    return ledger.sql.execute(
        "SELECT low, high, low_high, high_low, n FROM pair_total "
        f"WHERE phase = ? AND low IN ({listed}) AND high IN ({listed})",
        (at.id,),
    ).fetchall()


def _between_groups(ledger: Ledger, at: Phase, groups: dict[int, str]) -> tuple[list[str], Floats]:
    """Names in order, and the matrix of groups, from the episodes: of pairs there may be many more."""
    names = sorted(set(groups.values()))
    n = len(names)
    row = np.zeros(max(groups) + 1, dtype=np.int64)
    row[list(groups)] = [names.index(group) for group in groups.values()]
    total, count = np.zeros(n * n), np.zeros(n * n)
    even = even_round(at)
    whole = episode_id(at.id, 0), episode_id(at.id + 1, 0) - 1
    rows = ledger.sql.execute(
        "SELECT classes, confusion FROM episode WHERE id BETWEEN ? AND ?",
        whole if even is None else episode_span(ledger, at, even),
    )
    for classes, confusion, _ in episode_columns(rows, "<f2"):
        of = row[classes]
        others = ~np.eye(of.shape[1], dtype=bool).ravel()
        place = (of[:, :, None] * n + of[:, None, :]).reshape(len(of), -1)[:, others].ravel()
        total += np.bincount(place, confusion[:, others].ravel(), n * n)
        count += np.bincount(place, minlength=n * n)
    mean: Floats = np.divide(total, count, out=np.full(n * n, np.nan), where=count > 0)
    return names, mean.reshape(n, n)
