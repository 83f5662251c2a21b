"""Episodes of several image sets: each meta-batch from one of them, drawn by that set's sampler.

Classes of different sets are told apart at a glance, so that a task across sets teaches little (Triantafillou
et al., Meta-Dataset, ICLR 2020, draws each episode from one set as well).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from mtl.config.hard_tasks import Boosting
from mtl.episodes.episode import EpisodeBatch, Outcome, Round, TaskSampler
from mtl.runtime.seeds import generator
from mtl.samplers.boosting import boost

Choice = Literal["uniform", "size", "boosted"]


@dataclass(frozen=True)
class Part:
    """One set: the sampler of its classes, which counts them from 0, and its place in the whole."""

    sampler: TaskSampler
    classes: Tensor  # (C',) int64: the class of the whole that its class i is
    images: int

    def in_whole(self, batch: EpisodeBatch) -> EpisodeBatch:
        """Its episodes, with the classes numbered as in the whole."""
        return replace(batch, classes=self.classes[batch.classes])

    def in_part(self, batch: EpisodeBatch) -> EpisodeBatch:
        """The inverse of `in_whole`."""
        return replace(batch, classes=torch.searchsorted(self.classes, batch.classes))


class SeveralSetsSampler(TaskSampler):
    """Chooses a set for each meta-batch, and leaves all else to the set's sampler.

    With `choice` uniform every set is equally likely, with size in proportion to its images. With boosted
    the sets carry weights as tasks do in AdaBoost: after every `every` meta-batches those with the larger
    mean error gain (`mtl.samplers.boosting.boost`); one that was the only one drawn is compared with none.

    Which set a meta-batch is from follows from the seed, its number and the weights alone. Episodes and
    rounds of all sets are counted through, so that a share which climbs and falls does so with the whole
    training. What is measured before a step is what the set whose turn it is requests, by the number of its
    meta-batches.

    Args:
        parts: the sets.
        choice: as above.
        rule: the constants of the boosting.
        every: meta-batches from one update of the sets' weights to the next.
        seed: of the choice.

    Raises:
        ValueError: no set, a set without images, or `every` below 1.
    """

    state = (*TaskSampler.state, "weights", "errors", "steps", "batches", "rounds")

    def __init__(self, parts: Sequence[Part], choice: Choice, rule: Boosting, every: int, seed: int) -> None:
        sizes = torch.tensor([part.images for part in parts], dtype=torch.float64)
        if not len(sizes) or sizes.min() < 1 or every < 1:
            raise ValueError(f"sets of {sizes.tolist()} images, every = {every}: all must be at least 1")
        super().__init__(parts[0].sampler.shape)
        self.parts, self.choice, self.rule, self.every, self.seed = list(parts), choice, rule, every, seed
        equal = torch.full_like(sizes, 1 / len(parts))
        self.weights = sizes / sizes.sum() if choice == "size" else equal  # (S,)
        self.errors = torch.zeros(2, len(parts), dtype=torch.float64)  # sums; tasks
        self.batches, self.rounds = 0, 0  # of all sets
        self.steps = [0] * len(parts)  # meta-batches drawn of each set
        self.has_task_weights = any(part.sampler.has_task_weights for part in self.parts)

    @property
    def turn(self) -> int:
        """The set that the next meta-batch is from."""
        random = generator(self.seed, "turn", self.batches)
        return int(torch.multinomial(self.weights, 1, generator=random))

    def _now(self) -> tuple[int, Part]:
        """The set whose turn it is, its sampler brought up to where the whole training is."""
        turn = self.turn
        self.parts[turn].sampler.drawn = self.drawn
        return turn, self.parts[turn]

    def request(self, step: int) -> EpisodeBatch | Tensor | None:
        turn, part = self._now()
        wanted = part.sampler.request(self.steps[turn])
        return part.in_whole(wanted) if isinstance(wanted, EpisodeBatch) else wanted

    def receive(self, request: EpisodeBatch | Tensor, measured: Outcome | Tensor) -> Round | None:
        _, part = self._now()
        wanted = part.in_part(request) if isinstance(request, EpisodeBatch) else request
        return self._numbered(part, part.sampler.receive(wanted, measured))

    def draw(self, tasks: int) -> EpisodeBatch:
        _, part = self._now()
        batch = part.sampler.draw(tasks)
        self.drawn = part.sampler.drawn
        return part.in_whole(batch)

    def task_weights(self, losses: Tensor) -> Tensor:
        return self._now()[1].sampler.task_weights(losses)

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> Round | None:
        """Hands the outcome to the set that was drawn, and ends its turn.

        Where a round of the set and an update of the sets' weights fall on one meta-batch, the set's is
        returned.
        """
        turn, part = self._now()
        ended = part.sampler.update(part.in_part(batch), outcome)
        self.errors, self.steps = self.errors.clone(), list(self.steps)  # a state is not changed in place
        self.errors[0, turn] += float((1 - outcome.accuracy.double()).sum())
        self.errors[1, turn] += len(batch)
        self.steps[turn] += 1
        self.batches += 1
        if self.choice == "boosted" and self.batches % self.every == 0:
            boosted = self._boost()
            ended = boosted if ended is None else ended
        return self._numbered(part, ended)

    def _numbered(self, part: Part, ended: Round | None) -> Round | None:
        """A round of a set as the next one of the whole, the classes of its units numbered as there."""
        if ended is None:
            return None
        self.rounds += 1
        members, around = ended.members, ended.neighbourhoods
        if around is not None:
            in_whole = part.classes[around.classes], part.classes[around.members]
            around = replace(around, classes=in_whole[0], members=in_whole[1])
        return replace(
            ended,
            number=self.rounds,
            members=None if members is None else lambda units: part.classes[members(units)],
            neighbourhoods=around,
        )

    def _boost(self) -> Round:
        total, count = self.errors
        step = boost(self.weights, total / count.clamp_min(1), count > 0, self.rule, self.shape.way)
        accuracy = 1 - float(total.sum() / count.sum())
        self.weights, self.errors = step.weights, torch.zeros_like(self.errors)
        return Round(0, "set", int(count.sum()), accuracy, 1.0, step.epsilon, step.alpha)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "parts": [part.sampler.state_dict() for part in self.parts]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        for part, its_state in zip(self.parts, state["parts"], strict=True):
            part.sampler.load_state_dict(its_state)
