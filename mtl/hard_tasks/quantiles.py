"""The one definition of a quantile of task accuracies, for evaluations, comparisons and reports."""

import torch
from torch import Tensor

FIFTH = 0.05  # the share of tasks below the 5th percentile


def fifth_percentile(accuracy: Tensor, answers: int) -> float:
    """The 5th percentile of task accuracies (T,), each a number of right ones among `answers` = N Q."""
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
