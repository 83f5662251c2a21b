"""Hard classes by what is believed of their recall.

A Beta posterior of each class's recall, whose older answers fade; the classes of a task are those with the
lowest of one draw out of each posterior (Thompson, Biometrika 1933), or are drawn by the softmax of their
errors. Thompson sampling looks at the classes that it knows little of by itself.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.episodes.samplers.mixed import MixedSampler
from mtl.episodes.types import EpisodeBatch, Outcome
from mtl.hard_tasks.recalls import RecallPosterior, draw_by_logs, log_softmax


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
        return draw_by_logs(self.log_weights(), self.way, random)

    def log_weights(self) -> NDArray[np.float64]:
        """(C,) logarithms of the weights of softmax draws."""
        return log_softmax(1 - self.recalls.mean(), self.config.temperature, self.config.floor)

    def class_weights(self) -> Tensor:
        """Those of softmax draws, for either: how hard each class is believed to be."""
        return torch.from_numpy(np.exp(self.log_weights()))

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        self.recalls.add(batch, outcome)
