"""Hard tasks as AdaBoost finds them: pairs of classes that the learner confuses weigh more, round by round.

The weak learner of round r is the network as it is then; that of round 0 is the pretrained backbone. A round
is a meta-test of every pair of classes, from the features of a few images of each. The tasks that are drawn
are neighbourhoods: a class and some of those that it shares its heaviest pairs with. There is one around
every class, so that a task which failed comes back, and the log can say what became of it.
"""

import torch
from torch import Tensor

from mtl.config.hard_tasks import Boosted
from mtl.episodes.episode import EpisodeBatch, Neighbourhoods, Outcome, Round
from mtl.episodes.pairs import pair_count, pair_index, pair_members
from mtl.runtime.seeds import generator
from mtl.samplers.boosting import boost
from mtl.samplers.feature_based import FeatureSampler
from mtl.samplers.pair_errors import counted_errors, estimated_errors, task_accuracies
from mtl.samplers.weighted_draw import UnitDraw

_ROWS = 1024  # classes whose pairs are looked through at once


class BoostedSampler(FeatureSampler):
    """A class, and N − 1 of its M partners in the heaviest pairs, every set of them equally likely.

    M is `nearest`: at least N − 1, at most all others; 3 N where it is None. With `draw: weight` there is no
    such cut: any class may come, in proportion to the weight of its pair with the first.

    A share `first` of the first classes is drawn by the weight of their M pairs together; the others are
    uniform, so that a class which nobody takes for another keeps its place in training.
    """

    options: Boosted
    state = (*FeatureSampler.state, "weights", "nearest")

    def prepare(self) -> None:
        super().prepare()
        pairs = pair_count(len(self.index))
        self.weights = torch.full((pairs,), 1 / pairs, dtype=torch.float64)
        self.nearest = torch.empty(0, dtype=torch.int64)  # (C, M), heaviest first

    def take_features(self, features: Tensor) -> Round:
        """One round of boosting by the meta-test of all pairs."""
        errors = self._errors(features)
        step = boost(self.weights, errors, torch.ones(len(errors), dtype=torch.bool), self.options, way=2)
        self.weights = step.weights
        wanted = self.options.nearest or 3 * self.shape.way
        classes = len(self.index)
        self.nearest = heaviest_partners(
            self.weights, classes, min(max(wanted, self.shape.way - 1), classes - 1)
        )
        found = self._meta_test(features)
        self.rounds += 1
        return Round(
            self.rounds - 1,
            "pair",
            classes,
            float(found.accuracy.mean()),
            self.schedule.share_at(self.drawn),
            step.epsilon,
            step.alpha,
            self.weights,
            lambda units: pair_members(units, classes),
            found,
        )

    def images(self, per_class: int, random: torch.Generator) -> Tensor:
        """The images of a class that make its centre first; the others, from other groups, are queries."""
        shot = min(self.shape.shot, per_class - 1)
        queries = min(per_class - shot, int(self.index.most_queries(shot).min()))
        return self.index.draw_episode(torch.arange(len(self.index)), shot, queries, random)

    def _errors(self, features: Tensor) -> Tensor:
        """(P,) of all pairs."""
        shot = self.shape.shot
        if self.options.errors == "counted":
            return counted_errors(features, shot)
        apart = None if self.index.group_sizes is None else min(shot, features.shape[1] - 1)
        return estimated_errors(features, shot, apart)

    def _meta_test(self, features: Tensor) -> Neighbourhoods:
        """A task of every neighbourhood, solved by its nearest centres."""
        classes, partners = self.nearest.shape
        random = generator(self.seed, "neighbourhoods", self.rounds)
        others = torch.rand(classes, partners, generator=random).argsort(1)[:, : self.shape.way - 1]
        tasks = torch.cat([torch.arange(classes)[:, None], self.nearest.gather(1, others)], 1)
        weight = self._neighbourhood_weights()
        return Neighbourhoods(
            torch.arange(classes),
            task_accuracies(features, tasks, self.shape.shot),
            weight / weight.mean(),
            self.nearest[:, : self.shape.way - 1],
        )

    def _neighbourhood_weights(self) -> Tensor:
        """(C,) the weight of each class's pairs with its M partners."""
        firsts = torch.arange(len(self.nearest))[:, None]
        return self.weights[pair_index(firsts, self.nearest, len(self.nearest))].sum(1)

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> None:
        """Training episodes move no weight."""

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        classes, way = len(self.index), self.shape.way
        if self.options.first and float(torch.rand((), generator=random)) < self.options.first:
            first = UnitDraw(self._neighbourhood_weights()).draw(1, random)
        else:
            first = torch.randint(classes, (1,), generator=random)
        if self.options.draw == "weight":
            others = torch.cat([torch.arange(int(first)), torch.arange(int(first) + 1, classes)])
            weights = self.weights[pair_index(first, others, classes)]
            return torch.cat([first, others[UnitDraw(weights).draw(way - 1, random)]])
        partners = self.nearest[int(first)]
        return torch.cat([first, partners[torch.randperm(len(partners), generator=random)[: way - 1]]])


def heaviest_partners(weights: Tensor, classes: int, count: int) -> Tensor:
    """(C, count) int64: the classes with which each class has its heaviest pairs, heaviest first.

    `weights` (C(C-1)/2,) are those of the pairs, in the order of `mtl.episodes.pairs`.
    """
    everyone = torch.arange(classes)
    found = []
    for rows in torch.split(everyone, _ROWS):
        alone = rows[:, None] == everyone
        partner = torch.where(alone, (everyone + 1) % classes, everyone)  # a class makes no pair with itself
        row = weights[pair_index(rows[:, None], partner, classes)].masked_fill(alone, -torch.inf)
        found.append(row.topk(count).indices)
    return torch.cat(found)
