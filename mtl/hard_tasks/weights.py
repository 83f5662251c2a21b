"""How the sampler's weights spread over their units, round by round."""

from dataclasses import dataclass

import numpy as np

from mtl.hard_tasks.ledger import KEPT_WEIGHTS, Ledger

_WHOLE = 1e-9  # weights that sum to 1 but for this are all there are


@dataclass(frozen=True)
class WeightsAt:
    """The kept weights of a round: those of its heaviest units."""

    round: int
    units: int  # kept
    heaviest: float
    median: float
    quantiles: tuple[float, float, float, float]  # 10, 25, 75 and 90 %
    effective: float  # 1 / Σ w² of the kept weights, scaled to sum 1: k even units have k
    kept_all: bool  # whether no other unit had any weight to speak of


def weights_over_rounds(ledger: Ledger, phase: str, most: int = 200) -> list[WeightsAt]:
    """The rounds whose weights the ledger has, in order; of more than `most` that many, evenly chosen.

    The first and the last are always among them. Where the ledger has the heaviest units alone (`kept_all`
    is false), every number tells of these; that of all units is at least as large as `effective`.

    Raises:
        UserError: there is no such phase.
        ValueError: `most` is below 2.
    """
    if most < 2:
        raise ValueError(f"most: {most}; the first and the last round make 2")
    at = ledger.phase(phase)
    rows = ledger.sql.execute(
        "SELECT round FROM round WHERE phase = :phase AND EXISTS (SELECT 1 FROM round_weight AS w "
        "WHERE w.phase = :phase AND w.round = round.round) ORDER BY round",
        {"phase": at.id},
    )
    weighed = [row[0] for row in rows]
    if len(weighed) > most:
        weighed = [weighed[(len(weighed) - 1) * k // (most - 1)] for k in range(most)]
    return [_weights_at(ledger, at.id, number) for number in weighed]


def _weights_at(ledger: Ledger, phase: int, number: int) -> WeightsAt:
    rows = ledger.sql.execute(
        "SELECT weight FROM round_weight WHERE phase = ? AND round = ? ORDER BY rank", (phase, number)
    )
    kept = np.array([row[0] for row in rows])
    total = float(kept.sum())
    low, lower, median, upper, high = np.percentile(kept, (10, 25, 50, 75, 90)).tolist()
    effective = total**2 / float((kept**2).sum())
    kept_all = len(kept) < KEPT_WEIGHTS or abs(total - 1) < _WHOLE
    quantiles = low, lower, upper, high
    return WeightsAt(number, len(kept), float(kept[0]), median, quantiles, effective, kept_all)
