"""Which classes need more images: pairs that are confused, by answers to images that were left out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.episodes.pairs import places
from mtl.stats import wilson

_CONFUSED = 0.1  # pairs that are confused less than this are well told apart
_FEWEST, _MOST = 3, 20  # images that are asked for at once


@dataclass(frozen=True)
class Advice:
    """Two classes that are confused, and how many more images of each are worth having."""

    first: int  # the class that lacks more: with fewer images; of two alike the one with lower recall
    second: int
    confusion: float  # mean probability that images of either get for the other
    more_of_first: int
    more_of_second: int  # may be 0


def advice(probabilities: Tensor, labels: Tensor, counts: Tensor) -> list[Advice]:
    """For pairs that are confused at 0.1 or more, and surely more than the mean pair; the worst first.

    That is: the low end of the 95 % interval, as if each probability were an answer, is above the mean of all
    pairs, or above 0.1 where there is only one. By the truth of hundreds of images, 88 to 93 of 100 such
    pairs were among the worst fifth in 5-way tasks of CIFAR-FS validation classes with 2 to 20 shots, where
    20 would be by chance, and none was better than the mean.

    Args:
        probabilities: (H, N) float64, calibrated, of images that were left out.
        labels: (H,).
        counts: (N,) images of each class.
    """
    way = len(counts)
    confusion, asked = confusions(probabilities, labels, way)
    usual = float(confusion.nanmean()) if way > 2 else _CONFUSED
    right = (probabilities.argmax(-1) == labels).double()
    recall = torch.zeros(way, dtype=right.dtype).index_add_(0, labels, right)
    recall = (recall / torch.bincount(labels, minlength=way)).nan_to_num(0.0)
    found = []
    for i, j, c, n in zip(
        *(p.tolist() for p in places(way)), confusion.tolist(), asked.tolist(), strict=True
    ):
        if n and c >= _CONFUSED and wilson(c * n, n)[0] > usual:
            first, second = sorted((i, j), key=lambda k: (int(counts[k]), float(recall[k])))
            found.append(Advice(first, second, c, *more_images(int(counts[first]), int(counts[second]))))
    return sorted(found, key=lambda one: -one.confusion)


def more_images(fewer: int, other: int) -> tuple[int, int]:
    """How many more images to ask of two classes that are confused, and have so many, the fewer first.

    The smaller class is brought to twice its number, by 3 at least and 20 at most, and the other to no less.

    Measured on 5-way tasks of validation classes: doubling both classes of the pair that is confused most
    multiplied its confusion by 0.94, 0.89, 0.84 and 0.80 on CIFAR-FS with 2, 3, 5 and 10 images, by 0.64,
    0.71 and 0.83 on glyphs with 2, 3 and 5. Doubling the weaker class alone did mostly less than half of it.
    """
    aim = fewer + min(max(fewer, _FEWEST), _MOST)
    return aim - fewer, max(aim - other, 0)


def confusions(probabilities: Tensor, labels: Tensor, way: int) -> tuple[Tensor, Tensor]:
    """How much each pair of classes is confused: the mean of P(j|i) and P(i|j), as in hard-task tables.

    Of a pair of which one class was never asked, it is the other's probability; of neither, nan.

    Returns:
        (P,) mean probability that images of either get for the other, pairs as in `mtl.episodes.pairs`, and
        (P,) how many images were asked for it.
    """
    sums = torch.zeros(way, way, dtype=probabilities.dtype).index_add_(0, labels, probabilities)
    asked = torch.bincount(labels, minlength=way)
    mean = sums / asked[:, None]  # nan in the rows of classes that were not asked
    i, j = (torch.tensor(place) for place in places(way))
    return torch.stack([mean[i, j], mean[j, i]]).nanmean(0), asked[i] + asked[j]


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
