"""A phase's rounds cut into a few stretches, and what its classes did in each."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mtl.errors import UserError
from mtl.ledger.queries import class_names, even_round, measured_rounds, whole_groups
from mtl.ledger.store import KEPT_WEIGHTS, Ledger, Phase

Stretch = tuple[int, int]  # first and last round


def stretches(rounds: Sequence[int], most: int) -> list[Stretch]:
    """Ascending rounds in at most `most` stretches, which differ by one round at the most.

    Raises:
        ValueError: `most` is below 1.
    """
    if most < 1:
        raise ValueError(f"{most} stretches; there must be at least 1")
    count = min(most, len(rounds))
    cuts = [len(rounds) * k // count for k in range(count + 1)] if count else []
    return [(rounds[a], rounds[b - 1]) for a, b in pairwise(cuts)]


def class_sums(ledger: Ledger, at: Phase, found: Sequence[Stretch]) -> list[tuple[int, int, int, int, int]]:
    """(number of the stretch, class, queries, right answers, hard draws), where the class was drawn."""
    if not found:
        return []
    values = ", ".join(f"({number}, {first}, {last})" for number, (first, last) in enumerate(found))
    return ledger.sql.execute(
        f"""
        WITH stretch (number, first, last) AS (VALUES {values})
        SELECT number, class, sum(queries), sum(correct), sum(hard)
        FROM stretch JOIN class_round ON phase = ? AND round BETWEEN first AND last
        GROUP BY number, class
        """,
        (at.id,),
    ).fetchall()


def class_trends(
    ledger: Ledger, phase: str, names: Sequence[str], points: int = 24
) -> list[list[float | None]]:
    """The recall of each named class in each stretch of the phase, in the order of `names`.

    The rounds that have episodes are cut into at most `points` stretches of as many rounds; there are fewer
    where the phase has fewer rounds, and one of an evaluation, in which nothing changes. None where the class
    was not drawn.

    Raises:
        UserError: there is no such phase, or no class of that name in its split.
        ValueError: `points` is below 1.
    """
    at = ledger.phase(phase)
    even = even_round(at)
    cut = stretches(measured_rounds(ledger, at) if even is None else [even], points)
    known = class_names(ledger, at)
    recall: dict[str, list[float | None]] = {name: [None] * len(cut) for name in known.values()}
    for number, c, queries, correct, _ in class_sums(ledger, at, cut):
        of_class = recall.setdefault(known.get(c, str(c)), [None] * len(cut))
        of_class[number] = correct / queries
    for name in names:
        if name not in recall:
            raise UserError(f'{ledger.path}: phase "{phase}" knows no class {name!r}')
    return [list(recall[name]) for name in names]


_GROUPS = 200  # as many at most stand for their classes


@dataclass(frozen=True)
class Share:
    """What a class or a group got of the hard episodes; a draw is one class in one episode."""

    name: str
    hard: int  # draws into hard episodes
    draws: int  # into all episodes
    expected: float  # hard draws, if they had been spread evenly over the classes


def extra_draws(ledger: Ledger, phase: str, top: int = 20) -> list[Share]:
    """Groups, where every class is in one and there are 2 to 200, and classes otherwise.

    First what got the most hard draws above its even share, equals by name; `top` of them. Classes of the
    split that were never drawn count as any other. Empty where nothing was drawn as hard.

    Raises:
        UserError: there is no such phase, or `top` is below 1.
    """
    if top < 1:
        raise UserError(f"top: {top}; at least 1 row must be asked for")
    at = ledger.phase(phase)
    rows = ledger.sql.execute("SELECT class, hard, draws FROM class_total WHERE phase = ?", (at.id,))
    drawn = {c: (hard, draws) for c, hard, draws in rows}
    whole = sum(hard for hard, _ in drawn.values())
    if not whole:
        return []
    names = class_names(ledger, at)
    classes = sorted(names.keys() | drawn.keys())
    groups = whole_groups(ledger, at, classes, _GROUPS)
    members: dict[str, list[int]] = defaultdict(list)
    for c in classes:
        members[names.get(c, str(c)) if groups is None else groups[c]].append(c)
    shares = [
        Share(
            name,
            sum(drawn.get(c, (0, 0))[0] for c in own),
            sum(drawn.get(c, (0, 0))[1] for c in own),
            whole * len(own) / len(classes),
        )
        for name, own in members.items()
    ]
    return sorted(shares, key=lambda s: (s.expected - s.hard, s.name))[:top]


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
