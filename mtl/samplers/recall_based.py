"""Hard classes by what is believed of their recall.

A Beta posterior of each class's recall, whose older answers fade; the classes of a task are those with the
lowest of one draw out of each posterior (Thompson, Biometrika 1933), or are drawn by the softmax of their
errors. Thompson sampling looks at the classes that it knows little of by itself.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.config.hard_tasks import LearningProgress, Posterior
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.samplers.mixed import MixedSampler
from mtl.samplers.recall_posterior import RecallPosterior, draw_by_logs, log_softmax, with_floor
from mtl.samplers.weighted_draw import UnitDraw


class PosteriorSampler(MixedSampler):
    """w = (1 − λ) softmax((1 − E[recall]) / temperature) + λ/C, or the N lowest recalls of a posterior draw.

    Args: as of MixedSampler; of the options `draw`, `forget`, and for softmax `temperature` and `floor`.
    """

    options: Posterior

    def prepare(self) -> None:
        self.recalls = self.remember("recalls", RecallPosterior(len(self.index), self.options.forget))

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        if self.options.draw == "thompson":
            lowest = self.recalls.sample(random).argsort(kind="stable")[: self.shape.way]
            return torch.from_numpy(lowest[torch.randperm(self.shape.way, generator=random).numpy()])
        return draw_by_logs(self.log_weights(), self.shape.way, random)

    def log_weights(self) -> NDArray[np.float64]:
        """(C,) logarithms of the weights of softmax draws."""
        return log_softmax(1 - self.recalls.mean(), self.options.temperature, self.options.floor)

    def class_weights(self) -> Tensor:
        """Those of softmax draws, for either: how hard each class is believed to be."""
        return torch.from_numpy(np.exp(self.log_weights()))

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        self.recalls.add(batch, outcome)


class LearningProgressSampler(MixedSampler):
    """w = (1 − λ) g / Σ g + λ/C, where g = |fast estimate − slow estimate| of the class's recall.

    The two differ in how much of older answers they keep: `forget` and `slow`. Both are plain shares: a prior
    would pull them by different amounts and so show a gain where nothing moves.

    Args: as of MixedSampler; of the options `forget`, `slow`, `floor`.
    """

    options: LearningProgress

    def prepare(self) -> None:
        self.fast = self.remember("fast", RecallPosterior(len(self.index), self.options.forget))
        self.slow = self.remember("slow", RecallPosterior(len(self.index), self.options.slow))

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        return UnitDraw(self.class_weights()).draw(self.shape.way, random)

    def class_weights(self) -> Tensor:
        gain = np.abs(self.fast.share() - self.slow.share())
        return with_floor(torch.from_numpy(gain), max(self.options.floor, 1e-6))

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        self.fast.add(batch, outcome)
        self.slow.add(batch, outcome)
