"""What most samplers are: uniform episodes, and among them a share of chosen ones."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape, Outcome, Round, TaskSampler
from mtl.runtime.seeds import generator


@dataclass(frozen=True)
class Schedule:
    """Which share of the episodes is chosen, and how long a round is."""

    share: float  # ρ when fully warmed up
    warm_up: float  # share of the episodes in which ρ climbs from 0
    fade: float  # share of the episodes at the end in which ρ falls to 0
    every: int  # steps from one round to the next
    episodes: int  # of the training of one learner
    learners: int = 1  # trained one after the other; the schedule of each begins anew

    def share_at(self, number: int) -> float:
        """ρ for episode `number`."""
        before = min(number // self.episodes, self.learners - 1)
        progress = number / self.episodes - before
        climb = min(1.0, progress / self.warm_up) if self.warm_up else 1.0
        fall = min(1.0, (1 - progress) / self.fade) if self.fade else 1.0
        return self.share * climb * max(0.0, fall)


class MixedSampler(TaskSampler):
    """A share ρ of chosen episodes; a subclass chooses their classes, and learns from outcomes.

    ρ climbs from 0 over the first `warm_up` of the episodes and falls to 0 over the last `fade` of them,
    since the test distribution is uniform. Chosen episodes get fresh images, as uniform ones do.

    Args:
        index: the images to draw from.
        options: the sampler's section of `hard_tasks`.
        shape: of an episode.
        seed: of the stream of episodes; the uniform ones are those of CategoriesSampler.
        schedule: of the share ρ, and of rounds.
    """

    options: Any
    state = (*TaskSampler.state, "rounds", "batches", "tasks", "correct")
    reason = "hard"  # why a chosen episode was drawn, in the ledger's words

    def __init__(
        self, index: ClassIndex, options: Any, shape: EpisodeShape, seed: int, schedule: Schedule
    ) -> None:
        super().__init__(shape)
        self.index, self.options, self.seed, self.schedule = index, options, seed, schedule
        self.uniform = CategoriesSampler.of(index, shape, seed)
        self.rounds = 0
        self.batches, self.tasks, self.correct = 0, 0, 0.0  # since the last round; correct: sum of accuracies
        self.prepare()

    def prepare(self) -> None:
        """Sets up what a subclass has besides."""

    def episode(self, number: int) -> tuple[str, Tensor, Tensor]:
        random = generator(self.seed, "hard", number)
        if not self.ready() or float(torch.rand((), generator=random)) >= self.schedule.share_at(number):
            return self.uniform.episode(number)
        return self.reason, *self.chosen(number, random)

    def chosen(self, number: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Classes (N,) and images (N, K+Q) of a chosen episode."""
        classes = self.choose(number, random)
        return classes, self.index.draw_episode(classes, self.shape.shot, self.shape.queries, random)

    def ready(self) -> bool:
        """True if enough is known to choose."""
        return True

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        """Classes (N,) of a chosen episode."""
        raise NotImplementedError

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        """Takes in how a meta-batch went."""

    def class_weights(self) -> Tensor | None:
        """(C,) float64, sum 1: how likely each class is to be chosen; None where classes have no weights."""
        return None

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> Round | None:
        """Learns from a meta-batch; every `every` of them a round ends, which changes nothing by itself."""
        self.learn(batch, outcome)
        self.batches += 1
        self.tasks += len(batch)
        self.correct += float(outcome.accuracy.sum())
        if self.batches < self.schedule.every:
            return None
        self.rounds += 1
        weights = self.class_weights()
        ended = Round(
            self.rounds,
            "class",
            self.tasks,
            self.correct / self.tasks,
            self.schedule.share_at(self.drawn),
            weights=weights,
            members=None if weights is None else lambda units: units[:, None],
        )
        self.batches, self.tasks, self.correct = 0, 0, 0.0
        return ended
