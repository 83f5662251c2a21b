"""How classes, neighbourhoods and pairs did over the rounds of training: who learned, and data maps.

A data map has a point for each of them: its mean over the rounds and its standard deviation, after
Swayamdipta et al., "Dataset Cartography: Mapping and Diagnosing Datasets with Training Dynamics", EMNLP 2020.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtl.ledger.class_history import class_trends, round_bins
from mtl.ledger.neighbourhoods import HardNeighbourhood
from mtl.ledger.queries import (
    class_names,
    classes_drawn,
    episode_span,
    is_evaluation,
    measured_rounds,
    pair_sums,
)
from mtl.ledger.rows import pair_parts
from mtl.ledger.store import Ledger

Floats = NDArray[np.float64]

_FEWEST_ROUNDS = 4  # of a point: fewer have no quarters, and hardly a spread
_FEWEST_POINTS = 5  # of a map
_BINS = 50  # of more rounds than that, as many equal stretches are compared
_QUARTER = 4


@dataclass(frozen=True)
class DataMap:
    """n classes, neighbourhoods or pairs, as shares: recall, accuracy, or the confusion of a pair."""

    unit: Literal["class", "neighbourhood", "pair"]
    names: tuple[tuple[str, ...], ...]  # of the one class or of both
    mean: Floats  # (n,) over the rounds
    spread: Floats  # (n,) standard deviation over the rounds
    change: Floats  # (n,) the last quarter of its rounds minus the first


def learned_since(rows: Sequence[HardNeighbourhood], most: int) -> list[HardNeighbourhood]:
    """The `most` neighbourhoods that rose most, of those that began below the median of `rows`."""
    if not rows:
        return []
    middle = median(row.first for row in rows)
    risen = [row for row in rows if row.first < middle and row.last > row.first]
    return sorted(risen, key=lambda row: (row.first - row.last, row.name))[:most]


def class_map(ledger: Ledger, phase: str, around: Sequence[HardNeighbourhood]) -> DataMap | None:
    """Of all neighbourhoods of a phase, where its rounds test them; else of its classes, by their recall.

    The recall of a class is that of its episodes in a round, or in each of 50 equal stretches of more rounds.
    What has fewer than four rounds is left out. None for an evaluation, in which nothing changes, and for
    fewer than five points.
    """
    if is_evaluation(phase):
        return None
    if around:
        return _map("neighbourhood", [(row.name,) for row in around], [row.history for row in around])
    at = ledger.phase(phase)
    known = class_names(ledger, at)
    names = [known[c] for c in classes_drawn(ledger, at)]
    return _map("class", [(name,) for name in names], class_trends(ledger, phase, names, _BINS))


def pair_map(ledger: Ledger, phase: str, most: int = 2000) -> DataMap | None:
    """Of the `most` most confused pairs by their confusion in the episodes of each round; see `class_map`."""
    at = ledger.phase(phase)
    bins = round_bins(measured_rounds(ledger, at), _BINS)
    if is_evaluation(phase) or len(bins) < _FEWEST_ROUNDS:
        return None
    pairs = sorted((low, high) for low, high, *_ in pair_sums(ledger, at, None).most_confused(most))
    keys = np.array([low << 32 | high for low, high in pairs])
    total, count = np.zeros((2, len(pairs), len(bins)))
    for number, (first, last) in enumerate(bins):
        span = episode_span(ledger, at, first)[0], episode_span(ledger, at, last)[1]
        episodes = ledger.sql.execute("SELECT classes, confusion FROM episode WHERE id BETWEEN ? AND ?", span)
        for found, there, back in pair_parts(episodes):
            place = np.searchsorted(keys, found).clip(max=len(keys) - 1)
            shown = keys[place] == found
            place = place[shown]
            total[:, number] += np.bincount(place, (there + back)[shown] / 2, len(keys))
            count[:, number] += np.bincount(place, minlength=len(keys))
    confusion = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    names = class_names(ledger, at)
    return _map("pair", [(names[low], names[high]) for low, high in pairs], confusion.tolist())


def _map(
    unit: Literal["class", "neighbourhood", "pair"],
    names: Sequence[tuple[str, ...]],
    histories: Sequence[Sequence[float | None]],
) -> DataMap | None:
    """The map of the histories with enough rounds; what is not known in a round is None or nan."""
    points = []
    for name, history in zip(names, histories, strict=True):
        values = np.array(history, dtype=np.float64)
        values = values[~np.isnan(values)]
        if len(values) >= _FEWEST_ROUNDS:
            quarter = len(values) // _QUARTER
            change = values[-quarter:].mean() - values[:quarter].mean()
            points.append((name, values.mean(), values.std(), change))
    if len(points) < _FEWEST_POINTS:
        return None
    shown, *columns = zip(*points, strict=True)
    return DataMap(unit, tuple(shown), *map(np.array, columns))
