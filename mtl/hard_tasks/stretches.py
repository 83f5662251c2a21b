"""A phase's rounds cut into a few stretches, and what its classes did in each."""

from collections.abc import Sequence
from itertools import pairwise

from mtl.hard_tasks.ledger import Ledger, Phase

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
