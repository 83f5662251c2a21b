"""Which classes a round looks at, and what it keeps of them: all of them each time, or by turns where there
are thousands.

Features of ten images of each of 21,000 classes are 210,000 passes of the backbone, as many as a hundred
steps of training take. So from `LARGE` classes on, the first round looks at all of them, and every later one
at the next `PART` in a fixed random order; of the others the features that were seen last count. That is
sound as far as the backbone is fixed or slow, which scaling and shifting are.
"""

from typing import Any

import torch
from torch import Tensor

from mtl.runtime.seeds import generator

LARGE = 5000  # more classes are looked at by turns
PART = 512


class ClassSurvey:
    """The classes of a round, and the features of all classes.

    Args:
        classes: C.
        seed: of the order in which they take turns.
    """

    def __init__(self, classes: int, seed: int) -> None:
        self.classes = classes
        self.turns = classes > LARGE
        self.rounds = 0  # that took features
        self._order = torch.randperm(classes, generator=generator(seed, "survey order"))
        self._table = torch.empty(0, 0, 0, dtype=torch.float16)  # (C, L, D), only where classes take turns

    def next(self) -> Tensor:
        """(R,) int64: the classes that the next round looks at."""
        if not self.turns or not self.rounds:
            return torch.arange(self.classes)
        places = torch.arange((self.rounds - 1) * PART, self.rounds * PART) % self.classes
        return self._order[places].sort().values

    def take(self, features: Tensor) -> Tensor:
        """The features (C, L, D) of all classes, once those (R, L, D) of the classes of `next` are known."""
        rows = self.next()
        self.rounds += 1
        if not self.turns:
            return features
        if len(rows) == self.classes:
            self._table = features.half()
        else:
            self._table[rows] = features.half()
        return self._table

    def state_dict(self) -> dict[str, Any]:
        return {"rounds": self.rounds, "table": self._table}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rounds, self._table = state["rounds"], state["table"]
