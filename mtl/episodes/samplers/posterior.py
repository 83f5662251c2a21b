"""Hard classes by what is believed of their recall.

A Beta posterior of each class's recall, whose older answers fade; the classes of a task are those with the
lowest of one draw out of each posterior (Thompson, Biometrika 1933), or are drawn by the softmax of their
errors. Thompson sampling looks at the classes that it knows little of by itself.
"""

import torch
from torch import Tensor

from mtl.episodes.samplers.mixed import MixedSampler
from mtl.episodes.types import EpisodeBatch, Outcome
from mtl.hard_tasks.draws import UnitDraw
from mtl.hard_tasks.recalls import RecallPosterior, softmax_weights, with_floor


class PosteriorSampler(MixedSampler):
    """w = (1 − λ) softmax((1 − E[recall]) / temperature) + λ/C, or the N lowest recalls of a posterior draw.

    Args: as of MixedSampler; of the config `draw`, `forget`, and for softmax `temperature` and `floor`.
    """

    def prepare(self) -> None:
        self.recalls = self.remember("recalls", RecallPosterior(len(self.index), self.config.forget))

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        if self.config.draw == "thompson":
            lowest = self.recalls.sample(random).argsort(kind="stable")[: self.way]
            return torch.from_numpy(lowest[torch.randperm(self.way, generator=random).numpy()])
        return UnitDraw(self.softmax()).draw(self.way, random)

    def softmax(self) -> Tensor:
        """(C,) the weights of softmax draws."""
        weights = softmax_weights(1 - self.recalls.mean(), self.config.temperature)
        return with_floor(weights, self.config.floor)

    def class_weights(self) -> Tensor:
        """Those of softmax draws, for either: how hard each class is believed to be."""
        return self.softmax()

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        self.recalls.add(batch, outcome)
