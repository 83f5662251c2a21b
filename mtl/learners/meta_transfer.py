"""Meta-transfer learning: scaling and shifting on a pretrained backbone, and a base learner in each episode.

Sun et al., "Meta-Transfer Learning for Few-Shot Learning", CVPR 2019.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from mtl.config import Meta
from mtl.data.variants import PLAIN, Variants
from mtl.learners.learner import Learner, episode_labels
from mtl.models.batch_norm import norms, share_statistics
from mtl.models.heads import BaseLearner
from mtl.models.scale_shift import add_scale_shift, scale_shift_parameters
from mtl.runtime.devices import Device


class MetaTransfer(Learner):
    """One backbone pass for the whole meta-batch, then the base learner of all its tasks at once.

    `meta.train` names what learns: "ss" (scaling and shifting, SS, which the backbone then gets), "ss_affine"
    (batch norm's scales and shifts as well), "all" (every weight, no SS) or "head" (nothing in the backbone).
    The base learner's parameters always learn.
    """

    def __init__(self, backbone: nn.Module, config: Meta, device: Device) -> None:
        super().__init__(config, device)
        self.features_cacheable = config.batch_norm != "episode"
        self.backbone_frozen = config.train == "head" and config.batch_norm == "frozen"
        features: Sequence[int] = [int(backbone.out_features)]  # type: ignore[arg-type]
        if config.head.levels > 1:
            backbone.levels = config.head.levels  # type: ignore[assignment]
            features = backbone.level_features[: config.head.levels]  # type: ignore[index, assignment]
        self.backbone = backbone.requires_grad_(config.train == "all")
        if config.train in {"ss", "ss_affine"}:
            add_scale_shift(self.backbone)
        self.base_learner = BaseLearner(config.head, features, config.way)
        if config.batch_norm == "update":
            share_statistics(self.backbone, device.world)
        device.place(self)

    def meta_parameters(self) -> list[nn.Parameter]:
        learned = list(self.base_learner.parameters())
        if self.config.train == "head":
            return learned
        if self.config.train == "all":
            return [*self.backbone.parameters(), *learned]
        learned = [*scale_shift_parameters(self.backbone), *learned]
        if self.config.train == "ss_affine":
            affine = [p for norm in norms(self.backbone) for p in norm.parameters()]
            learned = [*affine, *learned]
        for parameter in learned:
            parameter.requires_grad_()
        return learned

    def features(self, images: Tensor, variants: Variants = PLAIN) -> Tensor:
        return self.transform_features(variants.features(partial(self.device.forward, self.backbone), images))

    def backbone_features(self, images: Tensor) -> Tensor:
        return self.device.forward(self.backbone, images)

    def transform_features(self, features: Tensor) -> Tensor:
        return self.base_learner.transform_features(features, self.noise)

    def solve_features(self, features: Tensor, way: int, shot: int) -> Tensor:
        support, query = features[:, : way * shot], features[:, way * shot :]
        labels = episode_labels(len(features), way, shot, features.device)
        return self.base_learner.adapt(support, labels, query, way)

    def solve_each(self, images: Tensor, way: int, shot: int) -> Tensor:
        return self.solve_features(torch.stack([self.features(task) for task in images]), way, shot)
