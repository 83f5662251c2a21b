"""The view of the tasks around each class: what each round found in them, and how often they were drawn."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtl.ledger.queries import HardTask, checked_phase, class_names
from mtl.ledger.store import Ledger, Phase


@dataclass(frozen=True)
class HardNeighbourhood:
    """The tasks around one class: the class itself and those taken for it."""

    name: str  # of the class
    members: tuple[str, ...]  # the first of those around it, the heaviest or nearest first
    first: float  # accuracy of the task that the first round solved of it
    last: float  # ... and the last round, or round R
    mean: float  # over the rounds
    drawn: int  # episodes of training drawn around the class
    trained: float | None  # their mean accuracy; None: none was drawn
    weight: float | None  # 1 on average; None where neighbourhoods have no weights
    history: tuple[float, ...]  # accuracy in each round of the phase


def hardest_neighbourhoods(
    ledger: Ledger, phase: str, top: int = 20, round: int | None = None
) -> list[HardNeighbourhood]:
    """The tasks around each class by their mean error over the rounds (or in round R), the hardest first.

    Empty where the sampler tests no neighbourhoods. Members and weight are those of the last round, or of R.
    Where several image sets take turns, a class has the rounds of its own set.
    """
    at = checked_phase(ledger, phase, top, round)
    history: dict[int, list[float]] = defaultdict(list)  # of each class: its accuracies
    shown: dict[int, tuple[float, float | None, list[int]]] = {}  # accuracy, weight and members then
    for number, ids, accuracies, weights, others in ledger.sql.execute(
        "SELECT round, classes, accuracy, weight, members FROM neighbourhoods WHERE phase = ? ORDER BY round",
        (at.id,),
    ):
        classes: list[int] = np.frombuffer(ids, "<i4").tolist()
        accuracy = np.frombuffer(accuracies, "<f4").tolist()
        weight = [None] * len(classes) if weights is None else np.frombuffer(weights, "<f4").tolist()
        members = np.frombuffer(others, "<i4").reshape(len(classes), -1).tolist()
        for c, value in zip(classes, accuracy, strict=True):
            history[c].append(value)
        if round is None or number == round:
            shown |= dict(zip(classes, zip(accuracy, weight, members, strict=True), strict=True))

    mean = {c: sum(history[c]) / len(history[c]) for c in shown}
    names, drawn = class_names(ledger, at), _drawn_around(ledger, at)
    order = mean if round is None else {c: accuracy for c, (accuracy, *_) in shown.items()}
    result = []
    for c in sorted(shown, key=lambda c: (order[c], names[c]))[:top]:
        (last, weight_then, around), (times, trained) = shown[c], drawn.get(c, (0, None))
        result.append(
            HardNeighbourhood(
                names[c], tuple(names[m] for m in around), history[c][0], last, mean[c], times, trained,
                weight_then, tuple(history[c]),
            )
        )  # fmt: skip
    return result


def tasks_come_back(tasks: Sequence[HardTask], neighbourhoods: Sequence[HardNeighbourhood]) -> bool:
    """False where neighbourhoods say more than sets of classes, of which hardly one comes twice."""
    return not neighbourhoods or any(t.weight is not None or t.verdict for t in tasks)


def _drawn_around(ledger: Ledger, at: Phase) -> dict[int, tuple[int, float]]:
    """Episodes of training drawn around each class, and their mean accuracy."""
    rows = ledger.sql.execute(
        "SELECT class, drawn, total / drawn FROM neighbourhood_total WHERE phase = ?", (at.id,)
    )
    return {c: (times, accuracy) for c, times, accuracy in rows}
