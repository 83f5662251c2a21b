"""Hard tasks by AdaBoost's weights of pairs of classes, every pair meta-tested in every round.

A pool of tasks meets few pairs: forty 20-way tasks have 7,600 of the half million that 1,000 classes make, so
that `boosted` learns little of most. Two-way tasks need no pool: the features of a few images of each class
answer all of them at once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.config.hard_tasks import AllPairs
from mtl.episodes.episode import EpisodeBatch, Outcome, Round
from mtl.episodes.pairs import pair_count, pair_index, pair_members
from mtl.samplers.boosting import boost
from mtl.samplers.feature_based import FeatureSampler
from mtl.samplers.weighted_draw import UnitDraw

_ROWS = 64  # classes whose queries are compared with all centres at once


class AllPairsSampler(FeatureSampler):
    """A class drawn uniformly, the others by the weights of their pairs with it.

    SAMME moves the weights by the errors of all two-way tasks. Since the first class is uniform, one that
    nobody takes for another keeps its place in training.
    """

    options: AllPairs
    state = (*FeatureSampler.state, "weights")

    def prepare(self) -> None:
        super().prepare()
        pairs = pair_count(len(self.index))
        self.weights = torch.full((pairs,), 1 / pairs, dtype=torch.float64)
        self.ended: Round | None = None  # until `update` returns it, before the next checkpoint

    def images(self, per_class: int, random: torch.Generator) -> Tensor:
        """The images of a class that make its centre first; the others, from other groups, are queries."""
        shot = min(self.shape.shot, per_class - 1)
        queries = min(per_class - shot, int(self.index.most_queries(shot).min()))
        return self.index.draw_episode(torch.arange(len(self.index)), shot, queries, random)

    def take_features(self, features: Tensor) -> None:
        errors = two_way_errors(features, self.shape.shot)
        step = boost(self.weights, errors, torch.ones(len(errors), dtype=torch.bool), self.options, way=2)
        self.weights = step.weights
        self.ended = Round(
            self.rounds,
            "pair",
            len(errors),
            1 - float(errors.mean()),
            self.schedule.share_at(self.drawn),
            step.epsilon,
            step.alpha,
            self.weights,
            lambda units: pair_members(units, len(self.index)),
        )
        self.rounds += 1

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        classes = len(self.index)
        first = torch.randint(classes, (1,), generator=random)
        others = torch.cat([torch.arange(int(first)), torch.arange(int(first) + 1, classes)])
        weights = self.weights[pair_index(first, others, classes)]
        return torch.cat([first, others[UnitDraw(weights).draw(self.shape.way - 1, random)]])

    def update(self, batch: EpisodeBatch, outcome: Outcome) -> Round | None:
        """The round that the last features made, once."""
        ended, self.ended = self.ended, None
        return ended


def two_way_errors(features: Tensor, shot: int) -> Tensor:
    """Errors (C(C-1)/2,) float64 of nearest-centre classifiers between each two classes, by the cosine.

    Args:
        features: (C, images, D).
        shot: K, the images of a class that make its centre; all but one where there are fewer. The others
            are queries; a tie counts half.
    """
    shot = min(shot, features.shape[1] - 1)
    centres = F.normalize(features[:, :shot].mean(1), dim=-1)
    queries = F.normalize(features[:, shot:], dim=-1)
    rows = torch.split(torch.arange(len(features)), _ROWS)
    mistaken = torch.cat([_mistaken(centres, queries[part], part) for part in rows])
    i, j = torch.triu_indices(len(mistaken), len(mistaken), offset=1)
    return (mistaken[i, j] + mistaken[j, i]).double() / 2


def _mistaken(centres: Tensor, queries: Tensor, classes: Tensor) -> Tensor:
    """(R, C): the share of the queries (R, Q, D) of R classes that are nearer the centre of each class."""
    nearness = queries @ centres.T  # (R, Q, C)
    own = nearness.gather(2, classes[:, None, None].expand(-1, nearness.shape[1], 1))
    return ((nearness > own).float() + (nearness == own).float() / 2).mean(1)
