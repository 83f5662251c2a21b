"""Easy tasks first.

Self-paced learning (Kumar, Packer and Koller, NeurIPS 2010) trains on what has a small loss and lets the
limit grow until all is in. Here the limit is a quantile of difficulty over tasks, and the difficulty of a
task is foretold from what is believed of the recalls of its classes, so that nothing is solved in vain.
"""

import torch
from torch import Tensor

from mtl.episodes.samplers.candidates import draw_candidates, draw_ranked
from mtl.episodes.samplers.mixed import MixedSampler
from mtl.episodes.types import EpisodeBatch, Outcome
from mtl.hard_tasks.recalls import RecallPosterior


class SelfPacedSampler(MixedSampler):
    """Tasks out of a window of difficulty that depends on the progress p of the training.

    `pace: grow` draws from the easiest share part + (1 − part) p of all tasks; `pace: move` goes on to the
    hardest: from p (1 − part) to p (1 − part) + part.

    Args: as of MixedSampler; of the config `candidates`, `part`, `pace`, `forget`.
    """

    reason = "paced"

    def prepare(self) -> None:
        self.recalls = self.remember("recalls", RecallPosterior(len(self.index), self.config.forget))

    def window(self, number: int) -> tuple[float, float]:
        """Quantiles of difficulty between which episode `number` is drawn."""
        part, progress = self.config.part, min(1.0, number / self.episodes)
        shift = (1 - part) * progress
        return (shift if self.config.pace == "move" else 0.0), part + shift

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        candidates = draw_candidates(self.index, self.config.candidates, self.way, random)
        error = torch.from_numpy(1 - self.recalls.mean())
        return draw_ranked(candidates, error[candidates].mean(1), *self.window(number), random)

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        self.recalls.add(batch, outcome)
