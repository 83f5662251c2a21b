"""The measures of a comparison, for many weightings of the tasks at once; and the tasks drawn hard.

A weighting says how often each task counts. All ones is the tasks as they are; how often each comes when they
are drawn with replacement is a resample of the bootstrap (Efron, 1979). The measure of a weighting equals
that of tasks repeated as often as they count, so that point estimates and resamples share one definition.

Those are drawn by a judge that takes no part in the comparison: by what the pretrained backbone confuses.
Judged by its own confusions, a learner that changed what it confuses would look better or worse than it is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch
from mtl.evaluation.task_answers import Answers
from mtl.samplers.weighted_draw import PairDraw
from mtl.stats import FIFTH as SHARE
from mtl.stats import mid_quantile

ACCURACY = "accuracy"
FIFTH = "5th percentile"
WORST_CLASS = "worst class"
WORST_TENTH = "worst tenth of classes"
HARD = "tasks drawn hard"
#: In the order of tables.
MEASURES = (ACCURACY, FIFTH, WORST_CLASS, WORST_TENTH, HARD)

_SCALE = 10.0  # of the judge's cosines, as where the pretrained backbone is scored


def measure(answers: Answers, tasks: Tensor, judged: Tensor) -> dict[str, Tensor]:
    """Every measure for B weightings.

    Args:
        tasks: (B, T) float64, how often each task counts; no row is all 0.
        judged: (B, J) float64, the same for the tasks drawn hard.

    Returns:
        By the names in `MEASURES`, (B,) float64 in [0, 1]. `HARD` is nan where J = 0.
    """
    right, columns = answers.right, tasks.t().contiguous()  # rows of B numbers: the product reads along them
    counts = _sums(right.sum(1, keepdim=True), torch.ones_like(right[:, :1]), columns)
    values = torch.arange(len(counts), dtype=torch.float64) / (right.shape[1] * answers.queries)
    halves = (torch.arange(len(columns)) % 2)[:, None]
    even, odd = (
        class_recall(answers.classes, right, answers.queries, columns * (halves == h)) for h in (0, 1)
    )
    tenth = ((even.isfinite() | odd.isfinite()).sum(0) + 9) // 10
    return {
        ACCURACY: values @ counts / counts.sum(0),
        FIFTH: mid_quantile(values, counts, SHARE),
        WORST_CLASS: worst(even, odd, torch.ones_like(tenth)),
        WORST_TENTH: worst(even, odd, tenth),
        HARD: judged @ answers.judged.double() / judged.sum(1),
    }


def _sums(keys: Tensor, values: Tensor, columns: Tensor) -> Tensor:
    """(K, B): the sums of `values` (T, n) by their keys (T, n) in 0..K-1, under the weights (T, B).

    The product is sparse: of the K columns of a dense matrix a task would fill n.
    """
    rows = torch.arange(len(keys))[:, None].expand_as(keys)
    place = torch.stack([keys.flatten(), rows.flatten()])
    shape = (int(keys.max()) + 1, len(keys))
    matrix = torch.sparse_coo_tensor(place, values.flatten().double(), shape, check_invariants=False)
    summed: Tensor = torch.sparse.mm(matrix, columns)
    return summed


def class_recall(classes: Tensor, right: Tensor, queries: int, columns: Tensor) -> Tensor:
    """(C, B): the share of each class's queries classified correctly, over all its weighted tasks.

    C is the highest id in `classes` (T, N), plus one. A class that a weighting never shows is inf: it sorts
    behind all others, and a minimum skips it.
    """
    total = queries * _sums(classes, torch.ones_like(right), columns)
    return torch.where(total > 0, _sums(classes, right, columns) / total, torch.inf)


def worst(even: Tensor, odd: Tensor, count: Tensor) -> Tensor:
    """(B,): the mean recall, in one half of the tasks, of the `count` classes that were worst in the other.

    The lowest of many recalls is low partly by bad luck; on the tasks that it was picked on, it would flatter
    an arm whose recalls vary less. Both halves pick and measure in turn. Classes that the measuring half
    never shows are left out; nan where that leaves none.

    Args:
        even, odd: (C, B) recalls of each class in the two halves; inf where a half does not show it.
        count: (B,).
    """
    found = []
    for picked, measured in ((even, odd), (odd, even)):
        lowest = picked.sort(dim=0, stable=True)
        values = measured.gather(0, lowest.indices)
        known = lowest.values.isfinite() & values.isfinite()
        inside = (torch.arange(len(values))[:, None] < count) & known
        found.append(torch.where(inside, values, 0.0).sum(0) / inside.sum(0))
    return torch.stack(found).nanmean(0)


def resamples(count: int, tasks: int, random: torch.Generator) -> Tensor:
    """(count, tasks) float64: how often each task comes in `tasks` draws with replacement, `count` times."""
    drawn = torch.randint(max(tasks, 1), (count, tasks), generator=random)
    ones = torch.ones(1, 1, dtype=torch.float64).expand(count, tasks)
    return torch.zeros(count, tasks, dtype=torch.float64).scatter_add_(1, drawn, ones)


def pair_confusions(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(C(C−1)/2,) float64, in the order of `mtl.episodes.pairs`: how often each pair is confused.

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
