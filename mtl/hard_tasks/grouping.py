"""When groups of classes can stand for the classes."""

from collections.abc import Collection

from mtl.hard_tasks.ledger import Ledger, Phase
from mtl.hard_tasks.views import class_groups


def whole_groups(
    ledger: Ledger, at: Phase, classes: Collection[int], most: int, fewest: int = 2
) -> dict[int, str] | None:
    """The group of each class; None unless each is in one and there are `fewest` to `most` groups."""
    groups = class_groups(ledger, at)
    of_class = {c: group for c in classes if (group := groups.get(c))}
    whole = set(classes) <= of_class.keys() and fewest <= len(set(of_class.values())) <= most
    return of_class if whole else None
