"""The hard-task meta-batch of meta-transfer learning.

Sun et al., "Meta-Transfer Learning for Few-Shot Learning", CVPR 2019, section 4.3 and algorithm 2: the class
with the lowest accuracy of every training task is collected, and after a number of meta-batches new tasks are
drawn from the collected classes alone, with fresh images.
"""

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any

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

    The authors' code of 2024 (github.com/yaoyao-liu/mtl-hard-tasks) answers otherwise, and so does this one
    with `duplicates: adjacent`, `few: skip`, `ties: first`, `overlap: true` and `accuracies: kept`. There the
    list of class accuracies is never emptied, while that of classes is: task t of every round is held against
    the accuracies of task t of the first, and the class at that task's worst place counts as failed.

    Args:
        index: the images to draw from.
        options: its section of `hard_tasks`; of `hard_batches` and `budget` `build` makes `hard` and the
            number of steps.
        shape: of an episode.
        seed: of the stream of episodes; its uniform episodes are those of CategoriesSampler.
    """

    #: Why a task of the pool was drawn, in the ledger's words.
    reason = "hard"

    def __init__(self, index: ClassIndex, options: MetaBatch, shape: EpisodeShape, seed: int) -> None:
        super().__init__(shape)
        self.index, self.seed = index, seed
        self.uniform = CategoriesSampler.of(index, shape, seed)
        self.options = options
        self.rounds = 0
        self.batches = 0  # meta-batches collected from since the last round
        self.failed: list[int] = []  # the class that failed, of each of their tasks
        self.accuracies: list[float] = []  # of the same tasks
        self.places: list[int] = []  # where the failed class stood in the first tasks of the training
        self.hard_classes: list[int] = []  # what hard tasks are drawn from now
        self.hard_left = 0

    def episode(self, number: int) -> tuple[str, Tensor, Tensor]:
        if not self.hard_left:
            return self.uniform.episode(number)
        self.hard_left -= 1
        random = generator(self.seed, "hard", number)
        classes = self._draw_failed(random)
        shot, queries = self.shape.shot, self.shape.queries
        if not self.options.overlap:
            return self.reason, classes, self.index.draw_episode(classes, shot, queries, random)
        apart = [self.index.draw_images(classes, each, random) for each in (shot, queries)]
        return self.reason, classes, torch.cat(apart, -1)

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> Round | None:
        """Collects the class that failed of each uniform task; a round ends after `collect` meta-batches."""
        uniform = [t for t, origin in enumerate(batch.origin) if origin == "uniform"]
        if not uniform:
            return None
        own = outcome.confusion.diagonal(dim1=1, dim2=2)
        for t in uniform:
            place = self.picked(outcome.recall[t], own[t])
            if len(self.places) < self.options.collect * len(batch):  # no round has more tasks
                self.places.append(place)
            if self.options.accuracies == "kept":
                place = self.places[len(self.failed)]
            self.failed.append(int(batch.classes[t, place]))
            self.accuracies.append(float(outcome.accuracy[t]))
        self.batches += 1
        if self.batches < self.options.collect:
            return None
        self.rounds += 1
        mean = sum(self.accuracies) / len(self.accuracies)
        self.hard_classes = self.pooled(self.failed)
        if self.options.duplicates == "adjacent":
            self.hard_classes = [c for c, _ in itertools.groupby(self.hard_classes)]
        met = self.hard_classes if self.options.duplicates == "adjacent" else set(self.hard_classes)
        enough = len(met) >= self.shape.way or self.options.few == "fill"
        self.hard_left = self.options.hard if enough else 0
        share = self.hard_left / (self.hard_left + len(self.accuracies))
        done = Round(self.rounds, "class", len(self.accuracies), mean, share)
        self.failed, self.accuracies, self.batches = [], [], 0
        return done

    def picked(self, recall: Tensor, own: Tensor) -> int:
        """Which of a task's classes failed, from their recalls (N,) and mean probabilities (N,)."""
        ranks = self.ranks(recall, own)
        return ranks.index(min(ranks))

    def ranks(self, recall: Tensor, own: Tensor) -> list[tuple[float, ...]]:
        """How well each class of a task did (N of them), in the order of the config's `ties`."""
        if self.options.ties == "first":
            return [(r,) for r in recall.tolist()]
        return list(zip(recall.tolist(), own.tolist(), strict=True))

    def pooled(self, failed: list[int]) -> list[int]:
        """The pool that hard tasks are drawn from."""
        return failed

    def _draw_failed(self, random: torch.Generator) -> Tensor:
        """(N,) failed classes; where they are too few, others besides. Distinct unless `adjacent`."""
        counts = Counter(self.hard_classes)
        weights = torch.zeros(len(self.index), dtype=torch.float64)
        for c, n in counts.items():
            weights[c] = n if self.options.duplicates == "keep" else 1
        if self.options.duplicates == "adjacent":  # each mention may be drawn once
            mentions = torch.tensor(self.hard_classes)
            chosen = mentions[torch.randperm(len(mentions), generator=random)[: self.shape.way]]
        else:
            chosen = torch.multinomial(weights, min(self.shape.way, len(counts)), generator=random)
        others = torch.ones(len(self.index), dtype=torch.float64)
        others[list(counts)] = 0
        missing = self.shape.way - len(chosen)
        if missing:
            chosen = torch.cat([chosen, torch.multinomial(others, missing, generator=random)])
        return chosen

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "rounds": self.rounds,
            "batches": self.batches,
            "failed": list(self.failed),
            "accuracies": list(self.accuracies),
            "places": list(self.places),
            "hard_classes": list(self.hard_classes),
            "hard_left": self.hard_left,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.rounds, self.batches = int(state["rounds"]), int(state["batches"])
        self.failed, self.accuracies = list(state["failed"]), list(state["accuracies"])
        self.places = list(state.get("places", []))  # which older checkpoints lack
        self.hard_classes, self.hard_left = list(state["hard_classes"]), int(state["hard_left"])
