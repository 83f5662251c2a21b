"""Plain types of the episodic half: what a meta-batch is, how it went, and who draws it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mtl.episodes.hardness import log_odds_of_error


@dataclass(frozen=True)
class EpisodeShape:
    """How large an episode is."""

    way: int  # N classes
    shot: int  # K support images of each
    queries: int  # Q query images of each

    @property
    def per_class(self) -> int:
        """K + Q."""
        return self.shot + self.queries


@dataclass(frozen=True)
class EpisodeBatch:
    """T episodes as indices alone; no image is touched until they are gathered.

    Letters: T tasks, N ways, K shots, Q queries a class.
    """

    classes: Tensor  # (T, N) int64: class ids of the image set
    support: Tensor  # (T, N, K) int64: image indices
    query: Tensor  # (T, N, Q) int64: image indices
    origin: tuple[str, ...]  # (T,): "uniform", "hard", ... why each was drawn
    index: tuple[int, ...]  # (T,): each episode's number in its sampler's stream

    def __post_init__(self) -> None:
        t = self.classes.shape[0]
        if not (len(self.origin) == len(self.index) == self.support.shape[0] == self.query.shape[0] == t):
            raise ValueError("classes, support, query, origin and index must be of the same episodes")

    @staticmethod
    def of(
        classes: Tensor,
        images: Tensor,
        shot: int,
        origin: str | tuple[str, ...],
        numbers: Iterable[int] | None = None,
    ) -> "EpisodeBatch":
        """From images (T, N, K+Q), the first K of a class its support set; numbered from 0 without `numbers`.

        `origin` is that of each task, or one for all.
        """
        origins = (origin,) * len(classes) if isinstance(origin, str) else origin
        index = tuple(range(len(classes)) if numbers is None else numbers)
        return EpisodeBatch(classes, images[..., :shot], images[..., shot:], origins, index)

    def __len__(self) -> int:
        return self.classes.shape[0]

    @property
    def way(self) -> int:
        return self.classes.shape[1]

    @property
    def shot(self) -> int:
        return self.support.shape[2]

    @property
    def queries(self) -> int:
        return self.query.shape[2]

    def image_indices(self) -> Tensor:
        """(T, N·(K+Q)): a task's support images class by class, then its query images class by class."""
        return torch.cat([self.support.flatten(1), self.query.flatten(1)], dim=1)

    def labels(self, per_class: int) -> Tensor:
        """(T, N·per_class): episode labels 0..N-1 of `per_class` images a class, in class order."""
        one = torch.arange(self.way).repeat_interleave(per_class)
        return one.expand(len(self), -1)

    def __getitem__(self, rows: slice) -> "EpisodeBatch":
        return EpisodeBatch(
            self.classes[rows], self.support[rows], self.query[rows], self.origin[rows], self.index[rows]
        )

    @staticmethod
    def concatenate(batches: "list[EpisodeBatch]") -> "EpisodeBatch":
        """The episodes of several batches of one way, shot and number of queries, in order."""
        return EpisodeBatch(
            torch.cat([b.classes for b in batches]),
            torch.cat([b.support for b in batches]),
            torch.cat([b.query for b in batches]),
            tuple(o for b in batches for o in b.origin),
            tuple(i for b in batches for i in b.index),
        )


@dataclass(frozen=True)
class Outcome:
    """How the T tasks of a meta-batch went; everything on the CPU, float32."""

    loss: Tensor  # (T,) mean cross-entropy of the queries
    accuracy: Tensor  # (T,) in [0, 1]
    recall: Tensor  # (T, N) share of each class's queries that were right
    confusion: Tensor  # (T, N, N) mean probability that queries of class i get for class j; rows sum to 1
    # Every single answer, where it is known.
    predicted: Tensor | None = None  # (T, N, Q) int16: the class of the task that each query was taken for
    confidence: Tensor | None = None  # (T, N, Q) probability of that class
    # Two measures of how hard a task was, where they are known: mtl/episodes/hardness.py.
    hardness: Tensor | None = None  # (T,) mean log-odds that a query is classified wrong
    fisher: Tensor | None = None  # (T,) inverse Fisher ratio of the features; nan where there are none

    @staticmethod
    def of(logits: Tensor, way: int, queries: int, fisher: Tensor | None = None) -> "Outcome":
        """From query logits (T, N·Q, N), the queries of a task class by class, and `fisher` (T,) as it is."""
        t = logits.shape[0]
        logp = logits.detach().float().log_softmax(-1).view(t, way, queries, way)
        own = torch.arange(way, device=logits.device)
        best, taken = logp.max(-1)
        correct = (taken == own[None, :, None]).float()
        loss = -logp[:, own, :, own].mean((0, 2))
        recall = correct.mean(2)
        confusion = logp.exp().mean(2)
        fisher = torch.full_like(loss, torch.nan) if fisher is None else fisher
        figures = torch.stack([loss, log_odds_of_error(logp), fisher], 1)
        parts = figures, recall, confusion.flatten(1), best.exp().flatten(1), taken.float().flatten(1)
        on_cpu = torch.cat(parts, 1).cpu()  # one copy, one wait
        figures, recall, confusion, confidence, predicted = torch.split(
            on_cpu, [p.shape[1] for p in parts], 1
        )
        return Outcome(
            figures[:, 0],
            recall.mean(1),
            recall,
            confusion.reshape(t, way, way),
            predicted.reshape(t, way, queries).short(),
            confidence.reshape(t, way, queries),
            figures[:, 1],
            figures[:, 2],
        )

    @staticmethod
    def concatenate(parts: "list[Outcome]") -> "Outcome":
        return Outcome(
            torch.cat([p.loss for p in parts]),
            torch.cat([p.accuracy for p in parts]),
            torch.cat([p.recall for p in parts]),
            torch.cat([p.confusion for p in parts]),
            _all_or_none([p.predicted for p in parts]),
            _all_or_none([p.confidence for p in parts]),
            _all_or_none([p.hardness for p in parts]),
            _all_or_none([p.fisher for p in parts]),
        )


