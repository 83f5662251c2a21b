"""Keeping the share of the images that count in an epoch at the share that was asked for."""

import math
from collections.abc import Mapping
from typing import Any

_GAIN = 0.5  # of what a batch was off by, so much is made good in the next
_SLACK = 0.01  # of the images of an epoch so far: by as many those that count may be off


class SharePace:
    """Corrects a quantile that is taken from losses of different age.

    A network changes while it trains. The last known losses of a training set are therefore larger, or
    smaller, than those of the batch at hand, and of the batch another share lies below their quantile. Two
    things are done about it: the quantile is moved, step by step, until it has the share that is wanted; and
    the number of images that count in an epoch is never off by more than a hundredth of those it has met. As
    far as that allows, a batch of hard images has fewer that count, and one of easy images more.
    """

    def __init__(self) -> None:
        self.offset = 0.0  # what the share of the quantile is moved by
        self.met, self.counted = 0, 0  # in the epoch so far, for a loss that does not know which images

    def begin_epoch(self) -> None:
        self.met, self.counted = 0, 0

    def moved(self, share: float) -> float:
        """The share in [0, 1] whose quantile of the known losses is to be the threshold of a batch."""
        return min(1.0, max(0.0, share + self.offset))

    def wanted(self, share: float, images: int, below: int, met: int, counted: int) -> int:
        """How many of a batch of so many images are to count.

        Args:
            share: that is wanted, of all.
            images: of the batch.
            below: how many of them lie below the quantile of the moved share.
            met, counted: other images of the epoch so far, and those of them that counted.
        """
        limits = -share, 1 - share
        self.offset = min(limits[1], max(limits[0], self.offset + _GAIN * (share - below / images)))
        due = share * (met + images) - counted
        slack = _SLACK * (met + images)
        least, most = min(math.ceil(due - slack), round(due)), max(math.floor(due + slack), round(due))
        return min(images, max(1, min(most, max(least, below))))

    def add(self, images: int, counted: int) -> None:
        """Takes note of a batch, for `met` and `counted`."""
        self.met += images
        self.counted += counted

    def state(self) -> dict[str, float]:
        return {"offset": self.offset, "met": self.met, "counted": self.counted}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes over a state; what it lacks begins anew."""
        self.offset = float(state.get("offset", 0.0))
        self.met, self.counted = int(state.get("met", 0)), int(state.get("counted", 0))
