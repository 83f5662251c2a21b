"""The base learner of a config, with the parameters that meta-training learns for it."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Head
from mtl.models.heads.gradient_descent import gradient_descent
from mtl.models.heads.logistic import logistic, ridge
from mtl.models.heads.prototype import LinearHead, distance_surplus, power_transform, prototypes, shrinkage
from mtl.runtime.seeds import Draws


class BaseLearner(nn.Module):
    """An N-way classifier that adapts to a support set.

    Meta-learned besides the backbone, as the config says: a linear map or a shift of unit features; the
    length that features are scaled to (`log_scale`, if they are normalised or cosines are compared); the
    inner learning rate of gradient descent, and its start; and a temperature for heads whose outputs are not
    logits.

    Args:
        config: which head.
        features: D; or those of each level that a feature concatenates.
        way: N of meta-training; a learned start works only for this N.
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
        elif config.map == "shift":
            self.shift = nn.Parameter(torch.zeros(features))
        if config.init == "learned" and config.name == "gradient_descent":
            self.weight = nn.Parameter(torch.zeros(way, features))
            self.bias = nn.Parameter(torch.zeros(way))

    def forward(self, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        """(T, S, D), (T, S), (T, Q', D) to logits (T, Q', N)."""
        return self.adapt(self.transform_features(support), labels, self.transform_features(query), way)

    def transform_features(self, features: Tensor, random: Draws | None = None) -> Tensor:
        """The transformation of each feature (..., D): once per image, however many episodes it is in.

        With `random`, noise is added as the config says. Base classes are classified too well by directions
        in which they differ little; under noise of the same size in every direction, only those count in
        which they differ much, and novel classes differ in those.
        """
        features = power_transform(features, self.config.power)
        if len(self.sizes) > 1:  # levels of equal length, so that none outweighs the others
            levels = torch.split(features, self.sizes, -1)
            features = torch.cat([F.normalize(level, dim=-1) for level in levels], -1)
        if self.config.map == "linear":
            features = self.map(F.normalize(features, dim=-1))
        elif self.config.map == "shift":
            features = F.normalize(features, dim=-1) - self.shift
        if random is not None and self.config.noise:
            noise = random.normal(features.shape).to(features)
            length = features.norm(dim=-1, keepdim=True)
            features = features + self.config.noise * length * noise / features.shape[-1] ** 0.5
        if self.config.normalise and self.config.name != "prototype":
            return F.normalize(features, dim=-1) * self.log_scale.exp()
        return features

    def adapt(self, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        """Like `forward`, from transformed features."""
        return self.classifier(support, labels, way)(self.transform_queries(query))

    def transform_queries(self, query: Tensor) -> Tensor:
        """What the classifier takes for queries, from transformed features (..., D)."""
        cosine = self.config.name == "prototype" and self.config.metric == "cosine"
        return F.normalize(query, dim=-1) if cosine else query

    def classifier(self, support: Tensor, labels: Tensor, way: int) -> LinearHead:
        """The adapted classifiers of T tasks, from transformed support features (T, S, D) and labels (T, S).

        Classes may have different numbers of images; all are assumed equally likely.
        """
        cfg = self.config
        if cfg.name == "prototype":
            return self._prototype(support, labels, way)
        if cfg.name == "ridge":
            weight, bias = ridge(support, labels, way, cfg.penalty)
            return remove_class_prior(LinearHead(weight * cfg.scale, bias * cfg.scale), labels)
        if cfg.name == "logistic":
            return remove_class_prior(logistic(support, labels, way, cfg.penalty), labels)
        return gradient_descent(
            support,
            labels,
            self._start(support, labels, way),
            steps=cfg.inner_steps,
            lr=self.log_inner_lr.exp(),
            first_order=cfg.order == "first",
        )

    def _prototype(self, support: Tensor, labels: Tensor, way: int) -> LinearHead:
        centres = prototypes(support, labels, way)
        if self.config.metric == "cosine":
            weight = self.log_scale.exp() * F.normalize(centres, dim=-1)
            weight = weight * shrinkage(support, labels, way)[..., None]
            return LinearHead(weight, torch.zeros_like(weight[..., 0]))
        # Distances grow with D; the learned scale starts where they are of order 1. The part of -‖q - c‖²
        # that all classes share is left out.
        scale = self.log_scale.exp() / support.shape[-1]
        distances = centres.square().sum(-1) - distance_surplus(support, labels, way)
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
            more = distance_surplus(support, labels, way) / length
            return centres, -0.5 * centres.square().sum(-1) * length + 0.5 * more
        zeros = torch.zeros(way, support.shape[-1], dtype=support.dtype, device=support.device)
        return zeros, zeros[:, 0]


def remove_class_prior(head: LinearHead, labels: Tensor) -> LinearHead:
    """Makes all classes equally likely a priori, however many support images each has.

    A fit to a loss over images favours the classes with most of them: ln of their shares is subtracted from
    the logits (Menon et al., ICLR 2021, at test time). Nothing changes if all have equally many.
    """
    counts = F.one_hot(labels, head.bias.shape[-1]).sum(-2).to(head.bias.dtype)
    return head._replace(bias=head.bias - (counts / counts.amax(-1, keepdim=True)).log())
