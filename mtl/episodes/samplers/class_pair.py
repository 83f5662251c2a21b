"""Tasks of classes that get confused, by potentials of their pairs.

Liu et al., "Adaptive Task Sampling for Meta-Learning", ECCV 2020: greedy class-pair sampling. Every training
task updates the potentials of its pairs; `boosted` with the unit `pair` differs by its rounds of meta-tests,
and by a weight of the round that depends on how well the learner does.
"""

import torch
from torch import Tensor

from mtl.episodes.samplers.mixed import MixedSampler
from mtl.episodes.types import EpisodeBatch, Outcome
from mtl.hard_tasks.potentials import PairPotentials


class ClassPairSampler(MixedSampler):
    """P_ij ← P_ij^τ · exp(α · p_ij); a pair by its P, then each class by the product of its P with them.

    Args: as of MixedSampler; of the config `rate`, α, and `forget`, τ.
    """

    def prepare(self) -> None:
        self.potentials = self.remember(
            "potentials", PairPotentials(len(self.index), self.config.rate, self.config.forget)
        )

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        return self.potentials.draw(self.way, random)

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        for classes, confusion in zip(batch.classes, outcome.confusion, strict=True):
            self.potentials.update(classes, confusion)

    def class_weights(self) -> Tensor:
        return self.potentials.class_weights()
