"""Boosting weights of pairs where there are too many classes for one of each pair: 21,000 make 220 million.

A class keeps the weights of its heaviest pairs, and all its other pairs share one, their mean. Rows of
classes are boosted on their own, with their share of the total mass. If every row is boosted at once and each
keeps all its pairs, this is the rule over all pairs, each of which then stands in the rows of both classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mtl.config.hard_tasks import Boosting
from mtl.samplers.boosting import BoostStep, boost

KEPT = 64  # pairs of a class with a weight of their own


class PartnerWeights:
    """Weights of pairs by rows, sum 1: C · (kept + 1) numbers for the C (C - 1) places of the table.

    Args:
        classes: C.
        kept: partners of a class whose weights are kept.
    """

    def __init__(self, classes: int, kept: int) -> None:
        kept, each = min(kept, classes - 1), 1 / (classes * (classes - 1))
        self.classes = classes
        self.partners = torch.arange(1, kept + 1).expand(classes, -1).clone()  # (C, kept), heaviest first
        self.partners[self.partners <= torch.arange(classes)[:, None]] -= 1  # no class is its own partner
        self.weights = torch.full((classes, kept), each, dtype=torch.float64)
        self.rest = torch.full((classes,), each, dtype=torch.float64)  # of each other pair

    def table(self, rows: Tensor) -> Tensor:
        """(R, C) float64: the weights of the pairs of classes `rows`; 0 with themselves."""
        table = self.rest[rows, None].repeat(1, self.classes)
        table.scatter_(1, self.partners[rows], self.weights[rows])
        return table.scatter_(1, rows[:, None], 0.0)

    def update(
        self, rows: Tensor, errors: Callable[[Tensor], Tensor], rule: Boosting, at_once: int
    ) -> tuple[float, float]:
        """One round of boosting of rows (R,), `at_once` of them at a time; ε and α, means over the rows.

        `errors` gives those of the pairs (n, C) of some classes (n,).
        """
        epsilon, alpha = 0.0, 0.0
        for part in torch.split(rows, at_once):
            step = self._update(part, errors(part), rule)
            epsilon += step.epsilon * len(part) / len(rows)
            alpha += step.alpha * len(part) / len(rows)
        return epsilon, alpha

    def _update(self, rows: Tensor, errors: Tensor, rule: Boosting) -> BoostStep:
        others = torch.ones(len(rows), self.classes, dtype=torch.bool).scatter_(1, rows[:, None], False)
        before = self.table(rows)[others]
        mass = before.sum()
        step = boost(before / mass, errors[others], torch.ones(len(before), dtype=torch.bool), rule, way=2)
        after = torch.full(others.shape, -1.0, dtype=torch.float64)
        heaviest = after.masked_scatter_(others, step.weights * mass).topk(self.partners.shape[1], 1)
        self.partners[rows], self.weights[rows] = heaviest.indices, heaviest.values
        rest = after.scatter_(1, rows[:, None], 0.0).scatter_(1, heaviest.indices, 0.0).sum(1)
        self.rest[rows] = rest / max(self.classes - 1 - heaviest.values.shape[1], 1)
        return step

    def heaviest(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (n,) and classes (n, 2) of the pairs that the rows keep, each pair once.

        A pair weighs twice as much as its place in a row, as it has one in two rows.
        """
        partners = self.partners[rows]
        one, other = rows[:, None].expand_as(partners), partners
        keys = torch.minimum(one, other) * self.classes + torch.maximum(one, other)
        keys, place = torch.unique(keys, return_inverse=True)
        weights = torch.zeros(len(keys), dtype=torch.float64)
        weights.scatter_reduce_(0, place.flatten(), self.weights[rows].flatten(), "amax")
        return 2 * weights, torch.stack([keys // self.classes, keys % self.classes], 1)

    def state_dict(self) -> dict[str, Tensor]:
        return {"partners": self.partners, "weights": self.weights, "rest": self.rest}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.partners, self.weights, self.rest = state["partners"], state["weights"], state["rest"]
