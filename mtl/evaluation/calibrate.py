"""Calibrating a run's network: temperatures from its validation tasks.

Classifiers of a person's own images begin with them (mtl/own_images/leave_one_out.py).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mtl.config import Config
from mtl.data.variants import variants_of
from mtl.episodes.categories import CategoriesSampler, grouped_episodes, large_groups
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape
from mtl.learners.learner import Learner
from mtl.models.classifiers import negative_log_likelihoods
from mtl.runtime.devices import Device
from mtl.runtime.outputs import replace_text
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import derive_seed, generator
from mtl.training.restore import learner_from_pretrained, meta_trained_learner
from mtl.training.run_data import RunData
from mtl.training.solve import features_of, shared_out

SHOTS = (1, 2, 5, 10, 20)
_WAY = 5  # temperatures do not depend on it
_TASKS, _QUERIES = 200, 15
_AT_ONCE = 20  # tasks
_IMAGES = 40  # of a class that pass the backbone
_REACH = 4.0  # of ln T; there is a normal prior of deviation 1, or an answer without error would have T = 0


def calibrate(
    config: Config,
    run_data: RunData,
    device: Device,
    pretrained: Mapping[str, Any],
    meta: Mapping[str, Any] | None,
) -> dict[int, float]:
    """Writes calibration.json into the run's folder; nothing where its learner cannot classify own images.

    The network is the one that prediction uses: the meta-trained one, or the pretrained one where `meta`, the
    checkpoint of meta-training, is None. It is the same at every call.

    Returns:
        The temperature for each number of shots that validation classes have images for.
    """
    if config.meta.algorithm != "mtl" or config.meta.batch_norm == "episode":
        return {}
    train = run_data.splits.train
    if meta is None:
        learner = learner_from_pretrained(pretrained, config, train, device)
    else:
        learner = meta_trained_learner(meta, pretrained, config, train, device)
    found = temperatures(config, run_data, device, learner)
    tree = {"temperatures": found, "network": "pretrained" if meta is None else "meta-trained"}
    replace_text(RunFolder.of(config).calibration, json.dumps(tree, indent=1) + "\n")
    return found


def temperatures(config: Config, run_data: RunData, device: Device, learner: Learner) -> dict[int, float]:
    """The temperature of 200 validation tasks for each number of shots, to four digits."""
    images, head = run_data.splits.val, config.meta.head
    rows = some_of_each(images.labels, _IMAGES, generator(config.seed, "calibrate images"))
    learner.eval()
    pictures = replace(run_data.split_images("val", device), log=config.log)
    table = features_of(learner, pictures, rows, variants_of(config))
    learned = head.name == "gradient_descent" and head.init == "learned"  # serves one number of classes
    way = config.meta.way if learned else min(_WAY, config.meta.way)
    groups, found = images.group_ids(), {}
    for shot in SHOTS:
        stream = derive_seed(config.seed, "calibrate", shot)
        index = ClassIndex.of(images.labels, rows, groups)
        episodes = validation_tasks(index, images.domains, way, shot, stream)
        if episodes is not None:
            logits = _logits(learner, table, rows, episodes)
            labels = episodes.labels(episodes.queries).flatten()
            found[shot] = round(best_temperature(logits.flatten(0, 1), labels), 4)
    return found


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that makes the right classes (n,) of logits (n, N) most probable."""
    from scipy.optimize import minimize_scalar

    def cost(log: float) -> float:
        return float(negative_log_likelihoods(logits, labels, math.exp(log)).sum()) + 0.5 * log * log

    return math.exp(float(minimize_scalar(cost, bounds=(-_REACH, _REACH), method="bounded").x))


def some_of_each(labels: Tensor, most: int, random: torch.Generator) -> Tensor:
    """Image indices, ascending: of each class at most `most`, drawn at random."""
    order = torch.randperm(len(labels), generator=random)
    order = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    rank = torch.arange(len(order)) - (counts.cumsum(0) - counts)[labels[order]]
    return order[rank < most].sort().values


def validation_tasks(
    index: ClassIndex, domains: Sequence[str] | None, way: int, shot: int, stream: int
) -> EpisodeBatch | None:
    """Tasks of the classes that have a query beside their shots; None where these are too few."""
    keep = (index.most_queries(shot) > 0).nonzero().flatten()
    if len(keep) < way:
        return None
    enough = index.select(keep)
    shape = EpisodeShape(way, shot, min(_QUERIES, int(enough.most_queries(shot).min())))
    if domains is None:
        return CategoriesSampler.of(enough, shape, stream).draw(_TASKS)
    of_each = [domains[c] for c in keep.tolist()]
    if not large_groups(of_each, way):
        return None
    return grouped_episodes(enough, of_each, shape, _TASKS, stream)


@torch.no_grad()
def _logits(learner: Learner, table: Tensor, rows: Tensor, episodes: EpisodeBatch) -> Tensor:
    """(T, N·Q, N) on the CPU, from features (R, D) of the images `rows`; processes share the tasks."""

    def solve(place: Tensor) -> Tensor:
        return learner.solve_features(table[place], episodes.way, episodes.shot).float().cpu()

    place = torch.searchsorted(rows, episodes.image_indices()).to(table.device)
    return shared_out(solve, place, _AT_ONCE, learner.device.world)
