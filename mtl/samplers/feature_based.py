"""Classes by their features: near neighbours, or scatter within classes against the distance between them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.config.hard_tasks import Boosted, Features, Fisher, Neighbours
from mtl.episodes.episode import EpisodeBatch, Neighbourhoods, Outcome, Round
from mtl.runtime.seeds import generator
from mtl.samplers.mixed import MixedSampler
from mtl.samplers.pair_errors import task_accuracies
from mtl.samplers.weighted_draw import draw_candidates, draw_ranked


class FeatureSampler(MixedSampler):
    """Requests the features of `look` images of each class every `every` steps, other images each time."""

    options: Features
    state = (*MixedSampler.state, "measured")

    def prepare(self) -> None:
        self.measured = 0  # times that features were received

    def request(self, step: int) -> Tensor | None:
        """(C · images,): those of class 0 first. A class with fewer images than `look` limits them all."""
        if step % self.schedule.every:
            return None
        per_class = min(self.options.look, int(self.index.counts.min()))
        return self.images(per_class, generator(self.seed, "survey", self.measured)).flatten()

    def images(self, per_class: int, random: torch.Generator) -> Tensor:
        """(C, images) of every class, `per_class` or fewer."""
        return self.index.draw_images(torch.arange(len(self.index)), per_class, random)

    def receive(self, request: EpisodeBatch | Tensor, measured: Outcome | Tensor) -> Round | None:
        assert isinstance(measured, Tensor)
        self.measured += 1
        return self.take_features(measured.float().cpu().view(len(self.index), -1, measured.shape[-1]))

    def take_features(self, features: Tensor) -> Round | None:
        """Learns from the features (C, images, D); a Round if that is one."""
        raise NotImplementedError

    def ready(self) -> bool:
        return self.measured > 0


class NeighbourhoodSampler(FeatureSampler):
    """A class drawn uniformly and N − 1 of M classes around it, every set of them equally likely.

    A subclass says which classes are around each. Every round solves a task of every neighbourhood by its
    nearest centres, so that the log says what became of it.
    """

    options: Neighbours | Boosted
    state = (*FeatureSampler.state, "nearest")
    reason = "neighbourhood"

    def prepare(self) -> None:
        super().prepare()
        self.nearest = torch.empty(0, dtype=torch.int64)  # (C, M), the nearest first

    @property
    def size(self) -> int:
        """M: `nearest` of the config, at least N − 1, at most all other classes; 3 N where it is None."""
        wanted = self.options.nearest or 3 * self.shape.way
        return min(max(wanted, self.shape.way - 1), len(self.index) - 1)

    def images(self, per_class: int, random: torch.Generator) -> Tensor:
        """The images of a class that make its centre first; the others, from other groups, are queries."""
        shot = min(self.shape.shot, per_class - 1)
        queries = min(per_class - shot, int(self.index.most_queries(shot).min()))
        return self.index.draw_episode(torch.arange(len(self.index)), shot, queries, random)

    def meta_test(self, features: Tensor) -> Neighbourhoods:
        """A task of every neighbourhood, solved by its nearest centres, from the features (C, images, D)."""
        random = generator(self.seed, "neighbourhoods", self.rounds)
        others = torch.rand(self.nearest.shape, generator=random).argsort(1)[:, : self.shape.way - 1]
        classes = torch.arange(len(self.index))
        tasks = torch.cat([classes[:, None], self.nearest.gather(1, others)], 1)
        accuracy = task_accuracies(features, tasks, self.shape.shot)
        return Neighbourhoods(classes, accuracy, None, self.nearest[:, : self.shape.way - 1])

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        """Training episodes change nothing."""

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        first = self.first(random)
        partners = self.nearest[int(first)]
        return torch.cat(
            [first, partners[torch.randperm(len(partners), generator=random)[: self.shape.way - 1]]]
        )

    def first(self, random: torch.Generator) -> Tensor:
        """(1,) the class that a task is around."""
        return torch.randint(len(self.index), (1,), generator=random)


class NeighboursSampler(NeighbourhoodSampler):
    """Around a class are the M nearest, by the cosine of the centres."""

    options: Neighbours

    def take_features(self, features: Tensor) -> Round:
        centres = F.normalize(features.mean(1), dim=-1)
        rows = torch.split(torch.arange(len(centres)), 1024)  # thousands of classes: a part at a time
        self.nearest = torch.cat([_nearest(centres, part, self.size) for part in rows])
        found = self.meta_test(features)
        self.rounds += 1
        accuracy, share = float(found.accuracy.mean()), self.schedule.share_at(self.drawn)
        return Round(self.rounds - 1, "class", len(centres), accuracy, share, neighbourhoods=found)


class FisherSampler(FeatureSampler):
    """One of the hardest `part` of uniform candidates, by (mean of s_i) / (mean of ‖μ_i − μ_j‖², i ≠ j).

    μ_i is a class's centre and s_i the mean squared distance of its images to it, with n − 1: the inverse
    Fisher ratio ("Understanding Episode Hardness in Few-Shot Learning").
    """

    options: Fisher
    state = (*FeatureSampler.state, "centres", "scatter")

    def prepare(self) -> None:
        super().prepare()
        self.centres, self.scatter = torch.empty(0), torch.empty(0)  # (C, D), (C,)

    def take_features(self, features: Tensor) -> None:
        self.centres = features.mean(1)
        self.scatter = features.var(1).sum(-1)

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        candidates = draw_candidates(self.index, self.options.candidates, self.shape.way, random)
        return draw_ranked(candidates, self.ratio(candidates), 1 - self.options.part, 1.0, random)

    def ratio(self, tasks: Tensor) -> Tensor:
        """(M,) the inverse Fisher ratio of the class sets (M, N)."""
        between = torch.cdist(self.centres[tasks], self.centres[tasks]).square().sum((1, 2))
        pairs = tasks.shape[1] * (tasks.shape[1] - 1)
        return self.scatter[tasks].mean(1) / (between / pairs).clamp_min(torch.finfo(between.dtype).tiny)


def _nearest(centres: Tensor, rows: Tensor, count: int) -> Tensor:
    """(R, count) int64: the classes with the highest cosine to each of `rows` (R,), itself left out."""
    cosine = centres[rows] @ centres.T
    cosine[torch.arange(len(rows)), rows] = -torch.inf
    return cosine.topk(count).indices
