"""95 % intervals: Wilson's for a share, Student's for a mean."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

_Z = NormalDist().inv_cdf(0.975)


def wilson(correct: float, n: float) -> tuple[float, float]:
    """(low, high) of the share behind `correct` out of `n`, at 95 %.

    Wilson's score interval (JASA 1927): sound near 0 and 1 and for few draws. (0, 1) for n = 0, where
    nothing is known. Raises ValueError unless 0 ≤ correct ≤ n.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} is no share")
    if n == 0:
        return 0.0, 1.0
    share, z2 = correct / n, _Z * _Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == n else min(1.0, centre + half)
    return low, high


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half width) of the 95 % interval of the mean: Student-t, with the sample's deviation (n - 1).

    The half width of a single value is nan: it tells nothing of the spread. ValueError for no value at all.
    """
    if len(values) == 0:
        raise ValueError("the mean of no values")
    if len(values) == 1:
        return float(values[0]), math.nan
    from scipy.stats import t

    quantile = float(t.ppf(0.975, len(values) - 1))
    return fmean(values), quantile * stdev(values) / math.sqrt(len(values))
