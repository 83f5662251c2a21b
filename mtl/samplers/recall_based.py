"""Classes by what is believed of their recall: a posterior of it, or how fast it changes.

A Beta posterior of each class's recall, whose older answers fade. `posterior` takes the classes with the
lowest of one draw out of each (Thompson, Biometrika 1933), which explores the classes it knows little of by
itself, or draws them by the softmax of their errors. `learning_progress` goes by the change (Matiisen et al.,
"Teacher-Student Curriculum Learning", 2020). `within_group` keeps to an alphabet, a superclass or a script:
Lake et al. (Science 2015) test one-shot classification within an alphabet, which is harder than across all of
them. `self_paced` goes from easy to hard (Kumar et al., NeurIPS 2010).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtl.config.hard_tasks import LearningProgress, Posterior, SelfPaced, WithinGroup
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape, Outcome
from mtl.samplers.mixed import MixedSampler, Schedule
from mtl.samplers.weighted_draw import Floats, UnitDraw, draw_by_logs, draw_candidates, draw_ranked


class RecallPosterior:
    """A Beta posterior of the recall of each of C classes, with a uniform prior.

    At each visit of a class its older answers shrink by `keep`, since the learner has changed, and the new
    ones are added: right ← keep · right + r Q and wrong ← keep · wrong + (1 − r) Q for a recall of r over Q
    queries. In the long run it rests on Q / (1 − keep) answers. The lowest of five recalls over 15 queries
    names the hardest class in fewer than half of all tasks; estimates over many visits are sharper. Answers
    of one task count as independent, which they are not: the posterior is narrower than what is known, and
    draws from it explore less.

    Args:
        classes: C.
        keep: in [0, 1].
    """

    def __init__(self, classes: int, keep: float) -> None:
        self.keep = keep
        self.right: Floats = np.zeros(classes)
        self.wrong: Floats = np.zeros(classes)

    def add(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        """Takes in the recalls (T, N) of a meta-batch, one task after the other."""
        recall = outcome.recall.double().numpy() * batch.queries
        for classes, right in zip(batch.classes.numpy(), recall, strict=True):
            self.right[classes] = self.keep * self.right[classes] + right
            self.wrong[classes] = self.keep * self.wrong[classes] + batch.queries - right

    def mean(self) -> Floats:
        """(C,) the posterior mean of each recall; 1/2 for a class that was never drawn."""
        mean: Floats = (self.right + 1) / (self.right + self.wrong + 2)
        return mean

    def share(self) -> Floats:
        """(C,) the share of right answers without the prior; 0 for a class that was never drawn."""
        answers = self.right + self.wrong
        share: Floats = np.divide(self.right, answers, out=np.zeros_like(answers), where=answers > 0)
        return share

    def sample(self, random: torch.Generator) -> Floats:
        """(C,) one recall out of each posterior."""
        seed = int(torch.randint(2**62, (), generator=random))
        draw: Floats = np.random.default_rng(seed).beta(self.right + 1, self.wrong + 1)
        return draw

    def state_dict(self) -> dict[str, Any]:
        return {"right": torch.from_numpy(self.right.copy()), "wrong": torch.from_numpy(self.wrong.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.right, self.wrong = state["right"].numpy().copy(), state["wrong"].numpy().copy()


class RecallSampler(MixedSampler):
    """Follows the posterior of each class's recall."""

    options: Posterior | WithinGroup | SelfPaced
    state = (*MixedSampler.state, "recalls")

    def prepare(self) -> None:
        self.recalls = RecallPosterior(len(self.index), self.options.forget)

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        self.recalls.add(batch, outcome)


class PosteriorSampler(RecallSampler):
    """w = (1 − λ) softmax((1 − E[recall]) / temperature) + λ/C, or the N lowest of a posterior draw."""

    options: Posterior

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        if self.options.draw == "thompson":
            lowest = self.recalls.sample(random).argsort(kind="stable")[: self.shape.way]
            return torch.from_numpy(lowest[torch.randperm(self.shape.way, generator=random).numpy()])
        return draw_by_logs(self.log_weights(), self.shape.way, random)

    def log_weights(self) -> Floats:
        """(C,) logarithms of the weights of softmax draws."""
        return log_softmax(1 - self.recalls.mean(), self.options.temperature, self.options.floor)

    def class_weights(self) -> Tensor:
        """Those of softmax draws, for either: how hard each class is believed to be."""
        return torch.from_numpy(np.exp(self.log_weights()))


