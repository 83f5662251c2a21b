"""AdaBoost's weights of images: which of its class's images a task asks about."""

import torch
from torch import Tensor

from mtl.config.hard_tasks import Boosting
from mtl.episodes.class_index import ClassIndex
from mtl.samplers.boosting import boost

_TINY = torch.finfo(torch.float64).tiny


class ImageWeights:
    """A weight of every image that episodes may use; queries are drawn by it, support images uniformly.

    Args:
        index: the images; without groups.
    """

    def __init__(self, index: ClassIndex) -> None:
        self.index = index
        self.valid = index.members >= 0  # (C, most images of a class)
        self.weights = self.valid.double() / int(self.valid.sum())  # (C, most images of a class), sum 1
        self.place = torch.zeros(int(index.members.max()) + 1, dtype=torch.int64)  # of an image in its class
        rows, columns = self.valid.nonzero(as_tuple=True)
        self.place[index.members[rows, columns]] = columns

    def update(self, images: Tensor, errors: Tensor, rule: Boosting, rows: Tensor) -> None:
        """One round of boosting by the errors (R, L) of L images (R, L) of each of the classes (R,)."""
        place = self.place[images]
        visited, measured = torch.zeros_like(self.valid), torch.zeros_like(self.weights)
        visited[rows] = visited[rows].scatter_(1, place, True)
        measured[rows] = measured[rows].scatter_(1, place, errors)
        step = boost(self.weights[self.valid], measured[self.valid], visited[self.valid], rule, way=2)
        self.weights = torch.zeros_like(self.weights).masked_scatter_(self.valid, step.weights)

    def draw(self, classes: Tensor, shot: int, queries: int, random: torch.Generator) -> Tensor:
        """(N, K+Q) distinct images of each class (N,): K drawn uniformly, then Q of the others by weight."""
        valid = self.valid[classes]
        log_weights = self.weights[classes].clamp_min(_TINY).log()  # 0 is last among the images
        support = torch.rand(valid.shape, generator=random).masked_fill(~valid, -1.0).topk(shot).indices
        uniform = torch.rand(valid.shape, dtype=torch.float64, generator=random).clamp_min(_TINY)
        keys = log_weights - (-uniform.log()).log()  # Gumbel top-k
        query = keys.masked_fill(~valid, -torch.inf).scatter(1, support, -torch.inf).topk(queries).indices
        return self.index.members[classes[:, None], torch.cat([support, query], 1)]

    def state_dict(self) -> dict[str, Tensor]:
        return {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.weights = state["weights"]
