"""Tasks drawn hard by a judge that takes no part: what the pretrained backbone confuses.

Judged by its own confusions, a learner that changed what it confuses would look better or worse than it is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch
from mtl.samplers.weighted_draw import PairDraw

_SCALE = 10.0  # of cosines, as where the pretrained backbone is scored


def pair_confusions(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(C(C−1)/2,) float64, in the order of `mtl.episodes.pairs`: how often each pair is mixed up.

    The mean over both classes' images of the probability of the other class, where the choice is between the
    two centres: σ(scale (cos(x, μ_j) − cos(x, μ_i))) for an image x of class i. An image counts into its own
    class's centre, the same for every pair.

    Args:
        features: (M, D) of the judge, not centred.
        labels: (M,) in 0..C−1; every class has images.
    """
    unit = F.normalize(features.double(), dim=-1)
    count = torch.bincount(labels, minlength=classes)[:, None]
    centres = torch.zeros(classes, unit.shape[1], dtype=torch.float64).index_add_(0, labels, unit)
    centres = F.normalize(centres / count, dim=-1)
    mistaken = torch.zeros(classes, classes, dtype=torch.float64)
    for rows in torch.split(torch.arange(len(unit)), 2048):
        cosine = unit[rows] @ centres.T
        own = cosine.gather(1, labels[rows, None])
        mistaken.index_add_(0, labels[rows], torch.sigmoid(_SCALE * (cosine - own)))
    mistaken /= count
    i, j = torch.triu_indices(classes, classes, 1)
    return (mistaken[i, j] + mistaken[j, i]) / 2


def judged_episodes(
    index: ClassIndex,
    confusions: Tensor,
    way: int,
    shot: int,
    queries: int,
    tasks: int,
    random: torch.Generator,
) -> EpisodeBatch:
    """Tasks whose classes the judge confuses: a pair by its confusion, each further class by the product.

    The class-pair draw of Liu et al. (ECCV 2020), as in boosting; images are drawn uniformly.
    """
    draw = PairDraw(confusions)
    classes = torch.stack([draw.draw(way, random) for _ in range(tasks)])
    images = index.draw_episode(classes.flatten(), shot, queries, random).view(tasks, way, -1)
    return EpisodeBatch.of(classes, images, shot, "judged")
