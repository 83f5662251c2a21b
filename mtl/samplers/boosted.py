"""Hard tasks as AdaBoost finds them: pairs of classes that the learner confuses weigh more, round by round.

The weak learner of round r is the network as it is then; that of round 0 is the pretrained backbone. A round
is a meta-test of every pair of classes, from the features of a few images of each. The tasks that are drawn
are neighbourhoods: a class and some of those that it shares its heaviest pairs with. There is one around
every class, so that a task which failed comes back, and the log can say what became of it.
"""

import torch
from torch import Tensor

from mtl.config.hard_tasks import Boosted
from mtl.episodes.episode import Round
from mtl.episodes.pairs import pair_count, pair_index, pair_members
from mtl.samplers.boosting import boost
from mtl.samplers.feature_based import NeighbourhoodSampler
from mtl.samplers.pair_errors import counted_errors, estimated_errors
from mtl.samplers.weighted_draw import UnitDraw

_ROWS = 1024  # classes whose pairs are looked through at once


class BoostedSampler(NeighbourhoodSampler):
    """Around a class are its partners in the M heaviest pairs.

    A share `first` of the classes that tasks are around is drawn by the weight of these pairs together; the
    others are uniform, so that a class which nobody takes for another keeps its place in training. With
    `draw: weight` there is no cut at M: any class may come, in proportion to the weight of its pair with the
    first.
    """

    options: Boosted
    state = (*NeighbourhoodSampler.state, "weights")

    def prepare(self) -> None:
        super().prepare()
        pairs = pair_count(len(self.index))
        self.weights = torch.full((pairs,), 1 / pairs, dtype=torch.float64)
        if self.options.draw == "weight":
            self.reason = "hard"

    def take_features(self, features: Tensor) -> Round:
        """One round of boosting by the meta-test of all pairs."""
        errors, classes = self.errors(features), len(self.index)
        step = boost(self.weights, errors, torch.ones(len(errors), dtype=torch.bool), self.options, way=2)
        self.weights = step.weights
        self.nearest = heaviest_partners(self.weights, classes, self.size)
        weight = self.neighbourhood_weights()
        found = self.meta_test(features, weight / weight.mean())
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

    def errors(self, features: Tensor) -> Tensor:
        """(C(C-1)/2,) of all pairs, from the features (C, images, D)."""
        shot = self.shape.shot
        if self.options.errors == "counted":
            return counted_errors(features, shot)
        apart = None if self.index.group_sizes is None else min(shot, features.shape[1] - 1)
        return estimated_errors(features, shot, apart)

    def neighbourhood_weights(self) -> Tensor:
        """(C,) float64: the weight of each class's M heaviest pairs together."""
        firsts = torch.arange(len(self.nearest))[:, None]
        return self.weights[pair_index(firsts, self.nearest, len(self.nearest))].sum(1)

    def first(self, random: torch.Generator) -> Tensor:
        if self.options.first and float(torch.rand((), generator=random)) < self.options.first:
            return UnitDraw(self.neighbourhood_weights()).draw(1, random)
        return super().first(random)

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        if self.options.draw == "nearest":
            return super().choose(number, random)
        first, classes = self.first(random), len(self.index)
        others = torch.cat([torch.arange(int(first)), torch.arange(int(first) + 1, classes)])
        weights = self.weights[pair_index(first, others, classes)]
        return torch.cat([first, others[UnitDraw(weights).draw(self.shape.way - 1, random)]])


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
