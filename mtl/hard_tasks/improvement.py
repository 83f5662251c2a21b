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

from mtl.hard_tasks.intervals import mean_interval
from mtl.hard_tasks.ledger import Ledger
from mtl.hard_tasks.retests import Floats, class_retests, task_retests

_LEAST = 10  # picked, and others
_IN_BIN = 2  # of either: one alone tells nothing of the spread
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
    more than their even share of the hard draws in between (`mtl.hard_tasks.retests`).

    `gain_picked` alone shows nothing. `at_equal_start` takes out what is due to the measurement `before`,
    and that alone. Classes are picked by more than this one measurement (their weight remembers earlier
    rounds), so picked ones are truly harder than others that measured the same by bad luck, and fall back
    further. A difference of 0 or below is therefore no proof that practice did nothing; one above 0 speaks
    for it. Neither is an experiment: what is picked is not drawn by lot. The intervals take all rows as
    independent; a class has several, in which the `after` of one is the `before` of the next.

    Raises:
        UserError: there is no such phase.
    """
    at = ledger.phase(phase)
    tasks = at.name.startswith("evaluate")
    found = task_retests(ledger, at) if tasks else class_retests(ledger, at)
    return compare_gains("task" if tasks else "class", found.rows(True), found.rows(False))


def compare_gains(unit: str, picked: Floats, others: Floats) -> Improvement | None:
    """From (before, after) of n picked and m others; None for fewer than 10 of either.

    At equal start: bins of `before` hold as many picked each, 10 at most, and others where they fall. The
    difference of mean gains in each bin with at least two of either counts by the number of its picked. Its
    standard error is √Σ_b (n_b / n)² (s²_picked / n_b + s²_others / m_b), with the samples' variances
    (n - 1); n is the sum of these n_b. Where no bin has two of either there is no estimate.
    """
    if min(len(picked), len(others)) < _LEAST:
        return None
    gains = [mean_interval((rows[:, 1] - rows[:, 0]).tolist()) for rows in (picked, others)]
    pairs = _bins(picked, others)
    total = sum(len(p) for p, _ in pairs)
    difference = variance = 0.0
    for p, o in pairs:
        (gain, spread), (other_gain, other_spread) = _moments(p), _moments(o)
        difference += len(p) / total * (gain - other_gain)
        variance += (len(p) / total) ** 2 * (spread + other_spread)
    at_equal_start = (difference, _Z * math.sqrt(variance)) if pairs else None
    bins = [
        Bin(
            float(p[:, 0].mean()), *mean_interval(p[:, 1].tolist()), len(p),
            *mean_interval(o[:, 1].tolist()), len(o),
        )
        for p, o in pairs
    ]  # fmt: skip
    return Improvement(unit, picked, others, gains[0], gains[1], at_equal_start, bins)


def _bins(picked: Floats, others: Floats) -> list[tuple[Floats, Floats]]:
    """Rows of picked and of others with `before` from one quantile of the picked on and below the next."""
    start, n = np.sort(picked[:, 0]), len(picked)
    count = min(_BINS, max(2, n // _PER_BIN))
    edges = np.unique(start[[n * b // count for b in range(1, count)]])  # fewer where many are equal
    inside = others[(others[:, 0] >= start[0]) & (others[:, 0] <= start[-1])]
    of_picked, of_others = (edges.searchsorted(rows[:, 0], "right") for rows in (picked, inside))
    found = [(picked[of_picked == b], inside[of_others == b]) for b in range(len(edges) + 1)]
    return [(p, o) for p, o in found if min(len(p), len(o)) >= _IN_BIN]


def _moments(rows: Floats) -> tuple[float, float]:
    """(mean gain, variance of that mean)."""
    gain = rows[:, 1] - rows[:, 0]
    return float(gain.mean()), float(gain.var(ddof=1)) / len(gain)