class LearningProgressSampler(MixedSampler):
    """w = (1 − λ) g / Σ g + λ/C, where g = |fast estimate − slow estimate| of the class's recall.

    The two differ in how much of older answers they keep: `forget` and `slow`. Both are plain shares: a prior
    would pull them by different amounts and so show a gain where nothing moves.
    """

    options: LearningProgress
    state = (*MixedSampler.state, "fast", "slow")

    def prepare(self) -> None:
        self.fast = RecallPosterior(len(self.index), self.options.forget)
        self.slow = RecallPosterior(len(self.index), self.options.slow)

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        return UnitDraw(self.class_weights()).draw(self.shape.way, random)

    def class_weights(self) -> Tensor:
        gain = np.abs(self.fast.share() - self.slow.share())
        return with_floor(torch.from_numpy(gain), max(self.options.floor, 1e-6))

    def learn(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        self.fast.add(batch, outcome)
        self.slow.add(batch, outcome)


class WithinGroupSampler(RecallSampler):
    """A group in proportion to its classes, and N of its classes.

    They are drawn uniformly, or (`within: hard`) by softmax((1 − E[recall]) / temperature) over the group.
    A group with fewer than N classes gives them all, and a further group the rest.

    Args: as of MixedSampler, and the group of each class (C,).
    """

    options: WithinGroup

    def __init__(
        self,
        index: ClassIndex,
        options: WithinGroup,
        shape: EpisodeShape,
        seed: int,
        schedule: Schedule,
        groups: Sequence[str],
    ) -> None:
        super().__init__(index, options, shape, seed, schedule)
        names = np.array(groups)
        self.members = [torch.from_numpy((names == name).nonzero()[0]) for name in sorted(set(groups))]
        self.sizes = torch.tensor([len(m) for m in self.members], dtype=torch.float64)

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        order = UnitDraw(self.sizes).draw(len(self.members), random)  # one group, and more where it is small
        chosen: list[Tensor] = []
        missing = self.shape.way
        for group in order.tolist():
            chosen.append(self.draw_from(self.members[group], missing, random))
            missing -= len(chosen[-1])
            if not missing:
                break
        return torch.cat(chosen)

    def draw_from(self, members: Tensor, count: int, random: torch.Generator) -> Tensor:
        """Up to `count` different ones of the classes `members`."""
        count = min(count, len(members))
        if self.options.within == "uniform":
            return members[torch.randperm(len(members), generator=random)[:count]]
        error = 1 - self.recalls.mean()[members.numpy()]
        return members[draw_by_logs(log_softmax(error, self.options.temperature), count, random)]


class SelfPacedSampler(RecallSampler):
    """Tasks out of a window of difficulty that depends on the progress p of the training.

    `pace: grow` draws from the easiest share part + (1 − part) p of all tasks; `pace: move` goes on to the
    hardest: from p (1 − part) to p (1 − part) + part.
    """

    options: SelfPaced
    reason = "paced"

    def window(self, number: int) -> tuple[float, float]:
        """Quantiles of difficulty between which episode `number` is drawn."""
        part, progress = self.options.part, min(1.0, number / self.schedule.episodes)
        shift = (1 - part) * progress
        return (shift if self.options.pace == "move" else 0.0), part + shift

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        candidates = draw_candidates(self.index, self.options.candidates, self.shape.way, random)
        error = torch.from_numpy(1 - self.recalls.mean())
        return draw_ranked(candidates, error[candidates].mean(1), *self.window(number), random)


def log_softmax(hardness: Floats, temperature: float, floor: float = 0.0) -> Floats:
    """(C,) ln of (1 − λ) softmax(h / temperature) + λ/C; a share of 0 underflows nowhere."""
    scaled = (hardness - hardness.max()) / temperature
    logs: Floats = scaled - np.log(np.exp(scaled).sum())
    if floor:
        with np.errstate(divide="ignore"):  # λ = 1 leaves the floor alone
            logs = np.logaddexp(np.log1p(-floor) + logs, np.log(floor / len(logs)))
    return logs


def with_floor(weights: Tensor, floor: float) -> Tensor:
    """(1 − λ) w / Σ w + λ / C: every class can be drawn. Even weights where all are 0."""
    total = weights.sum()
    even = torch.full_like(weights, 1 / len(weights))
    return even if not total > 0 else (1 - floor) * weights / total + floor * even
