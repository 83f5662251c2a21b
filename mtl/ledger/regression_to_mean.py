"""Did what was picked as hard get better, or is it regression to the mean?

What is picked for a low measurement measures higher the next time even where nothing was learned: part of the
low measurement was bad luck. So the gain of the picked is held against that of others that were not picked,
and of these against those that started as low.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtl.ledger.class_history import class_sums, stretches
from mtl.ledger.queries import episode_span, measured_rounds
from mtl.ledger.rows import HARD_ORIGINS, episode_columns, episode_id
from mtl.ledger.store import Ledger, Phase
from mtl.stats import clustered_mean_interval

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_CONTROL = "control"  # origin of tasks that are tested again though they were not picked
_HARD = ", ".join(f"'{origin}'" for origin in sorted(HARD_ORIGINS))
_SPANS = 40  # at most: in more a class would have too few queries


@dataclass(frozen=True)
class Retests:
    """n measurements of shares in [0, 1], each followed by another of the same class or task."""

    before: Floats  # (n,)
    after: Floats  # (n,)
    picked: NDArray[np.bool_]  # (n,) whether it was drawn as hard in between
    units: Counts  # (n,) number of the class or task

    def units_of(self, picked: bool) -> Counts:
        """(k,) the classes or tasks of `rows`: those of one depend on each other."""
        units: Counts = self.units[self.picked == picked]
        return units

    def rows(self, picked: bool) -> Floats:
        """(k, 2): before and after, of those that were picked or of the others."""
        chosen = self.picked == picked
        return np.stack([self.before[chosen], self.after[chosen]], 1)


def task_retests(ledger: Ledger, at: Phase) -> Retests:
    """Tasks of round 0 that later rounds tested again: picked ones, and the others as a control.

    A task is its set of classes: where that was drawn more than once, its accuracies are averaged, and it was
    picked if any of its draws was.
    """
    first, last = episode_span(ledger, at, 0)
    rows = ledger.sql.execute(
        f"""
        WITH later AS (
            SELECT classes, avg(accuracy) AS after, max(origin IN ({_HARD})) AS picked FROM episode
            WHERE id > :last AND id < :end AND origin IN ({_HARD}, '{_CONTROL}') GROUP BY classes)
        SELECT avg(accuracy), after, picked FROM episode CROSS JOIN later USING (classes)
        WHERE id BETWEEN :first AND :last GROUP BY classes ORDER BY classes
        """,  # CROSS: the tasks of round 0 are gone through once, the few later ones looked up
        {"first": first, "last": last, "end": episode_id(at.id + 1, 0)},
    ).fetchall()
    before, after, picked = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return Retests(before, after, picked > 0, np.arange(len(before)))


def class_retests(ledger: Ledger, at: Phase) -> Retests:
    """Each class in one span of the phase's rounds, and in the next span in which it was drawn.

    Its recall is that in episodes not drawn as hard, so that hard company does not count. From the first of
    these spans on and before the second it had some draws into hard episodes. It was picked if these are more
    than its even share among the classes met in the phase. One draw is enough where hard episodes are few;
    where they are many, nearly every class is in some of them.
    """
    spans = stretches(measured_rounds(ledger, at), _SPANS)
    known = ledger.sql.execute("SELECT class FROM class_total WHERE phase = ? ORDER BY class", (at.id,))
    classes = np.array([row[0] for row in known], dtype=np.int64)
    queries, correct, hard = (np.zeros((len(spans), len(classes)), dtype=np.int64) for _ in range(3))
    if len(spans) > 1:  # a single one has no next
        number, c, _, _, draws = np.array(class_sums(ledger, at, spans)).T
        hard[number, classes.searchsorted(c)] = draws
        for span, (first, last) in enumerate(spans):
            ids = episode_span(ledger, at, first)[0], episode_span(ledger, at, last)[1]
            queries[span], correct[span] = _answers(ledger, ids, classes)
    drawn, at_span = queries.T.nonzero()  # class by class, spans ascending
    again = (drawn[1:] == drawn[:-1]).nonzero()[0]
    c, now, then = drawn[again], at_span[again], at_span[again + 1]
    until = np.concatenate([np.zeros((1, len(classes)), dtype=np.int64), hard.cumsum(0)])  # before each span
    every = until.sum(1)
    own, all_draws = until[then, c] - until[now, c], every[then] - every[now]
    recall = correct / queries.clip(1)
    return Retests(recall[now, c], recall[then, c], own * len(classes) > all_draws, c)


def _answers(ledger: Ledger, ids: tuple[int, int], classes: Counts) -> tuple[Counts, Counts]:
    """(queries, right answers), each (C,), of the episodes that were not drawn as hard."""
    queries, correct = np.zeros_like(classes), np.zeros_like(classes)
    rows = ledger.sql.execute(
        "SELECT classes, recall, length(images) / length(classes) - shot FROM episode "  # 4 bytes either
        f"WHERE id BETWEEN ? AND ? AND origin NOT IN ({_HARD})",
        ids,
    )
    for met, recall, (asked,) in episode_columns(rows, "<f4"):
        place = classes.searchsorted(met.ravel())
        right = np.rint(recall.ravel() * asked)
        queries += asked * np.bincount(place, minlength=len(classes))
        correct += np.bincount(place, right, len(classes)).astype(np.int64)
    return queries, correct


_LEAST = 10  # picked, and others
_IN_BIN = 2  # units of either: one alone tells nothing of the spread
_BINS, _PER_BIN = 10, 5  # bins at most; picked in each, where there are fewer bins
_Z = NormalDist().inv_cdf(0.975)


class Bin(NamedTuple):
    """Picked and others of about the same start; halves are those of 95 % intervals."""

    start: float  # mean before, of the picked
    picked_after: float
    picked_half: float
    picked: int
    others_after: float
    others_half: float
    others: int


@dataclass(frozen=True)
class Improvement:
    """Shares before and after, and what they gained: (mean, half width of its 95 % interval)."""

    unit: str  # "class" or "task"
    picked: Floats  # (n, 2): before and after
    others: Floats  # (m, 2)
    gain_picked: tuple[float, float]
    gain_others: tuple[float, float]
    at_equal_start: tuple[float, float] | None  # gain of the picked less that of others of the same start
    bins: list[Bin]  # those that `at_equal_start` rests on


def improvement(ledger: Ledger, phase: str) -> Improvement | None:
    """What was picked as hard and what was not, before and after. None for fewer than 10 of either.

    For a phase whose name begins with "evaluate" the units are tasks, before is their accuracy in round 0 and
    after the mean of their later visits, with nothing trained in between: any gain is regression to the mean.
    For others they are classes, in neighbouring spans of the phase's rounds, and those were picked that got
    more than their even share of the hard draws in between (`mtl.ledger.regression_to_mean`).

    `gain_picked` alone shows nothing. `at_equal_start` takes out what is due to the measurement `before`,
    and that alone. Classes are picked by more than this one measurement (their weight remembers earlier
    rounds), so picked ones are truly harder than others that measured the same by bad luck, and fall back
    further. A difference of 0 or below is therefore no proof that practice did nothing; one above 0 speaks
    for it. Neither is an experiment: what is picked is not drawn by lot. The intervals are over classes, in
    this training: a class has several rows, in which the `after` of one is the `before` of the next, and they
    count as one cluster.

    Raises:
        UserError: there is no such phase.
    """
    at = ledger.phase(phase)
    tasks = at.name.startswith("evaluate")
    found = task_retests(ledger, at) if tasks else class_retests(ledger, at)
    units = found.units_of(True), found.units_of(False)
    return compare_gains("task" if tasks else "class", found.rows(True), found.rows(False), units)


def compare_gains(
    unit: str, picked: Floats, others: Floats, units: tuple[Counts, Counts] | None = None
) -> Improvement | None:
    """From (before, after) of n picked and m others; None for fewer than 10, or one unit, of either.

    `units` says which class or task each picked row (n,) and other row (m,) is of; None: each of another.

    At equal start: bins of `before` hold as many picked each, 10 at most, and others where they fall. The
    difference of mean gains in each bin with at least two of either counts by the number of its picked. Its
    standard error is √Σ_u (Σ r)², the sum of squares over units of the sums of their rows' residuals
    r = ±(n_b / n) (gain − mean gain) / √(k (k − 1)) of k picked, or others (−), in their bin; n is the sum of
    these n_b. With one row a unit that is √Σ_b (n_b / n)² (s²_picked / n_b + s²_others / m_b), with the
    samples' variances (n - 1). Where no bin has two units of either there is no estimate.
    """
    numbers = np.arange(len(picked) + len(others))
    of_picked, of_others = units or (numbers[: len(picked)], numbers[len(picked) :])
    sides = _Side(picked, of_picked), _Side(others, of_others)
    if min(len(picked), len(others)) < _LEAST or not all(side.enough for side in sides):
        return None
    pairs = _bins(*sides)
    total = sum(len(p.rows) for p, _ in pairs)
    difference, residuals = 0.0, np.zeros(max(int(of.max()) for of in (of_picked, of_others)) + 1)
    for p, o in pairs:
        share = len(p.rows) / total
        difference += share * float(p.gains.mean() - o.gains.mean())
        for side, sign in ((p, share), (o, -share)):
            k = len(side.rows)
            spread = sign * (side.gains - side.gains.mean()) / math.sqrt(k * (k - 1))
            residuals += np.bincount(side.units, spread, len(residuals))
    at_equal_start = (difference, _Z * math.sqrt(float(residuals @ residuals))) if pairs else None
    bins = [
        Bin(
            float(p.rows[:, 0].mean()), *clustered_mean_interval(p.rows[:, 1], p.units), len(p.rows),
            *clustered_mean_interval(o.rows[:, 1], o.units), len(o.rows),
        )
        for p, o in pairs
    ]  # fmt: skip
    gains = [clustered_mean_interval(side.gains, side.units) for side in sides]
    return Improvement(unit, picked, others, gains[0], gains[1], at_equal_start, bins)


class _Side(NamedTuple):
    """The picked, or the others."""

    rows: Floats  # (k, 2): before and after
    units: Counts  # (k,)

    @property
    def gains(self) -> Floats:
        gains: Floats = self.rows[:, 1] - self.rows[:, 0]
        return gains

    def among(self, which: NDArray[np.bool_]) -> "_Side":
        return _Side(self.rows[which], self.units[which])

    @property
    def enough(self) -> bool:
        return len(np.unique(self.units)) >= _IN_BIN


def _bins(picked: _Side, others: _Side) -> list[tuple[_Side, _Side]]:
    """Picked and others with `before` from one quantile of the picked on and below the next."""
    start, n = np.sort(picked.rows[:, 0]), len(picked.rows)
    count = min(_BINS, max(2, n // _PER_BIN))
    edges = np.unique(start[[n * b // count for b in range(1, count)]])  # fewer where many are equal
    inside = others.among((others.rows[:, 0] >= start[0]) & (others.rows[:, 0] <= start[-1]))
    of_picked, of_others = (edges.searchsorted(side.rows[:, 0], "right") for side in (picked, inside))
    found = [(picked.among(of_picked == b), inside.among(of_others == b)) for b in range(len(edges) + 1)]
    return [(p, o) for p, o in found if p.enough and o.enough]
