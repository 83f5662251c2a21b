"""Tasks whose classes are wide and near each other.

The inverse Fisher discriminant ratio of an episode, and sampling at the level of classes by it, from
"Understanding Episode Hardness in Few-Shot Learning" (IEEE TPAMI): tasks are hard where the scatter within
classes is large against the distance between them. Their scheme ranks the tasks that an anchor class makes
with many sets of others and draws one of the hardest 40 %; here whole tasks are the candidates.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtl.episodes.samplers.candidates import draw_candidates, draw_ranked
from mtl.episodes.samplers.surveyed import SurveyedSampler


class FisherSampler(SurveyedSampler):
    """One of the hardest `part` of uniform candidates, by (mean of s_i) / (mean of ‖μ_i − μ_j‖², i ≠ j).

    μ_i is a class's centre and s_i the mean squared distance of its images to it, with n − 1.

    Args: as of SurveyedSampler; of the config `candidates`, `part`.
    """

    def prepare(self) -> None:
        super().prepare()
        self.centres, self.scatter = torch.empty(0), torch.empty(0)  # (C, D), (C,)

    def look(self, features: Tensor) -> None:
        self.centres = features.mean(1)
        self.scatter = features.var(1).sum(-1)

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        candidates = draw_candidates(self.index, self.config.candidates, self.way, random)
        return draw_ranked(candidates, self.ratio(candidates), 1 - self.config.part, 1.0, random)

    def ratio(self, tasks: Tensor) -> Tensor:
        """(M,) the inverse Fisher ratio of the class sets (M, N)."""
        between = torch.cdist(self.centres[tasks], self.centres[tasks]).square().sum((1, 2))
        pairs = tasks.shape[1] * (tasks.shape[1] - 1)
        return self.scatter[tasks].mean(1) / (between / pairs).clamp_min(torch.finfo(between.dtype).tiny)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "centres": self.centres, "scatter": self.scatter}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.centres, self.scatter = state["centres"], state["scatter"]
