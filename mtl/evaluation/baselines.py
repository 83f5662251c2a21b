"""What solves the novel tasks: the meta-trained learner, and the baselines it has to beat."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl.config import Config
from mtl.data import ImageSet
from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.learners.learner import Learner, episode_labels
from mtl.models.heads import logistic, power_transform
from mtl.runtime.devices import Device
from mtl.training.pretrain import cosine_prototypes
from mtl.training.restore import (
    fresh_backbone,
    learner_from_pretrained,
    meta_trained_learner,
    pretrained_backbone,
)
from mtl.training.run_data import RunData
from mtl.training.solve import (
    Head,
    SplitImages,
    chunks,
    extract,
    features_of,
    solve_episodes,
    solve_table,
)

_PIXELS = 32  # side to which larger images are averaged for the comparison of pixels
_TINY = 1e-30  # smaller probabilities count as this


@dataclass(frozen=True)
class Baseline:
    """A name, and a function that solves episodes of the split that is scored."""

    name: str
    solve: Callable[[EpisodeBatch], Outcome]


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
    train, split, mirror = run_data.splits.train, config.evaluate.split, config.evaluate.mirror
    pictures = run_data.split_images(split, device)
    found = []
    if meta is not None:
        learner = meta_trained_learner(meta, pretrained, config, train, device)
        name = f"meta-trained ({config.meta.algorithm})"
        found.append(from_learner(name, learner, pictures, mirror))
        found += votes(*voters(meta, pretrained, config, train, device), pictures, mirror)
    if meta is None or config.evaluate.baseline:
        table = table_of(pretrained_backbone(pretrained, config, train), run_data, split, device, mirror)
        table = power_transform(table, config.meta.head.power)
        found.append(from_table("pretrained, cosine prototypes", cosine_prototypes, table))
        found.append(from_table("pretrained, logistic regression", logistic_on_unit_features, table))
    if config.evaluate.baseline:
        table = table_of(fresh_backbone(config, train), run_data, split, device, mirror)
        found.append(from_table("untrained, cosine prototypes", cosine_prototypes, table))
        found.append(from_table("nearest pixels", nearest_neighbour, pixels(pictures)))
    return found


def votes(
    learners: Sequence[Learner], alphas: Sequence[float], pictures: SplitImages, mirror: bool = False
) -> list[Baseline]:
    """The vote of the kept networks: by α where the rounds had one, and with equal weights."""
    if not learners:
        return []
    kinds = {"by α": alphas} if sum(alphas) > 0 else {}
    kinds["each alike"] = [1.0] * len(learners)
    return [
        Baseline(
            f"vote of {len(learners)} rounds, {kind}",
            partial(solve_by_vote, learners, weights, pictures, mirror=mirror),
        )
        for kind, weights in kinds.items()
    ]


def table_of(
    backbone: nn.Module, run_data: RunData, split: str, device: Device, mirror: bool = False
) -> Tensor:
    """Features (M, D) of every image of a split."""
    device.place(backbone).eval()
    pictures = run_data.split_images(split, device)
    everything = torch.arange(len(pictures.images))
    return extract(lambda x: device.forward(backbone, x, mirror), pictures, everything)


def from_table(name: str, head: Head, table: Tensor) -> Baseline:
    """Solves episodes from features (M, D) of every image of the split."""
    return Baseline(name, lambda episodes: solve_table(head, table, episodes.image_indices(), episodes))


def from_learner(name: str, learner: Learner, pictures: SplitImages, mirror: bool = False) -> Baseline:
    """A learner as it is; each image of the split passes the backbone once where features can be cached."""
    if not learner.features_cacheable:
        return Baseline(name, lambda episodes: solve_episodes(learner, pictures, episodes))
    learner.eval()
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


def pixels(pictures: SplitImages) -> Tensor:
    """(M, values): the images themselves, averaged down to 32×32 where they are larger."""
    images = pictures.images
    if images.shape[-1] <= _PIXELS:
        return images.flatten(1).float() / 255
    return torch.cat(
        [F.adaptive_avg_pool2d(part.float() / 255, _PIXELS).flatten(1) for part in torch.split(images, 1024)]
    )


def voters(
    meta: Mapping[str, Any], pretrained: Mapping[str, Any], config: Config, train: ImageSet, device: Device
) -> tuple[list[Learner], list[float]]:
    """The learners that meta-training kept of its last rounds, if any, and the α of each."""
    learners, alphas = [], []
    for snapshot in meta.get("snapshots", ()):
        learner = learner_from_pretrained(pretrained, config, train, device)
        learner.load_state_dict(snapshot["learner"])
        learners.append(learner)
        alphas.append(float(snapshot["alpha"]))
    return learners, alphas


@torch.no_grad()
def solve_by_vote(
    learners: Sequence[Learner],
    weights: Sequence[float],
    pictures: SplitImages,
    episodes: EpisodeBatch,
    mirror: bool = False,
) -> Outcome:
    """Outcomes of the mean of the learners' probabilities, weighted by `weights`.

    Probabilities, not the votes of AdaBoost proper: as in SAMME.R, which needs fewer learners (Zhu et al.,
    2009).
    """
    wanted, place = torch.unique(episodes.image_indices(), return_inverse=True)
    tables = []
    for learner in learners:
        learner.eval()
        tables.append(features_of(learner, pictures, wanted, mirror))
    total, parts = sum(weights), []
    for rows in chunks(place, tables[0]):
        mean = sum(
            w / total * learner.solve_features(table[rows], episodes.way, episodes.shot).softmax(-1)
            for w, learner, table in zip(weights, learners, tables, strict=True)
        )
        assert isinstance(mean, torch.Tensor)  # there is at least one learner
        parts.append(Outcome.of(mean.clamp_min(_TINY).log(), episodes.way, episodes.queries))
    return Outcome.concatenate(parts)
