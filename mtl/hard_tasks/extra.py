"""Where the hard episodes went: which classes or groups were drawn more than evenly."""

from collections import defaultdict
from dataclasses import dataclass

from mtl.errors import UserError
from mtl.hard_tasks.grouping import whole_groups
from mtl.hard_tasks.ledger import Ledger
from mtl.hard_tasks.views import class_names

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
