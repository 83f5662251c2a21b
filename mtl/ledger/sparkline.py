"""A row of numbers as a line of blocks, as tall as a line of text: ▁▂▅▇. After Tufte's sparklines."""

import math
from collections.abc import Sequence

from mtl.ledger.class_history import stretches

_BLOCKS = "▁▂▃▄▅▆▇█"
_GAP = " "
_MIDDLE = 0.45  # of a scale that is a single point
_NEAR = 1e-9  # a number that rounding has left so little below a step stands on it


def sparkline(values: Sequence[float | None], low: float, high: float) -> str:
    """One character a value: [low, high] in eight equal steps, a gap for None and nan.

    What lies outside is drawn as the nearer end; where low equals high, everything in the middle.

    Raises:
        ValueError: low is above high, or one of them is not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"a scale goes from a low number to a high one, not from {low} to {high}")
    return "".join(_GAP if v is None or math.isnan(v) else _block(v, low, high) for v in values)


def thinned(values: Sequence[float | None], most: int) -> list[float | None]:
    """At most `most` values: the means of as many equal stretches, None where nothing in one is known.

    Raises:
        ValueError: `most` is below 1.
    """
    return [_mean(values[a : b + 1]) for a, b in stretches(range(len(values)), most)]


def _block(value: float, low: float, high: float) -> str:
    share = (min(max(value, low), high) - low) / (high - low) if low < high else _MIDDLE
    return _BLOCKS[min(int(share * len(_BLOCKS) + _NEAR), len(_BLOCKS) - 1)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None and not math.isnan(v)]
    return sum(known) / len(known) if known else None
