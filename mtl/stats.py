"""95 % intervals of shares, of recalls over tasks and of means; quantiles of task accuracies."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from statistics import NormalDist, fmean, stdev
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BY_TASK = "over tasks"  # how `recall_intervals` are marked in results.json
_LEVEL = 0.975  # of a quantile that cuts 2.5 % off either end
_Z = NormalDist().inv_cdf(_LEVEL)


def wilson(correct: float, n: float) -> tuple[float, float]:
    """(low, high) of the share behind `correct` out of `n` independent answers, at 95 %.

    Wilson's score interval (JASA 1927): sound near 0 and 1 and for few draws. (0, 1) for n = 0. ValueError
    unless 0 ≤ correct ≤ n.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} is not a share")
    if n == 0:
        return 0.0, 1.0
    share, z2 = correct / n, _Z * _Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == n else min(1.0, centre + half)
    return low, high


def root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where an increasing function becomes 0 between `low` and `high`, to a billionth of their distance.

    For answers that somebody waits for: importing `scipy.optimize` takes a quarter of a second.
    """
    steps = 2**30
    width = (high - low) / steps
    return low + width * bisect_left(range(steps), 0.0, key=lambda step: rising(low + width * step))


def recall_intervals(
    tasks: Sequence[int] | NDArray[Any],
    queries: Sequence[int] | NDArray[Any],
    correct: Sequence[int] | NDArray[Any],
    squares: Sequence[int] | NDArray[Any],
) -> list[tuple[float, float]]:
    """(low, high) of the recall of each of C classes over further tasks like these, at 95 %.

    Queries of one task share its support set and its other classes, so they are right or wrong together. Of
    class c, seen in m tasks with q queries each, x_t of them right and p = Σ x_t / mq, the design effect

        d_c = m/(m−1) · Σ_t (x_t − p q)² / (m q p (1 − p))

    says how much more its recall varies than that of mq independent queries would (Kish, "Survey Sampling",
    1965; for shares in clusters: Rao and Scott, Biometrics 1992). The interval is Wilson's for mq/d answers.
    With few tasks or few errors d_c may be far too small by chance, so d is the largest of d_c, 1 and the
    design effect of all classes together (sum of numerators over sum of denominators), and at most q: a task
    counts for one answer at least. With Σ_c (m − 1) degrees of freedom the answers are multiplied by (z/t)²
    (Korn and Graubard, Survey Methodology 1998). Where no class with an error has two tasks, d is q.

    The interval is about these images: it does not say how other images of the class would do.

    Args:
        tasks: (C,) m ≥ 1: tasks that each class was in.
        queries: (C,) m q: its queries in all of them, as many in each.
        correct: (C,) Σ x_t.
        squares: (C,) Σ x_t².

    Raises:
        ValueError: more queries are right than there are.
    """
    from scipy.special import stdtrit

    m, n, right, squared = (
        np.asarray(given, dtype=np.float64) for given in (tasks, queries, correct, squares)
    )
    if (right > n).any():
        raise ValueError("more queries are right than there are")
    share, again = right / n, m > 1
    each = n / m
    between = np.where(again, m / np.maximum(m - 1, 1) * (squared - right * right / m).clip(0), 0.0)
    within = np.where(again, right * (1 - share), 0.0)
    total = float(within.sum())
    by_class = np.divide(between, within, out=np.ones_like(within), where=within > 0)
    effect = (
        np.minimum(np.maximum(by_class, max(1.0, float(between.sum()) / total)), each) if total > 0 else each
    )
    freedom = float((m - 1).sum())
    answers = n / effect * ((_Z / float(stdtrit(freedom, _LEVEL))) ** 2 if total > 0 else 1.0)
    # min: rounding must not make more answers correct than there are
    return [wilson(min(p * k, k), k) for p, k in zip(share.tolist(), answers.tolist(), strict=True)]


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half width) of the 95 % interval of the mean: Student-t, with the sample's deviation (n - 1).

    The half width of a single value is nan. ValueError for no value at all.
    """
    if len(values) == 0:
        raise ValueError("the mean of no values")
    if len(values) == 1:
        return float(values[0]), math.nan
    from scipy.stats import t

    quantile = float(t.ppf(_LEVEL, len(values) - 1))
    return fmean(values), quantile * stdev(values) / math.sqrt(len(values))


FIFTH = 0.05  # the share of tasks below the 5th percentile


def fifth_percentile(accuracy: Tensor, answers: int) -> float:
    """The 5th percentile of task accuracies (T,), each a number of correct answers over `answers` = N Q."""
    right, counts = torch.unique((accuracy.double() * answers).round(), return_counts=True)
    return float(mid_quantile(right / answers, counts[:, None].double(), FIFTH))


def mid_quantile(values: Tensor, counts: Tensor, share: float) -> Tensor:
    """(B,): the quantile at `share` of samples that hold `values[k]` as often as `counts[k]` says.

    It inverts the mid-distribution function P(X < x) + P(X = x)/2, with straight lines between the values
    that occur, and is the smallest or largest of them beyond (Ma, Genton and Parzen, 2011). Where all values
    differ it is Hazen's quantile. Accuracies have few values, k/(NQ): their plain quantiles move in whole
    steps, on which all seeds may agree by chance, and resamples do not show how far they scatter (Jentsch and
    Leucht, 2016).

    Args:
        values: (K,), strictly increasing.
        counts: (K, B), not negative; no column is all 0.
    """
    seen = counts > 0
    middle = (counts.cumsum(0) - counts / 2) / counts.sum(0)
    at = values[:, None].expand_as(counts)
    before, after = seen & (middle <= share), seen & (middle > share)
    low, low_at = (torch.where(before, x, -torch.inf).amax(0) for x in (at, middle))
    high, high_at = (torch.where(after, x, torch.inf).amin(0) for x in (at, middle))
    between = low + (high - low) * (share - low_at) / (high_at - low_at)
    return torch.where(low.isinf(), high, torch.where(high.isinf(), low, between))
