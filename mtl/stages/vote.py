"""Networks of several rounds that vote, as AdaBoost's learners do."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mtl.config import Config
from mtl.data import ImageSet
from mtl.episodes.types import EpisodeBatch, Outcome
from mtl.learners.types import Learner
from mtl.runtime.devices import Device
from mtl.stages.solving import Pictures, chunks, features_of
from mtl.stages.trained import learner_from_pretrained

_TINY = 1e-30  # probabilities so small count as this


def voters(
    meta: Mapping[str, Any], pretrained: Mapping[str, Any], config: Config, train: ImageSet, device: Device
) -> tuple[list[Learner], list[float]]:
    """The learners that meta-training kept of its last rounds, and the α of each; none where it kept none."""
    learners, alphas = [], []
    for kept in meta.get("snapshots", ()):
        learner = learner_from_pretrained(pretrained, config, train, device)
        learner.load_state_dict(kept["learner"])
        learners.append(learner)
        alphas.append(float(kept["alpha"]))
    return learners, alphas


@torch.no_grad()
def solve_by_vote(
    learners: Sequence[Learner],
    weights: Sequence[float],
    pictures: Pictures,
    episodes: EpisodeBatch,
    mirror: bool = False,
) -> Outcome:
    """Outcomes of the mean of the learners' probabilities, each counting as `weights` says.

    Probabilities and not the votes of AdaBoost proper: as SAMME.R, which needs fewer learners (Zhu et al.,
    2009).
    """
    wanted, place = torch.unique(episodes.image_indices(), return_inverse=True)
    tables = []
    for learner in learners:
        learner.set_mode(training=False)
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
