"""Tasks whose classes all come from one group: an alphabet, a superclass, a script.

Lake et al. (Science 2015) test one-shot classification within an alphabet, which is harder than across all of
them; training tasks of the same kind ask for the differences that matter there.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mtl.config.hard_tasks import WithinGroup
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape, Outcome
from mtl.samplers.mixed import MixedSampler, Schedule
from mtl.samplers.recall_posterior import RecallPosterior, draw_by_logs, log_softmax
from mtl.samplers.weighted_draw import UnitDraw


class WithinGroupSampler(MixedSampler):
    """A group in proportion to its classes, and N of its classes.

    They are drawn uniformly, or (`within: hard`) by softmax((1 − E[recall]) / temperature) over the group.
    A group with fewer than N classes gives them all, and a further group the rest.

    Args: as of MixedSampler, with the `groups`; of the options `within`, `temperature`, `forget`.
    """

    options: WithinGroup

    def __init__(
        self,
        index: ClassIndex,
        options: WithinGroup,
        shape: EpisodeShape,
        seed: int,
        schedule: Schedule,
        groups: Sequence[str],
    ) -> None:
        self.groups = groups
        super().__init__(index, options, shape, seed, schedule)

    def prepare(self) -> None:
        self.recalls = self.remember("recalls", RecallPosterior(len(self.index), self.options.forget))
        names = np.array(self.groups)
        self.members = [torch.from_numpy((names == name).nonzero()[0]) for name in sorted(set(self.groups))]
        self.sizes = torch.tensor([len(m) for m in self.members], dtype=torch.float64)

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        order = UnitDraw(self.sizes).draw(len(self.members), random)  # one group, and more where it is small
        chosen: list[Tensor] = []
        missing = self.shape.way
        for group in order.tolist():
            chosen.append(self.draw_from(self.members[group], missing, random))
            missing -= len(chosen[-1])
            if not missing:
                break
        return torch.cat(chosen)

    def draw_from(self, members: Tensor, count: int, random: torch.Generator) -> Tensor:
        """Up to `count` different ones of the classes `members`."""
        count = min(count, len(members))
        if self.options.within == "uniform":
            return members[torch.randperm(len(members), generator=random)[:count]]
        error = 1 - self.recalls.mean()[members.numpy()]
        return members[draw_by_logs(log_softmax(error, self.options.temperature), count, random)]

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        self.recalls.add(batch, outcome)
