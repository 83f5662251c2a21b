"""Learners that vote, as AdaBoost's do: one network beside the other, and the sum of their logits.

SAMME.R adds up the logarithms of what each learner gives as probabilities (Zhu, Zou, Rosset and Hastie,
"Multi-class AdaBoost", 2009). For linear classifiers this sum is a linear classifier of all features beside
each other, so that a committee can be stored, exported and used wherever a single learner can.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mtl.learners.learner import Learner
from mtl.learners.meta_transfer import MetaTransfer
from mtl.models.heads import BaseLearner, LinearHead
from mtl.runtime.seeds import Draws


class Committee(MetaTransfer):
    """Learners of one config that vote.

    Args:
        members: R of them. Where their backbones are frozen they share that of the first.
        weights: of their votes; not negative, and not all 0.
    """

    def __init__(self, members: Sequence[MetaTransfer], weights: Sequence[float]) -> None:
        first = members[0]
        Learner.__init__(self, first.config, first.device)
        self.features_cacheable, self.backbone_frozen = first.features_cacheable, first.backbone_frozen
        self.backbone = first.backbone if first.backbone_frozen else Beside([m.backbone for m in members])
        self.base_learner = VotingHeads([m.base_learner for m in members], weights, first.backbone_frozen)
        first.device.place(self)


class Beside(nn.Module):
    """Backbones beside each other: (B, C, H, W) to their features in a row, (B, D_1 + ... + D_R)."""

    def __init__(self, backbones: Sequence[nn.Module]) -> None:
        super().__init__()
        self.backbones = nn.ModuleList(backbones)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([backbone(images) for backbone in self.backbones], -1)


class VotingHeads(BaseLearner):
    """Base learners that vote: the weighted mean of their logits, from their features in a row.

    Args:
        heads: R of them.
        weights: of their votes; not negative, and not all 0.
        shared: all read the same feature, instead of one each.
    """

    votes: Tensor  # (R,) sum 1

    def __init__(self, heads: Sequence[BaseLearner], weights: Sequence[float], shared: bool) -> None:
        nn.Module.__init__(self)
        self.config, self.shared = heads[0].config, shared
        self.sizes = [sum(head.sizes) for head in heads]  # of the transformed features
        self.heads = nn.ModuleList(heads)
        votes = torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("votes", votes / votes.sum())

    def transform_features(self, features: Tensor, random: Draws | None = None) -> Tensor:
        parts = [features] * len(self.sizes) if self.shared else torch.split(features, self.sizes, -1)
        pairs = zip(self._heads(), parts, strict=True)
        return torch.cat([head.transform_features(part, random) for head, part in pairs], -1)

    def transform_queries(self, query: Tensor) -> Tensor:
        pairs = zip(self._heads(), torch.split(query, self.sizes, -1), strict=True)
        return torch.cat([head.transform_queries(part) for head, part in pairs], -1)

    def classifier(self, support: Tensor, labels: Tensor, way: int) -> LinearHead:
        pairs = zip(self._heads(), torch.split(support, self.sizes, -1), strict=True)
        each = [head.classifier(part, labels, way) for head, part in pairs]
        weight = torch.cat([vote * one.weight for vote, one in zip(self.votes, each, strict=True)], -1)
        bias = torch.stack([vote * one.bias for vote, one in zip(self.votes, each, strict=True)]).sum(0)
        return LinearHead(weight, bias)

    def _heads(self) -> Iterator[BaseLearner]:
        for head in self.heads:
            assert isinstance(head, BaseLearner)
            yield head
