"""Classes by how fast their recall changes, not by how low it is.

Teacher-student curriculum learning (Matiisen et al., IEEE TNNLS 2020): what is learned or forgotten now is
practised, what is mastered or hopeless is not. A class of wrong labels has a low recall for ever, and would
fill the tasks of every sampler that goes by the level.
"""

import numpy as np
import torch
from torch import Tensor

from mtl.episodes.samplers.mixed import MixedSampler
from mtl.episodes.types import EpisodeBatch, Outcome
from mtl.hard_tasks.draws import UnitDraw
from mtl.hard_tasks.recalls import RecallPosterior, with_floor


class LearningProgressSampler(MixedSampler):
    """w = (1 − λ) g / Σ g + λ/C, where g = |fast estimate − slow estimate| of the class's recall.

    The two differ in how much of older answers they keep: `forget` and `slow`. Both are plain shares: a prior
    would pull them by different amounts and so show a gain where nothing moves.

    Args: as of MixedSampler; of the config `forget`, `slow`, `floor`.
    """

    def prepare(self) -> None:
        self.fast = self.remember("fast", RecallPosterior(len(self.index), self.config.forget))
        self.slow = self.remember("slow", RecallPosterior(len(self.index), self.config.slow))

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        return UnitDraw(self.class_weights()).draw(self.way, random)

    def class_weights(self) -> Tensor:
        gain = np.abs(self.fast.share() - self.slow.share())
        return with_floor(torch.from_numpy(gain), max(self.config.floor, 1e-6))

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        self.fast.add(batch, outcome)
        self.slow.add(batch, outcome)
