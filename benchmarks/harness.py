"""Timing two things in turn, and what a benchmark reports."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One figure, and the bound that it is held against where there is one."""

    what: str
    value: float
    unit: str  # "×" a ratio, "%" a share, "ms", "s", "GB"
    target: float | None
    at_most: bool = True  # whether the target is an upper bound
    note: str = ""  # the figures behind a ratio

    @property
    def met(self) -> bool:
        if self.target is None:
            return True
        return self.value <= self.target if self.at_most else self.value >= self.target


@dataclass(frozen=True)
class Pairing:
    """Two pieces of work, timed in turn A B A B …; seconds are medians."""

    a: float
    b: float
    ratio: float  # median over pairs of a/b: what drifts with the machine's speed falls out
    low: float  # quartiles of the same
    high: float

    def __str__(self) -> str:
        return f"{told(self.a)} over {told(self.b)}, quartiles {self.low:.2f} to {self.high:.2f}"


def paired(a: Work, b: Work, pairs: int, warm_up: int = 1) -> Pairing:
    """Times `a` and `b` in turn, after `warm_up` uncounted runs of each; every other pair begins with b.

    Raises ValueError for fewer than one pair.
    """
    if pairs < 1:
        raise ValueError(f"{pairs} pairs; there must be at least 1")
    for _ in range(warm_up):
        a()
        b()
    times: list[tuple[float, float]] = []
    for i in range(pairs):
        if i % 2:
            later = seconds(b)
            times.append((seconds(a), later))
        else:
            times.append((seconds(a), seconds(b)))
    ratios = sorted(x / y for x, y in times)
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    of_a, of_b = (statistics.median(column) for column in zip(*times, strict=True))
    return Pairing(of_a, of_b, statistics.median(ratios), low, high)


def median_seconds(work: Work, runs: int, warm_up: int = 1) -> float:
    """Median time of `runs` runs, after `warm_up` uncounted ones."""
    for _ in range(warm_up):
        work()
    return statistics.median(seconds(work) for _ in range(runs))


def seconds(work: Work) -> float:
    """Time of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def told(time_taken: float) -> str:
    """A time for a person: `12.3 ms`."""
    if time_taken < 1e-3:
        return f"{1e6 * time_taken:.0f} µs"
    return f"{1e3 * time_taken:.1f} ms" if time_taken < 1 else f"{time_taken:.2f} s"