def _all_or_none(parts: "list[Tensor | None]") -> Tensor | None:
    known = [p for p in parts if p is not None]
    return torch.cat(known) if len(known) == len(parts) else None


@dataclass(frozen=True)
class Neighbourhoods:
    """What a round found in the tasks around each class: the class itself and those taken for it."""

    classes: Tensor  # (C,) int64: the class that each is around
    accuracy: Tensor  # (C,) float32 in [0, 1], of one task of each
    weight: Tensor | None  # (C,) float64, mean 1; None where neighbourhoods have no weights
    members: Tensor  # (C, k) int64: the classes with which its own has the heaviest pairs, heaviest first


@dataclass(frozen=True)
class Round:
    """One meta-test followed by one update of the sampler: as the ledger records it."""

    number: int
    unit: str  # what carries a weight: "neighbourhood", "task", "class" or "pair"
    pool: int  # tasks of the meta-test
    accuracy: float  # their mean accuracy
    hard_share: float  # ρ in the training that follows
    epsilon: float | None = None  # weighted error; None where the rule knows none
    alpha: float = 0.0  # the round's weight
    weights: Tensor | None = None  # (U,) float64 after the update, sum 1
    members: Callable[[Tensor], Tensor] | None = None  # classes (k, m) of units (k,)
    neighbourhoods: Neighbourhoods | None = None  # where tasks are drawn from the surroundings of a class


class TaskSampler:
    """Draws meta-batches, and may learn from how they went.

    A subclass says what episode `number` is. It may depend on the seed, the number and the attributes named
    in `state`, which checkpoints hold and drawing may change, and on nothing else: a resumed run draws what
    one that never stopped draws. One that measures something first names it in `request`, and takes it in by
    `receive`; one that learns from training takes in each meta-batch by `update`. All else has a default
    that does nothing.

    Args:
        shape: of every episode.
    """

    has_task_weights = False  # True if `task_weights` can be anything but 1
    state: tuple[str, ...] = ("drawn",)  # the attributes that a checkpoint holds; none is changed in place

    def __init__(self, shape: EpisodeShape) -> None:
        self.shape = shape
        self.drawn = 0  # episodes so far: the number of the next one

    def episode(self, number: int) -> tuple[str, Tensor, Tensor]:
        """Why episode `number` is drawn ("uniform", "hard", ...), its classes (N,) and images (N, K+Q)."""
        raise NotImplementedError

    def draw(self, tasks: int) -> EpisodeBatch:
        """The next `tasks` episodes."""
        numbers = range(self.drawn, self.drawn + tasks)
        self.drawn += tasks
        origin, classes, images = zip(*(self.episode(i) for i in numbers), strict=True)
        return EpisodeBatch.of(torch.stack(classes), torch.stack(images), self.shape.shot, origin, numbers)

    def request(self, step: int) -> EpisodeBatch | Tensor | None:
        """What is to be measured before training step `step`.

        Episodes to solve, or image indices (n,) whose features are wanted; None where nothing is.
        """
        return None

    def receive(self, request: EpisodeBatch | Tensor, measured: Outcome | Tensor) -> Round | None:
        """Takes in the answer to a request: how its episodes went, or the features (n, D) of its images.

        Returns a Round if this ended one.
        """
        return None

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> Round | None:
        """Takes in how a meta-batch of training went; a Round if this ended one."""
        return None

    def task_weights(self, losses: Tensor) -> Tensor:
        """Weight of each task of the meta-batch (T,) in its loss, from the losses (T,); their mean is 1."""
        return torch.ones_like(losses)

    def state_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in self.state}
        return {name: p.state_dict() if hasattr(p, "state_dict") else p for name, p in parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self.state:
            part = getattr(self, name)
            if hasattr(part, "load_state_dict"):
                part.load_state_dict(state[name])
            else:
                setattr(self, name, state[name])
