"""The base learner of a config, with the parameters that meta-training learns for it."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Head
from mtl.models.heads.gradient_descent import gradient_descent
from mtl.models.heads.logistic import logistic, ridge
from mtl.models.heads.prototype import LinearHead, power_transform, prototypes, shrinkage, surplus


class BaseLearner(nn.Module):
    """An N-way classifier that adapts to a support set.

    Meta-learned beside the backbone: a linear map of unit features, where the config asks for it; the length
    that features are brought to (`log_scale`, where the config normalises them or compares cosines); the
    inner rate of gradient descent, its start where the config says `learned`; and a temperature for heads
    whose outputs are no logits.

    Args:
        config: which head.
        features: D; or those of each level that a feature is made of, one behind the other.
        way: N of meta-training; a learned start serves this N alone.
    """

    def __init__(self, config: Head, features: int | Sequence[int], way: int) -> None:
        super().__init__()
        self.config = config
        self.sizes = [features] if isinstance(features, int) else list(features)
        features = sum(self.sizes)
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.scale)))
        self.log_inner_lr = nn.Parameter(torch.tensor(math.log(config.inner_lr)))
        if config.map == "linear":
            self.map = nn.Linear(features, features)
            nn.init.eye_(self.map.weight)
            nn.init.zeros_(self.map.bias)
        if config.init == "learned" and config.name == "gradient_descent":
            self.weight = nn.Parameter(torch.zeros(way, features))
            self.bias = nn.Parameter(torch.zeros(way))

    def forward(self, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        """(T, S, D), (T, S), (T, Q', D) to logits (T, Q', N)."""
        return self.adapt(self.transform_features(support), labels, self.transform_features(query), way)

    def transform_features(self, features: Tensor, random: torch.Generator | None = None) -> Tensor:
        """What is done to each feature (..., D) on its own: once an image, in however many episodes it is.

        With `random`, noise is added as the config says. Base classes are answered too well by directions
        that tell them apart by little; under noise of one size in every direction only those count that
        differ by much, and those are what novel classes differ by.
        """
        features = power_transform(features, self.config.power)
        if len(self.sizes) > 1:  # levels of one length, so that none drowns the others
            levels = torch.split(features, self.sizes, -1)
            features = torch.cat([F.normalize(level, dim=-1) for level in levels], -1)
        if self.config.map == "linear":
            features = self.map(F.normalize(features, dim=-1))
        if random is not None and self.config.noise:
            noise = torch.randn(features.shape, generator=random).to(features)
            length = features.norm(dim=-1, keepdim=True)
            features = features + self.config.noise * length * noise / features.shape[-1] ** 0.5
        if self.config.normalise and self.config.name != "prototype":
            return F.normalize(features, dim=-1) * self.log_scale.exp()
        return features

    def adapt(self, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        """Like `forward`, from embedded features."""
        return self.classifier(support, labels, way)(self.transform_queries(query))

    def transform_queries(self, query: Tensor) -> Tensor:
        """Embedded features (..., D) as the classifier takes those of queries."""
        cosine = self.config.name == "prototype" and self.config.metric == "cosine"
        return F.normalize(query, dim=-1) if cosine else query

    def classifier(self, support: Tensor, labels: Tensor, way: int) -> LinearHead:
        """The adapted classifiers of T tasks, from embedded support features (T, S, D) and labels (T, S).

        Classes may have different numbers of images; all are taken to be equally likely.
        """
        how = self.config
        if how.name == "prototype":
            return self._prototype(support, labels, way)
        if how.name == "ridge":
            weight, bias = ridge(support, labels, way, how.penalty)
            return remove_class_prior(LinearHead(weight * how.scale, bias * how.scale), labels)
        if how.name == "logistic":
            return remove_class_prior(logistic(support, labels, way, how.penalty), labels)
        return gradient_descent(
            support,
            labels,
            self._start(support, labels, way),
            steps=how.inner_steps,
            lr=self.log_inner_lr.exp(),
            first_order=how.order == "first",
        )

    def _prototype(self, support: Tensor, labels: Tensor, way: int) -> LinearHead:
        centres = prototypes(support, labels, way)
        if self.config.metric == "cosine":
            weight = self.log_scale.exp() * F.normalize(centres, dim=-1)
            weight = weight * shrinkage(support, labels, way)[..., None]
            return LinearHead(weight, torch.zeros_like(weight[..., 0]))
        # Distances grow with D; the learned scale starts where they are of order 1. Of -‖q - c‖² the part
        # that all classes share is left out.
        scale = self.log_scale.exp() / support.shape[-1]
        distances = centres.square().sum(-1) - surplus(support, labels, way)
        return LinearHead(2 * scale * centres, -scale * distances)

    def _start(self, support: Tensor, labels: Tensor, way: int) -> tuple[Tensor, Tensor]:
        if self.config.init == "learned":
            if way != len(self.bias):
                raise ValueError(f"the learned start serves {len(self.bias)} ways, not {way}")
            return self.weight, self.bias
        if self.config.init == "prototype":
            # Minus half the squared distance to a prototype is linear in the query (Triantafillou et al.,
            # ICLR 2020), here divided by the feature's length so that logits stay of its order.
            length = self.log_scale.exp()
            centres = prototypes(support, labels, way) / length
            more = surplus(support, labels, way) / length
            return centres, -0.5 * centres.square().sum(-1) * length + 0.5 * more
        zeros = torch.zeros(way, support.shape[-1], dtype=support.dtype, device=support.device)
        return zeros, zeros[:, 0]


def remove_class_prior(head: LinearHead, labels: Tensor) -> LinearHead:
    """Classes as likely before as after seeing how many support images each has.

    What is fitted to a loss over images favours the classes with most of them: ln of their shares is taken
    off the logits (Menon et al., ICLR 2021, at test time). Nothing at all where all have as many.
    """
    counts = F.one_hot(labels, head.bias.shape[-1]).sum(-2).to(head.bias.dtype)
    return head._replace(bias=head.bias - (counts / counts.amax(-1, keepdim=True)).log())
