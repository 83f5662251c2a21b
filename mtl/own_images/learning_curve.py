"""How many images of each class are needed: accuracy by their number, and what more would bring.

For each number k many tasks are drawn: k random images of each class are the support set, and all others are
answered. The curve says how a classifier of k random images of each of these classes does on new images.

What more images would bring follows from a law with one number. To answer one of N classes is to tell one
signal from N - 1 of noise (Green and Swets, "Signal detection theory and psychophysics", 1966): with
sensitivity d the share ∫ φ(x - d) Φ(x)^(N-1) dx is right. Classes are known by k images each, whose own noise
has a variance that falls as 1/k and adds to that of the image to be answered:

    d(k) = d∞ / √(1 + R/k)

The law runs to a limit, as accuracy does, and fits easy and hard classes. A power law of the error has two or
three numbers, which a few images cannot tell: its forecasts are little better than that all stays as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mtl.config import Log
from mtl.errors import counted
from mtl.models.heads import BaseLearner
from mtl.own_images.support import Support
from mtl.runtime.progress import Count
from mtl.runtime.seeds import generator
from mtl.stats import root, wilson

DRAWS = 200

_ROUND = (1.2, 2, 3, 5, 8)  # times powers of ten: the numbers of images that are tried
_FEWEST = 20  # draws of a large support set, which answers many images and differs little from draw to draw
_WORK = 30_000_000  # entries of all Gram matrices of one k; beyond it there are fewer draws
_IMAGES = 2_000  # of a support set at most: Gram matrices grow with its square
_FLOATS = 4_000_000  # of features, Gram matrices and logits at once

#: The noise of a class that is known by one image, over that of the image to be answered: as CIFAR-FS has it.
R = 2.0
#: The number of points that a forecast needs.
POINTS = 3
_WORTH = 0.8  # of an answer: the law is not quite right
_MOST = 12.0  # sensitivity at which all is right
_FAR = 60.0  # where it is so to rounding, even of one image
_NOISE = np.linspace(-8, 8, 161)  # of the right class: a sum over it is the integral to rounding
_WEIGHTS = np.exp(-(_NOISE**2) / 2) / math.sqrt(2 * math.pi) * (_NOISE[1] - _NOISE[0])


@dataclass(frozen=True)
class Point:
    """Accuracy with `shot` support images of each class."""

    shot: int
    accuracy: float  # mean of the recalls: each class counts the same
    low: float  # 95 % interval of the accuracy on new images
    high: float
    answers: float  # that the interval is of
    spread: (
        float  # standard deviation of the accuracy between draws, which answer few images where k is large
    )
    recalls: tuple[float, ...]  # of each class

    @property
    def worst(self) -> int:
        """The class with the lowest recall, the first of several."""
        return self.recalls.index(min(self.recalls))


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Answers to the images of N classes, by the number of support images that the answers had."""

    classes: tuple[str, ...]  # (N,) sorted
    labels: Tensor  # (S,) int64: the images that were drawn from and answered
    shots: tuple[int, ...]  # (P,) k, ascending
    right: (
        Tensor  # (P, S) float64: of the draws that answered an image the share that was right; nan: none did
    )
    spread: tuple[float, ...]  # (P,)
    too_few: tuple[tuple[str, int], ...]  # classes that are no part of it, and how many images they have

    @property
    def most(self) -> int:
        """Images of the smallest class."""
        return int(torch.bincount(self.labels).min())

    def points(self) -> list[Point]:
        """One for each k.

        The interval is Wilson's of as many answers as there are distinct images: draws share their images, so
        more draws are no more evidence. A class with fewer images counts as the others, so the number is that
        with which a mean over classes of one recall would vary as much: N² / Σ 1/n.
        """
        points = []
        for shot, right, spread in zip(self.shots, self.right, self.spread, strict=True):
            by_class = [right[self.labels == c] for c in range(len(self.classes))]
            by_class = [shares[~shares.isnan()] for shares in by_class]
            recalls = tuple(min(1.0, float(shares.mean())) for shares in by_class)
            accuracy, answers = fmean(recalls), len(by_class) ** 2 / sum(1 / len(x) for x in by_class)
            low, high = wilson(min(accuracy * answers, answers), answers)
            points.append(Point(shot, accuracy, low, high, answers, spread, recalls))
        return points


