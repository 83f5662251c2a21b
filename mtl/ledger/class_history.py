"""Classes over the rounds of a phase, their shares of the hard draws, and unit weights over rounds."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mtl.errors import UserError
from mtl.ledger.queries import (
    checked_phase,
    class_names,
    class_sums,
    even_round,
    measured_rounds,
    whole_groups,
)
from mtl.ledger.store import KEPT_WEIGHTS, Ledger

_MOST_GROUPS = 200  # beyond these the draws are shown by class
_ROUNDING = 1e-9  # weights that sum to 1 but for this are complete


def round_bins(rounds: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Ascending rounds in at most `most` bins, each its first and last round; sizes differ by one at most.

    Raises:
        ValueError: `most` is below 1.
    """
    if most < 1:
        raise ValueError(f"{most} bins; there must be at least 1")
    count = min(most, len(rounds))
    cuts = [len(rounds) * k // count for k in range(count + 1)] if count else []
    return [(rounds[a], rounds[b - 1]) for a, b in pairwise(cuts)]


def class_trends(
    ledger: Ledger, phase: str, names: Sequence[str], points: int = 24
) -> list[list[float | None]]:
    """The recall of each named class in each bin of the phase's rounds, in the order of `names`.

    The rounds that have episodes are cut into at most `points` bins of as many rounds; there are fewer where
    the phase has fewer rounds, and one of an evaluation, in which nothing changes. None where the class was
    not drawn.

    Raises:
        UserError: there is no such phase, or no class of that name in its split.
        ValueError: `points` is below 1.
    """
    at = ledger.phase(phase)
    even = even_round(at)
    bins = round_bins(measured_rounds(ledger, at) if even is None else [even], points)
    known = class_names(ledger, at)
    recall: dict[str, list[float | None]] = {name: [None] * len(bins) for name in known.values()}
    for number, c, queries, correct, _ in class_sums(ledger, at, bins):
        recall.setdefault(known[c], [None] * len(bins))[number] = correct / queries
    for name in names:
        if name not in recall:
            raise UserError(f'{ledger.path}: phase "{phase}" has no class {name!r}')
    return [list(recall[name]) for name in names]


@dataclass(frozen=True)
class Share:
    """The share that a class or a group got of the hard episodes; a draw is one class in one episode."""

    name: str
    hard: int  # draws into hard episodes
    draws: int  # into all episodes
    expected: float  # hard draws, if they had been spread evenly over the classes


def extra_draws(ledger: Ledger, phase: str, top: int = 20) -> list[Share]:
    """Groups, where every class is in one and there are 2 to 200, and classes otherwise.

    Those with the most hard draws above their even share first, equals by name; `top` of them. Classes of the
    split that were never drawn count as any other. Empty where nothing was drawn as hard.

    Raises:
        UserError: there is no such phase, or `top` is below 1.
    """
    at = checked_phase(ledger, phase, top)
    rows = ledger.sql.execute("SELECT class, hard, draws FROM class_total WHERE phase = ?", (at.id,))
    drawn = defaultdict(lambda: (0, 0), {c: (hard, draws) for c, hard, draws in rows})
    all_hard = sum(hard for hard, _ in drawn.values())
    if not all_hard:
        return []
    names = class_names(ledger, at)
    classes = sorted(names.keys() | drawn.keys())
    groups = whole_groups(ledger, at, classes, _MOST_GROUPS)
    members: dict[str, list[int]] = defaultdict(list)
    for c in classes:
        members[names[c] if groups is None else groups[c]].append(c)
    shares = [
        Share(
            name,
            sum(drawn[c][0] for c in group),
            sum(drawn[c][1] for c in group),
            all_hard * len(group) / len(classes),
        )
        for name, group in members.items()
    ]
    return sorted(shares, key=lambda s: (s.expected - s.hard, s.name))[:top]


@dataclass(frozen=True)
class WeightsAt:
    """The kept weights of a round: those of its heaviest units."""

    round: int
    units: int  # kept
    heaviest: float
    median: float
    quantiles: tuple[float, float, float, float]  # 10, 25, 75 and 90 %
    effective: float  # 1 / Σ w² of the kept weights, scaled to sum 1: k even units have k
    kept_all: bool  # True if no other unit had a weight to speak of


def weights_over_rounds(ledger: Ledger, phase: str, most: int = 200) -> list[WeightsAt]:
    """The rounds whose weights the ledger has, in order; of more than `most` that many, evenly chosen.

    The first and the last are always among them. Where the ledger has only the heaviest units (`kept_all`
    is false), every number is about these; that of all units is at least as large as `effective`.

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
    numbers = [row[0] for row in rows]
    if len(numbers) > most:
        numbers = [numbers[(len(numbers) - 1) * k // (most - 1)] for k in range(most)]
    return [_weights_at(ledger, at.id, number) for number in numbers]


def _weights_at(ledger: Ledger, phase: int, number: int) -> WeightsAt:
    rows = ledger.sql.execute(
        "SELECT weight FROM round_weight WHERE phase = ? AND round = ? ORDER BY rank", (phase, number)
    )
    weights = np.array([row[0] for row in rows])
    total = float(weights.sum())
    low, lower, median, upper, high = np.percentile(weights, (10, 25, 50, 75, 90)).tolist()
    return WeightsAt(
        number,
        len(weights),
        heaviest=float(weights[0]),
        median=median,
        quantiles=(low, lower, upper, high),
        effective=total**2 / float((weights**2).sum()),
        kept_all=len(weights) < KEPT_WEIGHTS or abs(total - 1) < _ROUNDING,
    )
