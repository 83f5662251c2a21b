"""Hard tasks as AdaBoost finds them: a meta-test of tasks, those that fail weigh more, and they come again.

The weak learner of round r is the network as it is then; that of round 0 is the pretrained backbone. The
tasks are neighbourhoods: one around every class, with the classes that it shares its heaviest pairs with. So
a task which failed comes back, and the log can say what became of it. One rule moves all weights: those of
pairs of classes, of images, and of neighbourhoods.
"""

from dataclasses import replace

import torch
from torch import Tensor

from mtl.config.hard_tasks import Boosted
from mtl.episodes.episode import Round
from mtl.episodes.pairs import pair_count, pair_index, pair_members, symmetric
from mtl.errors import UserError
from mtl.samplers.boosting import BoostStep, boost
from mtl.samplers.class_survey import LARGE, PART
from mtl.samplers.feature_based import NeighbourhoodSampler
from mtl.samplers.image_weights import ImageWeights
from mtl.samplers.pair_errors import counted_errors, estimated_errors, image_errors, pair_moments
from mtl.samplers.partner_weights import KEPT, PartnerWeights
from mtl.samplers.weighted_draw import UnitDraw

_ROWS = 256  # classes whose pairs are looked through at once


class BoostedSampler(NeighbourhoodSampler):
    """Who is in a task, with which images, and around whom: by weights that AdaBoost's rule moves.

    - Pairs of classes, by the errors of their two-way tasks: around a class are its partners in the M
      heaviest pairs.
    - Images, by how often they are taken for one of these partners: which queries a task has, with `queries:
      boosted`. Where images are in groups, queries are uniform.
    - Neighbourhoods, by the error of a task of each: around which class a task is drawn, with `first:
      boosted`. `uniform` draws every class alike, so that one which nobody takes for another keeps its place.

    With `draw: weight` there is no cut at M: any class may come, in proportion to the weight of its pair with
    the first.
    """

    options: Boosted
    state = (*NeighbourhoodSampler.state, "pair_weights", "image_weights", "weights")

    def prepare(self) -> None:
        super().prepare()
        classes = len(self.index)
        self.pair_weights: Tensor | PartnerWeights
        if self.survey.turns:
            self.pair_weights = PartnerWeights(classes, max(KEPT, self.size))
            if self.options.errors == "counted":
                raise UserError(
                    f"hard_tasks.boosted.errors: counted is for up to {LARGE:,} classes, not {classes:,}"
                )
        else:
            pairs = pair_count(classes)
            self.pair_weights = torch.full((pairs,), 1 / pairs, dtype=torch.float64)
        weighted = self.options.queries == "boosted" and self.index.group_sizes is None
        self.image_weights = ImageWeights(self.index) if weighted else None
        self.looked_at = torch.empty(0, dtype=torch.int64)  # images whose features were requested
        self.weights = torch.full((classes,), 1 / classes, dtype=torch.float64)  # of neighbourhoods
        if self.options.draw == "weight":
            self.reason = "hard"

    def images(self, per_class: int, random: torch.Generator) -> Tensor:
        self.looked_at = super().images(per_class, random)
        return self.looked_at

    def take_features(self, features: Tensor, rows: Tensor) -> Round:
        """One round: the meta-test of all pairs, of the images, and of a task of each neighbourhood."""
        classes, pairs = len(self.index), self.pair_weights
        if isinstance(pairs, PartnerWeights):
            moments = pair_moments(features, rows[:LARGE], self.shape.shot, self._apart(features))
            epsilon, alpha = pairs.update(rows, moments.errors, self.options, PART)
            self.nearest = pairs.partners[:, : self.size]
            weights, kept = pairs.heaviest(rows)
        else:
            step = self._boost(pairs, self._pair_errors(features), way=2)
            weights, epsilon, alpha, kept = step.weights, step.epsilon, step.alpha, None
            self.pair_weights = weights
            self.nearest = heaviest_partners(weights, classes, self.size)
        if self.image_weights is not None:
            parts = torch.split(rows, PART) if self.survey.turns else (rows,)
            errors = torch.cat([self._image_errors(features, part) for part in parts])
            self.image_weights.update(self.looked_at, errors, self.options, rows)
        found = self.meta_test(features, rows)
        self.rounds += 1
        ended = Round(
            self.rounds - 1,
            "pair",
            len(rows),
            float(found.accuracy.mean()),
            self.schedule.share_at(self.drawn),
            epsilon,
            alpha,
            weights,
            lambda units: pair_members(units, classes) if kept is None else kept[units],
            replace(found, weight=self._weight_of_partners(rows)),
        )
        if self.options.first == "uniform":
            return ended

        # Tasks are drawn around classes by these weights: they are what the round is about.
        visited = torch.zeros(classes, dtype=torch.bool).index_fill_(0, rows, True)
        failed = torch.zeros(classes, dtype=torch.float64).index_copy_(0, rows, 1 - found.accuracy.double())
        step = boost(self.weights, failed, visited, self.options, self.shape.way)
        self.weights = step.weights
        return replace(
            ended,
            unit="neighbourhood",
            epsilon=step.epsilon,
            alpha=step.alpha,
            weights=self.weights,
            members=lambda units: units[:, None],
            neighbourhoods=replace(found, weight=self.weights[rows] * classes),
        )

    def _weight_of_partners(self, rows: Tensor) -> Tensor:
        """(R,) the weight of each class's pairs with its M partners, 1 on average."""
        if isinstance(self.pair_weights, PartnerWeights):
            weight = self.pair_weights.weights[rows, : self.size].sum(1)
        else:
            pairs = pair_index(rows[:, None], self.nearest, len(self.index))
            weight = self.pair_weights[pairs].sum(1)
        return weight / weight.mean()

    def _boost(self, weights: Tensor, errors: Tensor, way: int) -> BoostStep:
        """One step of boosting with every unit visited."""
        return boost(weights, errors, torch.ones(len(errors), dtype=torch.bool), self.options, way)

    def _pair_errors(self, features: Tensor) -> Tensor:
        """(C(C-1)/2,) of all pairs, from the features (C, images, D)."""
        shot = self.shape.shot
        if self.options.errors == "counted":
            return counted_errors(features, shot)
        return estimated_errors(features, shot, self._apart(features))

    def _image_errors(self, features: Tensor, rows: Tensor) -> Tensor:
        """(R, images) of the classes `rows`, against the partners of each."""
        around = torch.cat([rows[:, None], self.nearest[rows]], 1)
        needed, place = torch.unique(around, return_inverse=True)
        return image_errors(features[needed], place[:, 1:], self.shape.shot, place[:, 0])

    def _apart(self, features: Tensor) -> int | None:
        """How many of a class's images are of other groups than the rest; None without groups."""
        return None if self.index.group_sizes is None else min(self.shape.shot, features.shape[1] - 1)

    def first(self, random: torch.Generator) -> Tensor:
        if self.options.first == "boosted":
            return UnitDraw(self.weights).draw(1, random)
        return super().first(random)

    def choose(self, number: int, random: torch.Generator) -> Tensor:
        if self.options.draw == "nearest":
            return super().choose(number, random)
        first, classes = self.first(random), len(self.index)
        others = torch.cat([torch.arange(int(first)), torch.arange(int(first) + 1, classes)])
        if isinstance(self.pair_weights, PartnerWeights):
            weights = self.pair_weights.table(first)[0, others]
        else:
            weights = self.pair_weights[pair_index(first, others, classes)]
        weights = weights.clamp_min(torch.finfo(weights.dtype).tiny)  # 0: only where nothing else is left
        return torch.cat([first, others[UnitDraw(weights).draw(self.shape.way - 1, random)]])

    def chosen(self, number: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.image_weights is None:
            return super().chosen(number, random)
        classes = self.choose(number, random)
        return classes, self.image_weights.draw(classes, self.shape.shot, self.shape.queries, random)


def heaviest_partners(weights: Tensor, classes: int, count: int) -> Tensor:
    """(C, count) int64: the classes with which each class has its heaviest pairs, heaviest first.

    `weights` (C(C-1)/2,) are those of the pairs, in the order of `mtl.episodes.pairs`.
    """
    table = symmetric(weights, classes, diagonal=-torch.inf)  # a class is no partner of its own
    return torch.cat([rows.topk(count).indices for rows in torch.split(table, _ROWS)])
