"""Classes by their features: near neighbours, or scatter within classes against the distance between them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.config.hard_tasks import Boosted, Features, Fisher, Neighbours
from mtl.episodes.episode import EpisodeBatch, Neighbourhoods, Outcome, Round
from mtl.runtime.seeds import generator
from mtl.samplers.class_survey import ClassSurvey
from mtl.samplers.mixed import MixedSampler
from mtl.samplers.pair_errors import task_accuracies
from mtl.samplers.weighted_draw import draw_candidates, draw_ranked


class FeatureSampler(MixedSampler):
    """Requests the features of `look` images of each class every `every` steps, other images each time.

    Thousands of classes take turns, see `mtl.samplers.class_survey`.
    """

    options: Features
    state = (*MixedSampler.state, "measured")

    def prepare(self) -> None:
        self.measured = 0  # times that features were received
        self.survey = ClassSurvey(len(self.index), self.seed)
        if self.survey.turns:
            self.state = (*self.state, "survey")

    def request(self, step: int) -> Tensor | None:
        """(R · images,): those of the first class first. A class with fewer than `look` limits them all."""
        if step % self.schedule.every:
            return None
        per_class = min(self.options.look, int(self.index.counts.min()))
        return self.images(per_class, generator(self.seed, "survey", self.measured)).flatten()

    def images(self, per_class: int, random: torch.Generator) -> Tensor:
        """(R, images) of every class that is looked at, `per_class` or fewer."""
        return self.index.draw_images(self.survey.next(), per_class, random)

    def receive(self, request: EpisodeBatch | Tensor, measured: Outcome | Tensor) -> Round | None:
        assert isinstance(measured, Tensor)
        self.measured += 1
        rows = self.survey.next()
        new = measured.float().cpu().view(len(rows), -1, measured.shape[-1])
        return self.take_features(self.survey.take(new), rows)

    def take_features(self, features: Tensor, rows: Tensor) -> Round | None:
        """Learns from the features (C, images, D), of which those of classes (R,) are new; a Round if that is
        one.
        """
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
        return self.index.draw_episode(self.survey.next(), shot, queries, random)

    def meta_test(self, features: Tensor, rows: Tensor) -> Neighbourhoods:
        """A task around each class (R,), solved by its nearest centres, from the features (C, images, D)."""
        random = generator(self.seed, "neighbourhoods", self.rounds)
        nearest = self.nearest[rows]
        others = torch.rand(nearest.shape, generator=random).argsort(1)[:, : self.shape.way - 1]
        tasks = torch.cat([rows[:, None], nearest.gather(1, others)], 1)
        classes, places = torch.unique(tasks, return_inverse=True)
        accuracy = task_accuracies(features[classes].float(), places, self.shape.shot)
        return Neighbourhoods(rows, accuracy, None, nearest[:, : self.shape.way - 1])

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

    def take_features(self, features: Tensor, rows: Tensor) -> Round:
        centres = F.normalize(class_means(features), dim=-1)
        parts = torch.split(rows, 1024)  # thousands of classes: a part at a time
        nearest = torch.cat([_nearest(centres, part, self.size) for part in parts])
        self.nearest = nearest if len(rows) == len(centres) else self.nearest.index_copy(0, rows, nearest)
        found = self.meta_test(features, rows)
        self.rounds += 1
        accuracy, share = float(found.accuracy.mean()), self.schedule.share_at(self.drawn)
        return Round(self.rounds - 1, "class", len(rows), accuracy, share, neighbourhoods=found)


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

    def take_features(self, features: Tensor, rows: Tensor) -> None:
        self.centres = class_means(features)
        parts = torch.split(features, 1024)
        self.scatter = torch.cat([part.float().var(1).sum(-1) for part in parts])

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        candidates = draw_candidates(self.index, self.options.candidates, self.shape.way, random)
        return draw_ranked(candidates, self.ratio(candidates), 1 - self.options.part, 1.0, random)

    def ratio(self, tasks: Tensor) -> Tensor:
        """(M,) the inverse Fisher ratio of the class sets (M, N)."""
        between = torch.cdist(self.centres[tasks], self.centres[tasks]).square().sum((1, 2))
        pairs = tasks.shape[1] * (tasks.shape[1] - 1)
        return self.scatter[tasks].mean(1) / (between / pairs).clamp_min(torch.finfo(between.dtype).tiny)


def class_means(features: Tensor) -> Tensor:
    """(C, D) float32, from features (C, images, D) of any precision."""
    return torch.cat([part.float().mean(1) for part in torch.split(features, 1024)])


def _nearest(centres: Tensor, rows: Tensor, count: int) -> Tensor:
    """(R, count) int64: the classes with the highest cosine to each of `rows` (R,), itself left out."""
    cosine = centres[rows] @ centres.T
    cosine[torch.arange(len(rows)), rows] = -torch.inf
    return cosine.topk(count).indices
