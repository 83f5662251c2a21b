"""Did tasks that were picked as hard get better, or is it regression to the mean?

What is picked for a low measurement measures higher the next time even where nothing was learned: part of the
low measurement was bad luck. So the gain of the picked tasks is compared with that of others that were not
picked, and with those of them that started as low.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtl.ledger.queries import HARD_SQL, episode_span, is_evaluation
from mtl.ledger.rows import phase_span
from mtl.ledger.store import Ledger, Phase
from mtl.stats import mean_interval

Floats = NDArray[np.float64]

_CONTROL = "control"  # origin of tasks that are tested again though they were not picked
_FEWEST = 10  # picked, and others
_IN_BIN = 2  # tasks of either: one says nothing about the spread
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
    """Accuracies before and after, and the gains: (mean, half width of its 95 % interval)."""

    unit: str  # "task"
    picked: Floats  # (n, 2): before and after
    others: Floats  # (m, 2)
    gain_picked: tuple[float, float]
    gain_others: tuple[float, float]
    at_equal_start: tuple[float, float] | None  # gain of the picked less that of others of the same start
    bins: list[Bin]  # those that `at_equal_start` rests on


def improvement(ledger: Ledger, phase: str) -> Improvement | None:
    """Tasks of an evaluation that were picked as hard, and the control group, before and after.

    Before is their accuracy in round 0 and after the mean of their later visits, with nothing trained in
    between: any gain is regression to the mean. None for phases of training, and for fewer than 10 of either.

    Raises:
        UserError: there is no such phase.
    """
    at = ledger.phase(phase)
    return compare_gains("task", *task_retests(ledger, at)) if is_evaluation(at.name) else None


def task_retests(ledger: Ledger, at: Phase) -> tuple[Floats, Floats]:
    """(before, after) of tasks of round 0 that later rounds tested again: n picked (n, 2), m controls (m, 2).

    A task is its set of classes: where that was drawn more than once, its accuracies are averaged, and it was
    picked if any of its draws was.
    """
    first, last = episode_span(ledger, at, 0)
    rows = ledger.sql.execute(
        f"""
        WITH later AS (
            SELECT classes, avg(accuracy) AS after, max(origin IN ({HARD_SQL})) AS picked FROM episode
            WHERE id > :last AND id <= :end AND origin IN ({HARD_SQL}, '{_CONTROL}') GROUP BY classes)
        SELECT avg(accuracy), after, picked FROM episode CROSS JOIN later USING (classes)
        WHERE id BETWEEN :first AND :last GROUP BY classes ORDER BY classes
        """,  # CROSS: the tasks of round 0 are scanned once, the few later ones looked up
        {"first": first, "last": last, "end": phase_span(at.id)[1]},
    ).fetchall()
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    picked = table[:, 2] > 0
    return table[picked, :2], table[~picked, :2]


def compare_gains(unit: str, picked: Floats, others: Floats) -> Improvement | None:
    """From (before, after) of n picked (n, 2) and m others (m, 2); None for fewer than 10 of either.

    At equal start: bins of `before` hold as many picked each, 10 at most, and others where they fall. The
    difference of mean gains in each bin with at least two of either counts by the number of its picked, and
    its variance is Σ_b (n_b / n)² (s²_picked / n_b + s²_others / m_b), with the samples' variances (n - 1);
    n is the sum of these n_b. Where no bin has two of either there is no estimate.
    """
    if min(len(picked), len(others)) < _FEWEST:
        return None
    pairs = _bins(picked, others)
    total = sum(len(p) for p, _ in pairs)
    difference = variance = 0.0
    for p, o in pairs:
        share, gain_p, gain_o = len(p) / total, p[:, 1] - p[:, 0], o[:, 1] - o[:, 0]
        difference += share * float(gain_p.mean() - gain_o.mean())
        variance += share**2 * float(gain_p.var(ddof=1) / len(p) + gain_o.var(ddof=1) / len(o))
    return Improvement(
        unit,
        picked,
        others,
        mean_interval((picked[:, 1] - picked[:, 0]).tolist()),
        mean_interval((others[:, 1] - others[:, 0]).tolist()),
        at_equal_start=(difference, _Z * math.sqrt(variance)) if pairs else None,
        bins=[
            Bin(
                float(p[:, 0].mean()), *mean_interval(p[:, 1].tolist()), len(p),
                *mean_interval(o[:, 1].tolist()), len(o),
            )
            for p, o in pairs
        ],
    )  # fmt: skip


def _bins(picked: Floats, others: Floats) -> list[tuple[Floats, Floats]]:
    """Picked and others with `before` from one quantile of the picked on and below the next."""
    start, n = np.sort(picked[:, 0]), len(picked)
    count = min(_BINS, max(2, n // _PER_BIN))
    edges = np.unique(start[[n * b // count for b in range(1, count)]])  # fewer where many are equal
    inside = others[(others[:, 0] >= start[0]) & (others[:, 0] <= start[-1])]
    bin_picked, bin_others = (edges.searchsorted(rows[:, 0], "right") for rows in (picked, inside))
    pairs = [(picked[bin_picked == b], inside[bin_others == b]) for b in range(len(edges) + 1)]
    return [(p, o) for p, o in pairs if min(len(p), len(o)) >= _IN_BIN]
