"""How many images of each class are needed: accuracy on left-out images, by the number of support images.

For each number k many tasks are drawn: k random images of each class are the support set, and all others are
asked. The curve says how a classifier of k random images of each of these classes does on new images.
"""

from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl.models.heads import BaseLearner
from mtl.own_images.support import Support
from mtl.runtime.seeds import generator
from mtl.stats import wilson

DRAWS = 200

_ROUND = (1.2, 2, 3, 5, 8)  # times powers of ten: the numbers of images that are tried
_FEWEST = 20  # draws of a large support set, which asks many images and differs little from draw to draw
_WORK = 30_000_000  # entries of all Gram matrices of one k; beyond it there are fewer draws
_IMAGES = 2_000  # of a support set at most: Gram matrices grow with its square
_FLOATS = 4_000_000  # of features, Gram matrices and logits at once


@dataclass(frozen=True)
class Point:
    """Accuracy with `shot` support images of each class."""

    shot: int
    accuracy: float  # mean of the recalls: each class counts the same
    low: float  # 95 % interval of the accuracy on new images
    high: float
    answers: float  # that the interval is of
    spread: float  # standard deviation of the accuracy between draws, which ask few images where k is large
    recalls: tuple[float, ...]  # of each class

    @property
    def worst(self) -> int:
        """The class with the lowest recall, the first of several."""
        return self.recalls.index(min(self.recalls))


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Answers to the images of N classes, by the number of support images that the answers had."""

    classes: tuple[str, ...]  # (N,) sorted
    labels: Tensor  # (S,) int64: the images that were drawn from and asked
    shots: tuple[int, ...]  # (P,) k, ascending
    right: Tensor  # (P, S) float64: of the draws that asked an image the share that was right; nan: none did
    spread: tuple[float, ...]  # (P,)
    too_few: tuple[tuple[str, int], ...]  # classes that are no part of it, and how many images they have

    @property
    def most(self) -> int:
        """Images of the smallest class."""
        return int(torch.bincount(self.labels).min())

    def points(self) -> list[Point]:
        """One for each k.

        The interval is Wilson's of as many answers as distinct images were asked: draws share their images,
        so that more draws are no more evidence. A class with fewer images counts as the others, so the number
        is that with which a mean over classes of one recall would vary as much: N² / Σ 1/n.
        """
        found = []
        for shot, right, spread in zip(self.shots, self.right, self.spread, strict=True):
            each = [own[~own.isnan()] for own in (right[self.labels == c] for c in range(len(self.classes)))]
            recalls = tuple(min(1.0, float(own.mean())) for own in each)
            accuracy, answers = fmean(recalls), len(each) ** 2 / sum(1 / len(own) for own in each)
            low, high = wilson(min(accuracy * answers, answers), answers)
            found.append(Point(shot, accuracy, low, high, answers, spread, recalls))
        return found


def enough_images(counts: Tensor) -> Tensor:
    """(N,) bool: which of classes with so many images a curve can have.

    The set of classes is the same along the curve, so the smallest one ends it. Left out are those with one
    image, which cannot be asked, and those with less than half of what the middle one of the others has.
    """
    several = counts > 1
    if not several.any():
        return several
    return several & (2 * counts >= counts[several].median())


def shots_up_to(most: int) -> tuple[int, ...]:
    """1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, ... below `most`, and `most`."""
    steps = [1, 2, 3, 5, 8, *(round(step * 10**power) for power in range(1, 6) for step in _ROUND)]
    return (*(step for step in steps if step < most), most)


@torch.no_grad()
def learning_curve(
    base_learner: BaseLearner, support: Support, seed: int = 0, draws: int = DRAWS
) -> LearningCurve:
    """Asks the images of a support set, each with k of each class that it is not among.

    k goes up to one less than the smallest class has; of 40 images or more one in twenty is left.

    Args:
        base_learner: adapts to each draw.
        support: the features are embedded.
        seed: of the draws.
        draws: of each k, fewer where support sets are large.

    Raises:
        ValueError: fewer than two classes have two images, or a learned start serves another number of
            classes.
    """
    wanted = enough_images(support.counts())
    if wanted.sum() < 2:
        raise ValueError("a learning curve needs two classes of two images or more")
    each = zip(support.classes, support.counts().tolist(), wanted.tolist(), strict=True)
    too_few = tuple((name, count) for name, count, enough in each if not enough)
    used = support.without([name for name, _ in too_few])
    smallest = int(used.counts().min())
    most = min(smallest - max(1, smallest // 20), max(1, _IMAGES // used.way))
    shots = shots_up_to(most)
    right, spread = [], []
    for shot in shots:
        share, accuracies = _ask(base_learner, used, shot, draws, generator(seed, "learning curve", shot))
        right.append(share)
        spread.append(float(accuracies.std(correction=1)) if len(accuracies) > 1 else 0.0)
    return LearningCurve(used.classes, used.labels, shots, torch.stack(right), tuple(spread), too_few)


def _ask(
    base_learner: BaseLearner, support: Support, shot: int, draws: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """For each image the share of right answers (S,), and the accuracy of each draw (T,)."""
    count, way, images = len(support), support.way, support.way * shot
    draws = max(min(draws, _FEWEST), min(draws, _WORK // images**2))
    at_once = max(1, _FLOATS // (images * max(images, support.features.shape[1]) + count * way))
    labels = torch.arange(way).repeat_interleave(shot)
    queries = base_learner.transform_queries(support.features)[None]
    onehot = F.one_hot(support.labels, way).double()
    asked, right = torch.zeros(2, count, dtype=torch.float64)
    accuracies = []
    for rows in torch.split(_drawn(support.labels, way, shot, draws, random), at_once):
        head = base_learner.classifier(support.features[rows], labels.expand(len(rows), -1), way)
        out = torch.ones(len(rows), count, dtype=torch.float64).scatter_(1, rows, 0.0)
        correct = out * (head(queries).argmax(-1) == support.labels)
        asked += out.sum(0)
        right += correct.sum(0)
        accuracies.append((correct @ onehot / (out @ onehot)).mean(-1))
    return torch.where(asked > 0, right / asked, torch.nan), torch.cat(accuracies)


def _drawn(labels: Tensor, way: int, shot: int, draws: int, random: torch.Generator) -> Tensor:
    """(T, N·k): in each row k random images of each class, class by class.

    Each image has its own random numbers, so that what is drawn does not depend on the order of the classes.
    """
    order = torch.rand(draws, len(labels), generator=random)
    own = [(labels == c).nonzero().flatten() for c in range(way)]
    return torch.cat([rows[order[:, rows].argsort(-1)[:, :shot]] for rows in own], 1)