def enough_images(counts: Tensor) -> Tensor:
    """(N,) bool: which classes with these numbers of images a curve can have.

    The set of classes is the same along the curve, so the smallest one ends it. Left out are those with one
    image, which cannot be left out, and those with less than half of what the middle one of the others has.
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
def measure_curve(
    base_learner: BaseLearner, support: Support, seed: int = 0, draws: int = DRAWS, log: Log | None = None
) -> LearningCurve:
    """Answers the images of a support set, each by k of each class that it is not among.

    k goes up to one less than the smallest class has; of 40 images or more one in twenty is left.

    Args:
        base_learner: adapts to each draw.
        support: the features are embedded.
        seed: of the draws.
        draws: of each k, fewer where support sets are large.
        log: how progress is shown, if at all.

    Raises:
        ValueError: fewer than two classes have two images, or a learned start serves another number of
            classes.
    """
    enough = enough_images(support.counts())
    if enough.sum() < 2:
        raise ValueError("a learning curve needs two classes of two images or more")
    each = zip(support.classes, support.counts().tolist(), enough.tolist(), strict=True)
    too_few = tuple((name, count) for name, count, is_enough in each if not is_enough)
    used = support.without([name for name, _ in too_few])
    smallest = int(used.counts().min())
    most = min(smallest - max(1, smallest // 20), max(1, _IMAGES // used.way))
    shots = shots_up_to(most)
    right, spread = [], []
    with Count("learning curve", len(shots), log or Log(quiet=True)) as count:
        for shot in shots:
            random = generator(seed, "learning curve", shot)
            share, accuracies = _answer(base_learner, used, shot, draws, random)
            right.append(share)
            spread.append(float(accuracies.std(correction=1)) if len(accuracies) > 1 else 0.0)
            count.add(1)
    return LearningCurve(used.classes, used.labels, shots, torch.stack(right), tuple(spread), too_few)


def _answer(
    base_learner: BaseLearner, support: Support, shot: int, draws: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """For each image the share of right answers (S,), and the accuracy of each draw (T,)."""
    count, way, images = len(support), support.way, support.way * shot
    draws = max(min(draws, _FEWEST), min(draws, _WORK // images**2))
    at_once = max(1, _FLOATS // (images * max(images, support.features.shape[1]) + count * way))
    labels = torch.arange(way).repeat_interleave(shot)
    queries = base_learner.transform_queries(support.features)[None]
    onehot = F.one_hot(support.labels, way).double()
    answered, right = torch.zeros(2, count, dtype=torch.float64)
    accuracies = []
    for rows in torch.split(_drawn(support.labels, way, shot, draws, random), at_once):
        head = base_learner.classifier(support.features[rows], labels.expand(len(rows), -1), way)
        out = torch.ones(len(rows), count, dtype=torch.float64).scatter_(1, rows, 0.0)
        correct = out * (head(queries).argmax(-1) == support.labels)
        answered += out.sum(0)
        right += correct.sum(0)
        accuracies.append((correct @ onehot / (out @ onehot)).mean(-1))
    return torch.where(answered > 0, right / answered, torch.nan), torch.cat(accuracies)


def _drawn(labels: Tensor, way: int, shot: int, draws: int, random: torch.Generator) -> Tensor:
    """(T, N·k): in each row k random images of each class, class by class.

    Each image has its own random numbers, so that what is drawn does not depend on the order of the classes.
    """
    order = torch.rand(draws, len(labels), generator=random)
    by_class = [(labels == c).nonzero().flatten() for c in range(way)]
    return torch.cat([rows[order[:, rows].argsort(-1)[:, :shot]] for rows in by_class], 1)


@dataclass(frozen=True)
class Expected:
    """Accuracy that is expected of `shot` support images a class."""

    shot: int
    accuracy: float
    low: float  # 95 % interval
    high: float


@dataclass(frozen=True)
class Forecast:
    """The law of a curve, meant for up to twice the images that there are."""

    way: int
    sensitivity: float  # d∞
    answers: float  # that the curve rests on

    def at(self, shot: int) -> Expected:
        """With `shot` images a class. The interval is Wilson's, as that of the points is."""
        accuracy = float(_accuracy_at(self.sensitivity, shot, self.way))
        answers = _WORTH * self.answers
        return Expected(shot, accuracy, *wilson(min(accuracy * answers, answers), answers))


def forecast(curve: LearningCurve) -> Forecast | None:
    """Fits the law to the accuracies, each weighing as k; None for fewer than three points."""
    from scipy.optimize import minimize_scalar

    points, way = curve.points(), len(curve.classes)
    if len(points) < POINTS:
        return None
    shots = np.array(curve.shots, dtype=np.float64)
    accuracies = np.array([point.accuracy for point in points])

    def cost(sensitivity: float) -> float:
        departures = _accuracy_at(sensitivity, shots, way) - accuracies
        return float((shots * departures**2).sum())

    best = minimize_scalar(cost, bounds=(0.0, _MOST), method="bounded", options={"xatol": 1e-6})
    return Forecast(way, float(best.x), points[-1].answers)


def extrapolate(accuracy: float, way: int, shot: float, more: float) -> float:
    """The accuracy with `more` images a class by the law, from that with `shot`.

    Chance and less, and all right, stay as they are.
    """
    if not 1 / way < accuracy < 1:
        return accuracy
    limit = root(lambda limit: float(_accuracy_at(limit, shot, way)) - accuracy, 0.0, _FAR)
    return float(_accuracy_at(limit, more, way))


def _accuracy_at(
    limit: float, shots: float | Sequence[float] | NDArray[np.float64], way: int
) -> NDArray[np.float64]:
    sensitivity = limit / np.sqrt(1 + R / np.asarray(shots))
    return share_right(sensitivity, way)


def share_right(sensitivity: NDArray[np.float64], way: int) -> NDArray[np.float64]:
    """The share of right answers among N classes, for any shape of sensitivities."""
    below = torch.special.ndtr(torch.from_numpy(np.asarray(sensitivity)[..., None] + _NOISE))
    others = below.numpy() ** (way - 1)
    right: NDArray[np.float64] = np.clip(others @ _WEIGHTS, 0.0, 1.0)
    return right


def forecast_sentence(curve: LearningCurve, expected: Forecast | None) -> str:
    """How accurate the most images are, and what twice as many would bring."""
    if expected is None:
        last = curve.points()[-1]
        images = "picture" if last.shot == 1 else "pictures"
        share = _percent(last.accuracy, last.low, last.high)
        return f"With {last.shot} {images} of each class {share}; what more would bring so few cannot tell."
    now, more = expected.at(curve.most), expected.at(2 * curve.most)
    share = _percent(now.accuracy, now.low, now.high)
    then = f"with {more.shot} about {100 * more.accuracy:.0f} %."
    return f"With {counted(now.shot, 'picture')} of each class about {share}; {then}"


def _percent(share: float, low: float, high: float) -> str:
    return f"{100 * share:.0f} % are right ({100 * low:.0f} to {100 * high:.0f} %)"
