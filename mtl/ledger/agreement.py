"""How far runs agree on what is hard: rank correlations, and what chance leaves of them.

A run measures every class (its recall) and every pair of classes (their confusion) by its tasks, so two runs
cannot agree better than a run agrees with itself. If the halves of a run correlate by r, the *reliability* of
the whole is 2r/(1 + |r|) (Spearman 1910; Brown 1910). The correlation of two runs, divided by the geometric
mean of their reliabilities, is *corrected* for chance (Spearman 1904). Both formulas are of plain
correlations; for those of ranks they hold nearly.
"""

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from mtl.ledger.queries import class_names, classes_drawn, episode_span, even_round
from mtl.ledger.rows import episode_blobs, pair_parts, phase_span
from mtl.ledger.store import Ledger, Phase

Floats = NDArray[np.float64]
Units = NDArray[np.int64]

FEWEST = 3  # units that a correlation needs: two can only be ranked alike or the other way round
_LEAST_RELIABILITY = 0.1  # to divide by
_DIGITS = 6  # of means: equal counts stay equal, although the ledger's recalls are rounded
# An episode's half, by its number in its stream and the step: the same for episodes that runs of one seed
# share. The golden ratio spreads whatever comes back regularly, as a meta-test's task around each class does.
_HALF = "((stream + 31 * step) * 2654435769 >> 31) & 1"


@dataclass(frozen=True)
class Tally:
    """A measure of U units (classes, or pairs of them) in both halves of a run's episodes."""

    units: Units  # (U,) ascending; a number means the same unit in every run
    total: Floats  # (2, U): sums over the episodes of each half
    count: Floats  # (2, U): episodes

    @staticmethod
    def of(halves: Sequence[tuple[Units, Floats]]) -> "Tally":
        """From the units (n,) and the values (n,) of single measurements in each half."""
        units, values = (np.concatenate(column) for column in zip(*halves, strict=True))
        known, place = np.unique(units, return_inverse=True)
        place = place + len(known) * np.repeat([0, 1], [len(units) for units, _ in halves])
        weights = values, np.ones(len(values))
        total, count = (np.bincount(place, w, 2 * len(known)).reshape(2, -1) for w in weights)
        return Tally(known, total.astype(np.float64), count.astype(np.float64))

    def means(self) -> Floats:
        """(U,) over all episodes."""
        mean: Floats = np.round(self.total.sum(0) / self.count.sum(0), _DIGITS)
        return mean

    def halves(self) -> Floats:
        """(2, U): nan where no episode of a half has the unit."""
        mean = np.divide(self.total, self.count, out=np.full_like(self.total, np.nan), where=self.count > 0)
        return np.round(mean, _DIGITS)


@dataclass(frozen=True)
class Agreement:
    """Of at least two runs on their classes or pairs; None where nothing allows a correlation."""

    of: str  # "classes" or "pairs"
    shared: int  # units that any two of the runs have in common, at least
    mean: float | None  # rank correlation of two runs, over all two
    lowest: float | None
    highest: float | None
    reliability: float | None  # mean over the runs
    corrected: float | None  # mean over all two runs, at most 1


def spearman(one: Floats, other: Floats) -> float | None:
    """The rank correlation of two rows (n,); None for fewer than 3 units, or where a row is all equal."""
    from scipy.stats import spearmanr

    if len(one) < FEWEST or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)


def correlation(one: Tally, other: Tally) -> float | None:
    """The rank correlation of two runs over the units that both have."""
    i, j = _in_both(one, other)
    return spearman(one.means()[i], other.means()[j])


def reliability(tally: Tally) -> float | None:
    """How well a run's episodes rank its units, from those in both halves; below 0 only by chance."""
    halves = tally.halves()
    first, second = halves[:, ~np.isnan(halves).any(0)]
    r = spearman(first, second)
    return None if r is None else _lengthened(r)


def corrected(one: Tally, other: Tally) -> float | None:
    """What the correlation of two runs would be with endless tasks, over the units in both halves of both.

    A half of one run is compared with the other half of the other: runs of one seed answer the same tasks,
    and would agree on who was unlucky in them. It is divided by what the halves of each run give. Chance may
    lead above 1. None where the reliability of a run, or that over these units, is unknown or below 0.1.
    """
    i, j = _in_both(one, other)
    four = np.concatenate([one.halves()[:, i], other.halves()[:, j]])
    a, b, c, d = four[:, ~np.isnan(four).any(0)]
    within, across = _known([spearman(a, b), spearman(c, d)]), _known([spearman(a, d), spearman(b, c)])
    alone = _known([reliability(one), reliability(other)])
    if len(within) < 2 or len(alone) < 2 or min(*map(_lengthened, within), *alone) < _LEAST_RELIABILITY:
        return None
    return fmean(across) / math.sqrt(math.prod(within))


