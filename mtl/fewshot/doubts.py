"""Support images that look as if their label were wrong, by what they are answered while left out."""

from dataclasses import dataclass

from torch import Tensor

_WRONG = 0.1  # share of labels that are taken to be wrong before anything is seen


@dataclass(frozen=True)
class Doubt:
    """A support image that looks as if its label were wrong."""

    row: int  # of the support set
    label: int
    own: float  # probability of its own label
    like: int  # the class that it looks like
    probability: float  # of that class


def doubts(probabilities: Tensor, labels: Tensor, rows: Tensor) -> list[Doubt]:
    """The images that are more likely mislabelled than not, the worst first.

    Args:
        probabilities: (H, N) float64, calibrated, of images that were left out.
        labels: (H,) as they were given.
        rows: (H,) of the support set.
    """
    own = probabilities.gather(1, labels[:, None])[:, 0]
    likely, like = probabilities.max(-1)
    found = (own < most_doubtful(probabilities.shape[1])).nonzero().flatten()
    worst = found[own[found].argsort(stable=True)]
    columns = (rows, labels, own, like, likely)
    return [Doubt(*values) for values in zip(*(column[worst].tolist() for column in columns), strict=True)]


def most_doubtful(way: int) -> float:
    """The probability of its own label below which an image is more likely mislabelled than not.

    If a share w of labels is wrong, all other classes being as likely, then by Bayes the odds of a wrong
    label are w / (N−1) · (1−p) to (1−w) · p, where p is the probability of the label given. With w = 0.1 they
    are even at p = 0.027 for 5 classes. Judged by the probability of the class that an image looks like, less
    than half as many wrong labels are found at the same precision (CIFAR-FS validation classes).
    """
    return _WRONG / (_WRONG + (1 - _WRONG) * (way - 1))
