"""Hard tasks drawn as AdaBoost draws its training examples.

The weak learner of round r is the network as it stands then; that of round 0 is the pretrained backbone. A
round is a meta-test of a pool of tasks, after which the units that were answered wrongly weigh more.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mtl.config.hard_tasks import Boosted
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.episode import EpisodeBatch, Outcome, Round
from mtl.runtime.seeds import derive_seed, generator
from mtl.samplers.boosting import BoostRule, boost
from mtl.samplers.mixed import MixedSampler
from mtl.samplers.units import units_of

META_TEST = "meta-test"


class BoostedSampler(MixedSampler):
    """Hard episodes drawn by AdaBoost's weights over tasks, classes or pairs of classes.

    Args: as of MixedSampler; of the options `every` and all from `unit` to `fresh`.
    """

    options: Boosted

    def prepare(self) -> None:
        options = self.options
        way = 2 if options.unit == "pair" else self.shape.way  # a pair's error is that of a two-way task
        self.rule = BoostRule.of(options, way)
        seed = derive_seed(self.seed, META_TEST)
        self.pools = CategoriesSampler.of(self.index, self.shape, seed, origin=META_TEST)
        self.fixed = self.pools.draw(options.pool) if options.unit == "task" else None
        self.units = units_of(options.unit, len(self.index), self.fixed)
        self.weights = torch.full((len(self.units),), 1 / len(self.units), dtype=torch.float64)

    def request(self, step: int) -> EpisodeBatch | None:
        """Every `every` steps: new uniform tasks; where tasks carry the weights, those, with fresh images."""
        if step % self.schedule.every:
            return None
        if self.fixed is None:
            return self.pools.draw(self.options.pool)
        images = [
            self._images(c, u, generator(self.seed, META_TEST, self.rounds, u))
            for u, c in enumerate(self.fixed.classes)
        ]
        return EpisodeBatch.of(self.fixed.classes, torch.stack(images), self.shape.shot, META_TEST)

    def receive(self, request: EpisodeBatch | Tensor, measured: Outcome | Tensor) -> Round:
        """One round of boosting by the meta-test of a pool."""
        assert isinstance(request, EpisodeBatch)
        assert isinstance(measured, Outcome)
        errors, visited = self.units.errors(request, measured)
        step = boost(self.weights, errors, visited, self.rule)
        self.weights = step.weights
        self.units.set_weights(self.weights)
        self.rounds += 1
        return Round(
            self.rounds - 1,
            self.options.unit,
            len(request),
            float(measured.accuracy.mean()),
            self.schedule.share_at(self.drawn),
            step.epsilon,
            step.alpha,
            self.weights,
            self.units.members,
        )

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        """Training episodes move no weight."""

    def ready(self) -> bool:
        return self.rounds > 0

    def chosen(self, number: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        unit, classes = self.units.draw(self.shape.way, random)
        return classes, self._images(classes, unit, random)

    def _images(self, classes: Tensor, unit: int | None, random: torch.Generator) -> Tensor:
        """(N, K+Q): fresh ones, or those that the task of the pool had at first."""
        if self.options.fresh or self.fixed is None or unit is None:
            return self.index.draw_episode(classes, self.shape.shot, self.shape.queries, random)
        return torch.cat([self.fixed.support[unit], self.fixed.query[unit]], -1)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "weights": self.weights, "pools": self.pools.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.weights = state["weights"]
        self.pools.load_state_dict(state["pools"])
        self.units.set_weights(self.weights)
