"""What more images would bring: a law with one number, fitted to a learning curve, and a sentence.

To answer one of N classes is to tell one signal from N - 1 of noise (Green and Swets, "Signal detection
theory and psychophysics", 1966): with sensitivity d the share ∫ φ(x - d) Φ(x)^(N-1) dx is right. Classes are
known by k images each, whose own noise has a variance that falls as 1/k and adds to that of the image asked:

    d(k) = d∞ / √(1 + R/k)

The law runs to a limit, as accuracy does, and fits easy and hard classes. A power law of the error has two or
three numbers, which a few images cannot tell: its forecasts are little better than that all stays as it is.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtl.own_images.learning_curve import LearningCurve
from mtl.stats import wilson

#: The noise of a class that is known by one image, over that of the image asked: as CIFAR-FS has it.
R = 2.0
#: So many points are needed.
POINTS = 3

_WORTH = 0.8  # of an answer: the law is not quite right
_MOST = 12.0  # sensitivity at which all is right
_FAR = 60.0  # where it is so to rounding, even of one image
_NOISE = np.linspace(-8, 8, 161)  # of the right class: a sum over it is the integral to rounding
_WEIGHTS = np.exp(-(_NOISE**2) / 2) / math.sqrt(2 * math.pi) * (_NOISE[1] - _NOISE[0])


@dataclass(frozen=True)
class Expected:
    """Accuracy that is expected of `shot` support images a class."""

    shot: int
    accuracy: float
    low: float  # 95 % interval
    high: float


@dataclass(frozen=True)
class Forecast:
    """The law of a curve. It is asked for up to twice the images that there are."""

    way: int
    sensitivity: float  # d∞
    answers: float  # that the curve rests on

    def at(self, shot: int) -> Expected:
        """With so many images a class. The interval is Wilson's, as that of the points is."""
        accuracy = float(share_right(_at(self.sensitivity, np.array(shot)), self.way))
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
        departures = share_right(_at(sensitivity, shots), way) - accuracies
        return float((shots * departures**2).sum())

    found = minimize_scalar(cost, bounds=(0.0, _MOST), method="bounded", options={"xatol": 1e-6})
    return Forecast(way, float(found.x), points[-1].answers)


def carried_on(accuracy: float, way: int, shot: float, more: float) -> float:
    """What the law makes of an accuracy with `shot` images a class when there are `more`.

    Chance and less, and all right, stay as they are.
    """
    from scipy.optimize import brentq

    if not 1 / way < accuracy < 1:
        return accuracy

    def off(limit: float) -> float:
        return float(share_right(_at(limit, np.array(shot)), way)) - accuracy

    limit = float(brentq(off, 0.0, _FAR))
    return float(share_right(_at(limit, np.array(more)), way))


def share_right(sensitivity: NDArray[np.float64], way: int) -> NDArray[np.float64]:
    """The share of right answers among N classes, of any shape of sensitivities."""
    from scipy.special import ndtr

    others = ndtr(np.asarray(sensitivity)[..., None] + _NOISE) ** (way - 1)
    right: NDArray[np.float64] = np.clip(others @ _WEIGHTS, 0.0, 1.0)
    return right


def _at(limit: float, shots: NDArray[Any]) -> NDArray[np.float64]:
    sensitivities: NDArray[np.float64] = limit / np.sqrt(1 + R / shots)
    return sensitivities


def told(curve: LearningCurve, expected: Forecast | None) -> str:
    """In one sentence how good the images at hand are, and what as many again would bring."""
    if expected is None:
        last = curve.points()[-1]
        images = "picture" if last.shot == 1 else "pictures"
        share = _percent(last.accuracy, last.low, last.high)
        return f"With {last.shot} {images} of each class {share}; what more would bring so few cannot tell."
    now, more = expected.at(curve.most), expected.at(2 * curve.most)
    share = _percent(now.accuracy, now.low, now.high)
    then = f"with {more.shot} about {100 * more.accuracy:.0f} %."
    return f"With {now.shot} pictures of each class about {share}; {then}"


def _percent(share: float, low: float, high: float) -> str:
    return f"{100 * share:.0f} % are right ({100 * low:.0f} to {100 * high:.0f} %)"
