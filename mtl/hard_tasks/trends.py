"""How the recall of classes moved in the course of a phase."""

from collections.abc import Sequence

from mtl.errors import UserError
from mtl.hard_tasks.ledger import Ledger
from mtl.hard_tasks.phases import even_round
from mtl.hard_tasks.stretches import class_sums, stretches
from mtl.hard_tasks.views import class_names, measured_rounds


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
