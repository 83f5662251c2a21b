"""Who answers the novel tasks: the meta-trained learner, and what it has to beat, on the same tasks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Config
from mtl.episodes.types import EpisodeBatch, Outcome
from mtl.learners.types import Learner, episode_labels
from mtl.models.heads import logistic, power_transform
from mtl.runtime.devices import Device
from mtl.stages.material import Material
from mtl.stages.pretrain import cosine_prototypes
from mtl.stages.solving import Head, Pictures, extract, features_of, solve_episodes, solve_table
from mtl.stages.trained import fresh_backbone, meta_trained_learner, pretrained_backbone
from mtl.stages.vote import solve_by_vote, voters

_PIXELS = 32  # side to which images are averaged for the comparison of pixels, where they are larger


@dataclass(frozen=True)
class Contender:
    """A name, and how it answers episodes of the split that is scored."""

    name: str
    solve: Callable[[EpisodeBatch], Outcome]


def contenders(
    config: Config,
    material: Material,
    device: Device,
    pretrained: dict[str, Any],
    meta: dict[str, Any] | None,
) -> list[Contender]:
    """The learner first (the pretrained backbone, where nothing is meta-trained yet), then the baselines.

    Features of the whole split are computed once for each network, and serve every setting.
    """
    train, split, mirror = material.splits.train, config.evaluate.split, config.evaluate.mirror
    pictures = material.pictures(split, device)
    found = []
    if meta is not None:
        learner = meta_trained_learner(meta, pretrained, config, train, device)
        name = f"meta-trained ({config.meta.algorithm})"
        found.append(from_learner(name, learner, pictures, mirror))
        found += votes(*voters(meta, pretrained, config, train, device), pictures, mirror)
    if meta is None or config.evaluate.baseline:
        table = table_of(pretrained_backbone(pretrained, config, train), material, split, device, mirror)
        table = power_transform(table, config.meta.head.power)
        found.append(from_table("pretrained, cosine prototypes", cosine_prototypes, table))
        found.append(from_table("pretrained, logistic regression", logistic_on_unit_features, table))
    if config.evaluate.baseline:
        table = table_of(fresh_backbone(config, train), material, split, device, mirror)
        found.append(from_table("untrained, cosine prototypes", cosine_prototypes, table))
        found.append(from_table("nearest pixels", nearest_neighbour, pixels(pictures)))
    return found


def votes(
    learners: Sequence[Learner], alphas: Sequence[float], pictures: Pictures, mirror: bool = False
) -> list[Contender]:
    """The vote of the kept networks: by α where the rounds had one, and each alike."""
    if not learners:
        return []
    alike = [1.0] * len(learners)
    kinds = {"by α": alphas} if sum(alphas) > 0 else {}
    return [
        Contender(
            f"vote of {len(learners)} rounds, {kind}",
            partial(solve_by_vote, learners, w, pictures, mirror=mirror),
        )
        for kind, w in {**kinds, "each alike": alike}.items()
    ]


def table_of(
    backbone: nn.Module, material: Material, split: str, device: Device, mirror: bool = False
) -> Tensor:
    """Features (M, D) of every image of a split, by a network as it stands."""
    device.place(backbone).eval()
    pictures = material.pictures(split, device)
    everything = torch.arange(len(pictures.images))
    return extract(lambda x: device.forward(backbone, x, mirror), pictures, everything)


def from_table(name: str, head: Head, table: Tensor) -> Contender:
    """Answers from features (M, D) of every image of the split."""
    return Contender(name, lambda episodes: solve_table(head, table, episodes.image_indices(), episodes))


def from_learner(name: str, learner: Learner, pictures: Pictures, mirror: bool = False) -> Contender:
    """Answers of a learner, which sees each image of the split once where it allows that."""
    if not learner.cacheable:
        return Contender(name, lambda episodes: solve_episodes(learner, pictures, episodes))
    learner.set_mode(training=False)
    table = features_of(learner, pictures, torch.arange(len(pictures.images)), mirror)
    return from_table(name, learner.solve_features, table)


def logistic_on_unit_features(features: Tensor, way: int, shot: int) -> Tensor:
    """Logits (T, N·Q, N) of logistic regression on features of length 1, penalty ½‖W‖².

    A plain baseline that many meta-learning methods do not beat (Tian et al., ECCV 2020).
    """
    features = F.normalize(features, dim=-1)
    labels = episode_labels(len(features), way, shot, features.device)
    head = logistic(features[:, : way * shot], labels, way, penalty=1.0)
    return head(features[:, way * shot :])


def nearest_neighbour(features: Tensor, way: int, shot: int) -> Tensor:
    """(T, N·Q, N): minus the Euclidean distance to the nearest support image of each class."""
    distance = torch.cdist(features[:, way * shot :], features[:, : way * shot])
    return -distance.view(*distance.shape[:-1], way, shot).amin(-1)


def pixels(pictures: Pictures) -> Tensor:
    """(M, values): the images themselves, averaged down to 32×32 where they are larger."""
    images = pictures.images
    if images.shape[-1] <= _PIXELS:
        return images.flatten(1).float() / 255
    return torch.cat(
        [F.adaptive_avg_pool2d(part.float() / 255, _PIXELS).flatten(1) for part in torch.split(images, 1024)]
    )
