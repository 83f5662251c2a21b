"""The hard-task meta-batch of meta-transfer learning, and its two controls.

Sun et al., "Meta-Transfer Learning for Few-Shot Learning", CVPR 2019, section 4.3 and algorithm 2: the class
with the lowest accuracy of every training task is collected, and after a number of meta-batches new tasks are
drawn from the collected classes alone, with fresh images.
"""

import itertools
from collections import Counter

import torch
from torch import Tensor

from mtl.config.hard_tasks import MetaBatch
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape, Outcome, Round, TaskSampler
from mtl.runtime.seeds import generator


class MetaBatchSampler(TaskSampler):
    """Uniform meta-batches, and after every `collect` of them `hard` tasks from the classes that failed.

    What the papers leave open: a class that failed in two tasks counts once (`duplicates: drop`); where fewer
    classes failed than an episode has ways, others drawn uniformly fill it (`few: fill`), or the hard tasks
    are left out (`few: skip`); of classes with the same recall the one with the least mean probability for
    its own queries failed (`ties: probability`).

    The authors' code of 2024 (github.com/yaoyao-liu/mtl-hard-tasks) decides otherwise, and so does this one
    with `duplicates: adjacent`, `few: skip`, `ties: first`, `overlap: true` and `accuracies: kept`. There the
    list of class accuracies is never emptied, while that of classes is: task t of every round is compared
    with the accuracies of task t of the first, and the class at that task's worst place counts as failed.

    Args:
        index: the images to draw from.
        options: its section of `hard_tasks`; `build` makes `hard` of `hard_batches`.
        shape: of an episode.
        seed: of the stream of episodes; the uniform ones are those of CategoriesSampler.
    """

    reason = "hard"  # why a task of the pool was drawn, in the ledger's words
    state = (
        *TaskSampler.state,
        *("rounds", "batches", "failed", "accuracies", "places", "hard_classes", "hard_left"),
    )

    def __init__(self, index: ClassIndex, options: MetaBatch, shape: EpisodeShape, seed: int) -> None:
        super().__init__(shape)
        self.index, self.options, self.seed = index, options, seed
        self.uniform = CategoriesSampler.of(index, shape, seed)
        self.rounds = 0
        self.batches = 0  # meta-batches collected from since the last round
        self.failed: list[int] = []  # the class that failed, of each of their tasks
        self.accuracies: list[float] = []  # of the same tasks
        self.places: list[int] = []  # where the failed class was in the first tasks of the training
        self.hard_classes: list[int] = []  # what hard tasks are drawn from now
        self.hard_left = 0

    def episode(self, number: int) -> tuple[str, Tensor, Tensor]:
        if not self.hard_left:
            return self.uniform.episode(number)
        self.hard_left -= 1
        random, shape = generator(self.seed, "hard", number), self.shape
        classes = self._draw_failed(random)
        if not self.options.overlap:
            return self.reason, classes, self.index.draw_episode(classes, shape.shot, shape.queries, random)
        parts = [self.index.draw_images(classes, each, random) for each in (shape.shot, shape.queries)]
        return self.reason, classes, torch.cat(parts, -1)

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> Round | None:
        """Collects the class that failed of each uniform task; a round ends after `collect` meta-batches."""
        uniform = [t for t, origin in enumerate(batch.origin) if origin == "uniform"]
        if not uniform:
            return None
        probabilities = outcome.confusion.diagonal(dim1=1, dim2=2)
        for t in uniform:
            place = self.pick(outcome.recall[t], probabilities[t])
            if len(self.places) < self.options.collect * len(batch):  # no round has more tasks
                self.places = [*self.places, place]
            if self.options.accuracies == "kept":
                place = self.places[len(self.failed)]
            self.failed = [*self.failed, int(batch.classes[t, place])]
            self.accuracies = [*self.accuracies, float(outcome.accuracy[t])]
        self.batches += 1
        return self._end_round() if self.batches == self.options.collect else None

    def _end_round(self) -> Round:
        self.rounds += 1
        tasks, mean = len(self.accuracies), sum(self.accuracies) / len(self.accuracies)
        self.hard_classes = self.pool_of(self.failed)
        if self.options.duplicates == "adjacent":
            self.hard_classes = [c for c, _ in itertools.groupby(self.hard_classes)]
            size = len(self.hard_classes)
        else:
            size = len(set(self.hard_classes))
        enough = size >= self.shape.way or self.options.few == "fill"
        self.hard_left = self.options.hard if enough else 0
        self.failed, self.accuracies, self.batches = [], [], 0
        return Round(self.rounds, "class", tasks, mean, self.hard_left / (self.hard_left + tasks))

    def pick(self, recall: Tensor, probability: Tensor) -> int:
        """The place of the class that failed, from the recalls (N,) and mean probabilities (N,) of a task."""
        ranks = self.ranks(recall, probability)
        return ranks.index(min(ranks))

    def ranks(self, recall: Tensor, probability: Tensor) -> list[tuple[float, ...]]:
        """How well each of the N classes of a task did, ordered by `ties`."""
        if self.options.ties == "first":
            return [(r,) for r in recall.tolist()]
        return list(zip(recall.tolist(), probability.tolist(), strict=True))

    def pool_of(self, failed: list[int]) -> list[int]:
        """The pool that hard tasks are drawn from."""
        return failed

    def _draw_failed(self, random: torch.Generator) -> Tensor:
        """(N,) failed classes, and others where they are too few. Distinct unless `adjacent`."""
        counts = Counter(self.hard_classes)
        if self.options.duplicates == "adjacent":  # each mention may be drawn once
            mentions = torch.tensor(self.hard_classes)
            chosen = mentions[torch.randperm(len(mentions), generator=random)[: self.shape.way]]
        else:
            weights = torch.zeros(len(self.index), dtype=torch.float64)
            for c, n in counts.items():
                weights[c] = n if self.options.duplicates == "keep" else 1
            chosen = torch.multinomial(weights, min(self.shape.way, len(counts)), generator=random)
        missing = self.shape.way - len(chosen)
        if not missing:
            return chosen
        others = torch.ones(len(self.index), dtype=torch.float64)
        others[list(counts)] = 0
        return torch.cat([chosen, torch.multinomial(others, missing, generator=random)])


class EasySampler(MetaBatchSampler):
    """As MetaBatchSampler, from the classes with the highest accuracy. Where it helps, hardness does not."""

    reason = "easy"

    def pick(self, recall: Tensor, probability: Tensor) -> int:
        ranks = self.ranks(recall, probability)
        return ranks.index(max(ranks))


class RandomPoolSampler(MetaBatchSampler):
    """As MetaBatchSampler; each class of a pool is renamed to another, the same for all its mentions.

    A pool has as many different classes as it would have had, and each counts as often.
    """

    reason = "random"

    def pool_of(self, failed: list[int]) -> list[int]:
        distinct = sorted(set(failed))
        random = generator(self.seed, "random pool", self.rounds)
        others = self.index.draw_classes(len(distinct), random).tolist()
        renamed = dict(zip(distinct, others, strict=True))
        return [renamed[c] for c in failed]