def agreement(of: str, runs: Sequence[Tally]) -> Agreement:
    """Of all two of at least two runs."""
    two = list(combinations(runs, 2))
    found = _known(correlation(a, b) for a, b in two)
    alone, both = _known(map(reliability, runs)), _known(corrected(a, b) for a, b in two)
    return Agreement(
        of,
        shared=min(len(_in_both(a, b)[0]) for a, b in two),
        mean=fmean(found) if found else None,
        lowest=min(found, default=None),
        highest=max(found, default=None),
        reliability=fmean(alone) if alone else None,
        corrected=max(-1.0, min(1.0, fmean(both))) if both else None,
    )


def hardest(runs: Sequence[Tally], top: int, low_is_hard: bool) -> list[tuple[int, float, tuple[float, ...]]]:
    """Of the units that all runs have the `top` of lowest mean rank, 1 being a run's hardest.

    A run ranks them by Σ hardness / (n + 1), as the views of a single ledger do, so that none leads because
    it was met once. Hardness is a value in [0, 1], or with `low_is_hard` what it lacks of 1.

    Returns:
        (unit, mean rank, mean of each run); equals by their unit.
    """
    from scipy.stats import rankdata

    units = reduce(np.intersect1d, [run.units for run in runs])
    places = [np.searchsorted(run.units, units) for run in runs]
    values = np.stack([run.means()[place] for run, place in zip(runs, places, strict=True)])  # (R, U)
    count = np.stack([run.count.sum(0)[place] for run, place in zip(runs, places, strict=True)])
    hardness = (1 - values if low_is_hard else values) * count / (count + 1)
    ranks = rankdata(-np.round(hardness, _DIGITS), axis=1).mean(0)
    first = ranks.argsort(kind="stable")[:top]
    return [(int(units[k]), float(ranks[k]), tuple(values[:, k].tolist())) for k in first]


def read_tallies(ledger: Ledger, at: Phase, numbers: Mapping[str, int]) -> tuple[Tally, Tally]:
    """The recall of classes and the confusion of pairs, both directions averaged, of a phase with episodes.

    Of an evaluation only the first round counts: the others test the worst tasks again.

    Args:
        numbers: of class names. A class is the unit of its number, a pair low << 32 | high.
    """
    names, classes, even = class_names(ledger, at), classes_drawn(ledger, at), even_round(at)
    number = np.zeros(max(classes) + 1, dtype=np.int64)
    number[classes] = [numbers[names[c]] for c in classes]
    first, last = phase_span(at.id) if even is None else episode_span(ledger, at, even)

    def blobs(column: str, half: int) -> sqlite3.Cursor:
        where = f"id BETWEEN ? AND ? AND {_HALF} = ?"
        return ledger.sql.execute(f"SELECT classes, {column} FROM episode WHERE {where}", (first, last, half))

    recalls, confusions = [], []
    for half in (0, 1):
        of_classes = [(number[c].ravel(), r.ravel()) for c, r in episode_blobs(blobs("recall", half), "<f4")]
        of_pairs = [
            (_pairs(number[keys >> 32], number[keys & 0xFFFFFFFF]), (there + back) / 2)
            for keys, there, back in pair_parts(blobs("confusion", half))
        ]
        recalls.append(_joined(of_classes))
        confusions.append(_joined(of_pairs))
    return Tally.of(recalls), Tally.of(confusions)


def _pairs(one: Units, other: Units) -> Units:
    """The units of pairs of numbers, in either order."""
    unit: Units = np.minimum(one, other) << 32 | np.maximum(one, other)
    return unit


def _joined(parts: Sequence[tuple[Units, Floats]]) -> tuple[Units, Floats]:
    nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
    units, values = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    return units, values


def _in_both(one: Tally, other: Tally) -> tuple[Units, Units]:
    """The places in each of the units that both have."""
    _, i, j = np.intersect1d(one.units, other.units, assume_unique=True, return_indices=True)
    return i, j


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _lengthened(r: float) -> float:
    """The reliability of a whole whose halves correlate by r; symmetric, so that chance does not drift."""
    return 2 * r / (1 + abs(r))
