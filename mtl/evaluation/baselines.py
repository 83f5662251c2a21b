"""What solves the novel tasks: the meta-trained learner, and the baselines it has to beat."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Config
from mtl.data.variants import PLAIN, Variants, variants_of
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.evaluation.transductive import TRANSDUCTIVE
from mtl.learners.learner import Learner, episode_labels
from mtl.models.heads import logistic, power_transform
from mtl.runtime.devices import Device
from mtl.runtime.world import ALONE, World
from mtl.training.pretrain import cosine_prototypes
from mtl.training.restore import (
    fresh_backbone,
    learner_from_pretrained,
    loaded,
    meta_trained_learner,
    pretrained_backbone,
    voting,
)
from mtl.training.run_data import RunData
from mtl.training.solve import (
    Head,
    SplitImages,
    extract,
    features_of,
    solve_episodes,
    solve_table,
)

_PIXELS = 32  # side to which larger images are averaged for the comparison of pixels


@dataclass(frozen=True)
class Baseline:
    """A name, and a function that solves episodes of the split that is scored."""

    name: str
    solve: Callable[[EpisodeBatch], Outcome]
    table: Tensor | None = None  # (M, D) features of the split's images, where tasks are solved from them
    transductive: bool = False  # sees all queries of a task at once


def baselines(
    config: Config,
    run_data: RunData,
    device: Device,
    pretrained: dict[str, Any],
    meta: dict[str, Any] | None,
) -> list[Baseline]:
    """The learner first (the pretrained backbone, where nothing is meta-trained yet), then the baselines.

    Features of the whole split are computed once for each network and used at every setting.
    """
    train, split, variants = run_data.splits.train, config.evaluate.split, variants_of(config)
    pictures = replace(run_data.split_images(split, device), log=config.log)
    found = []
    if meta is not None:
        learner = meta_trained_learner(meta, pretrained, config, train, device)
        members = meta.get("members", ())
        several = f", {len(members)} learners" if members else ""
        name = f"meta-trained ({config.meta.algorithm}){several}"
        found.append(from_learner(name, learner, pictures, variants))
        start = partial(learner_from_pretrained, pretrained, config, train, device)
        found += votes(meta, start, pictures, variants)
    if meta is None or config.evaluate.baseline:
        table = table_of(pretrained_backbone(pretrained, config, train), pictures, device, variants)
        table = power_transform(table, config.meta.head.power)
        found.append(from_table("pretrained, cosine prototypes", cosine_prototypes, table, device.world))
        logistic_head = logistic_on_unit_features
        found.append(from_table("pretrained, logistic regression", logistic_head, table, device.world))
    if config.evaluate.baseline:
        table = table_of(fresh_backbone(config, train), pictures, device, variants)
        found.append(from_table("untrained, cosine prototypes", cosine_prototypes, table, device.world))
        found.append(from_table("nearest pixels", nearest_neighbour, pixels(pictures), device.world))
    if (learned := found[0].table) is not None:
        for key in config.evaluate.transductive:
            name, head = TRANSDUCTIVE[key]
            found.append(replace(from_table(name, head, learned, device.world), transductive=True))
    return found


def votes(
    meta: Mapping[str, Any], start: Callable[[], Learner], pictures: SplitImages, variants: Variants = PLAIN
) -> list[Baseline]:
    """What votes beside the learner: networks of the last rounds, if kept; several learners without their α.

    Args:
        meta: what meta.pt holds.
        start: the learner without meta-training.
        pictures: of the split that is scored.
        variants: of each image, whose features are averaged.
    """
    snapshots, members, found = meta.get("snapshots", ()), meta.get("members", ()), []
    rounds = f"vote of {len(snapshots)} rounds"
    if any(one["alpha"] for one in snapshots):
        found.append(from_learner(f"{rounds}, by α", voting(snapshots, start), pictures, variants))
    if snapshots:
        committee = voting(snapshots, start, by_alpha=False)
        found.append(from_learner(f"{rounds}, each alike", committee, pictures, variants))
    if any(one["alpha"] for one in members):  # else the learners vote alike as it is
        committee = voting(members, start, by_alpha=False)
        name = f"vote of {len(members)} learners, each alike"
        found.append(from_learner(name, committee, pictures, variants))
    if members:
        found.append(from_learner("first learner alone", loaded(members[0], start), pictures, variants))
    return found


def table_of(
    backbone: nn.Module, pictures: SplitImages, device: Device, variants: Variants = PLAIN
) -> Tensor:
    """Features (M, D) of every image of a split."""
    device.place(backbone).eval()
    everything, forward = torch.arange(len(pictures.images)), partial(device.forward, backbone)
    return extract(lambda x: variants.features(forward, x), pictures, everything)


def from_table(name: str, head: Head, table: Tensor, world: World = ALONE) -> Baseline:
    """Solves episodes from features (M, D) of every image of the split."""

    def solve(episodes: EpisodeBatch) -> Outcome:
        return solve_table(head, table, episodes.image_indices(), episodes, world)

    return Baseline(name, solve, table)


def from_learner(name: str, learner: Learner, pictures: SplitImages, variants: Variants = PLAIN) -> Baseline:
    """A learner as it is; each image of the split passes the backbone once where features can be cached."""
    if not learner.features_cacheable:
        return Baseline(name, lambda episodes: solve_episodes(learner, pictures, episodes))
    learner.eval()
    table = features_of(learner, pictures, torch.arange(len(pictures.images)), variants)
    return from_table(name, learner.solve_features, table, pictures.world)


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


def pixels(pictures: SplitImages) -> Tensor:
    """(M, values): the images themselves, averaged down to 32×32 where they are larger."""
    images = pictures.images
    if images.shape[-1] <= _PIXELS:
        return images.flatten(1).float() / 255
    return torch.cat(
        [F.adaptive_avg_pool2d(part.float() / 255, _PIXELS).flatten(1) for part in torch.split(images, 1024)]
    )
