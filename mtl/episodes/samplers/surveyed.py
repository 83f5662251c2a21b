"""What samplers share that look at the features of the classes every so often."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtl.episodes.samplers.mixed import MixedSampler
from mtl.runtime.seeds import generator


class SurveyedSampler(MixedSampler):
    """Asks every `every` steps for the features of `look` images of each class, other ones each time.

    Args: as of MixedSampler; of the config `every`, `look`.
    """

    def prepare(self) -> None:
        self.surveys = 0

    def survey(self, step: int) -> Tensor | None:
        """(C · images,): those of class 0 first. A class with fewer images than `look` limits them all."""
        if step % self.config.every:
            return None
        per_class = min(self.config.look, int(self.index.counts.min()))
        return self.looked_at(per_class, generator(self.seed, "survey", self.surveys)).flatten()

    def looked_at(self, per_class: int, random: torch.Generator) -> Tensor:
        """(C, images) of every class, `per_class` or fewer."""
        return self.index.draw_images(torch.arange(len(self.index)), per_class, random)

    def take_survey(self, features: Tensor) -> None:
        self.surveys += 1
        self.look(features.float().cpu().view(len(self.index), -1, features.shape[-1]))

    def look(self, features: Tensor) -> None:
        """Takes in the features (C, images, D)."""
        raise NotImplementedError

    def ready(self) -> bool:
        return self.surveys > 0

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "surveys": self.surveys}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.surveys = int(state["surveys"])
