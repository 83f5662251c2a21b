"""Tasks of classes that look alike: a random class and some of its nearest ones.

The nearest by the cosine of the class centres, which are taken anew every so often, since the network moves.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.episodes.samplers.surveyed import SurveyedSampler


class NeighboursSampler(SurveyedSampler):
    """A class drawn uniformly and N − 1 of its M nearest classes, every set of them equally likely.

    Args: as of SurveyedSampler; of the config `neighbours`, M: at least N − 1, at most all others; 3 N where
    it is None.
    """

    def prepare(self) -> None:
        super().prepare()
        self.nearest = torch.empty(0, dtype=torch.int64)  # (C, M)

    def look(self, features: Tensor) -> None:
        centres = F.normalize(features.mean(1), dim=-1)
        wanted = self.config.neighbours or 3 * self.way
        count = min(max(wanted, self.way - 1), len(centres) - 1)
        rows = torch.split(torch.arange(len(centres)), 1024)  # thousands of classes: a part at a time
        self.nearest = torch.cat([_nearest(centres, part, count) for part in rows])

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        first = int(torch.randint(len(self.index), (), generator=random))
        others = torch.randperm(self.nearest.shape[1], generator=random)[: self.way - 1]
        return torch.cat([torch.tensor([first]), self.nearest[first, others]])

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "nearest": self.nearest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.nearest = state["nearest"]


def _nearest(centres: Tensor, rows: Tensor, count: int) -> Tensor:
    """(R, count) int64: the classes with the highest cosine to each of `rows` (R,), itself left out."""
    cosine = centres[rows] @ centres.T
    cosine[torch.arange(len(rows)), rows] = -torch.inf
    return cosine.topk(count).indices
