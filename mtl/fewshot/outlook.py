"""What a classifier says of itself before it answers: how well it will do, and what its support set lacks.

All of it comes from its answers to its own support images while they were left out (mtl/fewshot/held_out.py),
one of each class at a time. So it speaks of a classifier with an image less in each class, and is too modest
where a class has few.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.errors import one_line
from mtl.fewshot.fitted import Fitted
from mtl.hard_tasks.intervals import wilson
from mtl.hard_tasks.pairs import places

_WRONG = 0.1  # share of labels that are taken to be wrong before anything is seen
_CONFUSED = 0.1  # pairs that are confused less than this are well told apart
_FEWEST, _MOST = 3, 20  # images that are asked for at once
_SHOWN = 5  # doubts, and pieces of advice, that are told
_NAMED = 5  # classes that a sentence names


@dataclass(frozen=True)
class Doubt:
    """A support image that looks as if its label were wrong."""

    file: str
    label: str
    own: float  # calibrated probability of its own label
    like: str  # the class that it looks like
    probability: float  # of that class


@dataclass(frozen=True)
class Advice:
    """Two classes that are confused, and how many more images of each are worth having."""

    first: str  # the one that lacks more: with fewer images; of two alike the one with lower recall
    second: str
    confusion: float  # mean probability that images of either get for the other
    more_of_first: int
    more_of_second: int  # may be 0


@dataclass(frozen=True)
class Outlook:
    """What left-out support images tell."""

    tested: int  # images that were left out and asked
    right: int
    low: float  # 95 % interval of the accuracy
    high: float
    single: tuple[str, ...]  # classes with one image, which is never left out
    doubts: tuple[Doubt, ...]  # the worst first
    advice: tuple[Advice, ...]  # the most confused first

    @property
    def accuracy(self) -> float | None:
        """Of the images that were asked; None where none was."""
        return self.right / self.tested if self.tested else None


def outlook(fitted: Fitted) -> Outlook:
    """Accuracy with Wilson's interval, images that look mislabelled, and pairs that need more images.

    On CIFAR-FS validation tasks of 2 to 20 shots the interval held the accuracy on new images 83 to 92 times
    of 100: it knows of the luck in which images are asked, not of that in which there are to learn from.
    """
    support, rows = fitted.support, fitted.held_out.rows
    labels = support.labels[rows]
    probabilities = torch.softmax(fitted.held_out.logits.double() / fitted.temperature, -1)
    answers = probabilities.argmax(-1)
    tested, right = len(rows), int((answers == labels).sum())
    return Outlook(
        tested,
        right,
        *wilson(right, tested),
        tuple(support.classes[k] for k in (support.counts() == 1).nonzero().flatten().tolist()),
        _doubts(fitted, probabilities, labels),
        _advice(support.classes, support.counts(), probabilities, labels),
    )


def told(found: Outlook) -> list[str]:
    """An outlook in sentences, the most important first."""
    lines = []
    if found.accuracy is None:
        lines.append("Every class has one image, so that how well they are told apart cannot be tested.")
    else:
        lines.append(
            f"Leave-one-out: {100 * found.accuracy:.0f} % of {found.tested:,} support images right "
            f"(95 % interval {100 * found.low:.0f} to {100 * found.high:.0f})."
        )
        if found.single:
            lines.append(_untested(found.single))
    doubts = [
        f"{one_line(d.file)} ({one_line(d.label)}) looks like {one_line(d.like)} ({d.probability:.2f}): "
        "look at its label."
        for d in found.doubts
    ]
    return lines + _first(doubts) + _first([_advised(a) for a in found.advice])


def most_doubtful(way: int) -> float:
    """The probability of its own label below which an image is more likely mislabelled than not.

    If a share w of labels is wrong, all other classes being as likely, then by Bayes the odds of a wrong
    label are w / (N−1) · (1−p) to (1−w) · p, where p is the probability of the label given. With w = 0.1 they
    are even at p = 0.027 for 5 classes.

    Of wrong labels planted into 10 % of the images of 5-way tasks 34 to 40 % were found on CIFAR-FS
    validation classes with 5 to 20 shots, where 85 to 93 % of doubts were right, and 71 to 76 % on glyphs,
    where 99 % were. With 3 % planted 53 to 67 % and 94 to 99 % were. Judged by the probability of the class
    that an image looks like, less than half as many are found at the same precision.
    """
    return _WRONG / (_WRONG + (1 - _WRONG) * (way - 1))


def more_images(fewer: int, other: int) -> tuple[int, int]:
    """How many more images to ask of two classes that are confused, and have so many, the fewer first.

    The smaller class is brought to twice its number, by 3 at least and 20 at most, and the other to no less.

    Measured on 5-way tasks of validation classes: doubling both classes of the pair that is confused most
    multiplied its confusion by 0.94, 0.89, 0.84 and 0.80 on CIFAR-FS with 2, 3, 5 and 10 images (n to the
    power of −0.1 to −0.3), by 0.64, 0.71 and 0.83 on glyphs with 2, 3 and 5. Doubling the weaker class alone
    did so by 0.99, 0.96, 0.94 and 0.93, and by 0.79, 0.79 and 0.85: mostly less than half as much.
    """
    aim = fewer + min(max(fewer, _FEWEST), _MOST)
    return aim - fewer, max(aim - other, 0)


def confusions(probabilities: Tensor, labels: Tensor, way: int) -> tuple[Tensor, Tensor]:
    """How much each pair of classes is confused, as `mtl.hard_tasks.unit_errors.pair_errors` has it.

    Of a pair of which one class was never asked, it is the other's probability; of neither, nan.

    Args:
        probabilities: (H, N) float64 of the images that were asked.
        labels: (H,).
        way: N.

    Returns:
        (P,) mean probability that images of either get for the other, pairs as in `mtl.hard_tasks.pairs`, and
        (P,) how many images were asked for it.
    """
    sums = torch.zeros(way, way, dtype=probabilities.dtype).index_add_(0, labels, probabilities)
    asked = torch.bincount(labels, minlength=way)
    mean = sums / asked[:, None]  # nan in the rows of classes that were not asked
    i, j = (torch.tensor(place) for place in places(way))
    return torch.stack([mean[i, j], mean[j, i]]).nanmean(0), asked[i] + asked[j]


def _doubts(fitted: Fitted, probabilities: Tensor, labels: Tensor) -> tuple[Doubt, ...]:
    support = fitted.support
    own = probabilities.gather(1, labels[:, None])[:, 0]
    found = []
    for at in own.argsort(stable=True).tolist():
        if own[at] >= most_doubtful(support.way):
            break
        row, like = int(fitted.held_out.rows[at]), int(probabilities[at].argmax())
        names = support.classes[int(labels[at])], support.classes[like]
        found.append(
            Doubt(support.files[row], names[0], float(own[at]), names[1], float(probabilities[at, like]))
        )
    return tuple(found)


def _advice(
    classes: Sequence[str], counts: Tensor, probabilities: Tensor, labels: Tensor
) -> tuple[Advice, ...]:
    """For pairs that are confused at 0.1 or more, and surely more than the mean pair; of two, than 0.1.

    That is: the low end of the 95 % interval, as if each probability were an answer, is above the mean of all
    pairs. By the truth of hundreds of images, 88 to 93 of 100 such pairs were among the worst fifth in 5-way
    tasks of CIFAR-FS validation classes with 2 to 20 shots, where 20 would be by chance, and none was better
    than the mean. Every fifth task of 2 shots got advice, every second of 5, most of 10.
    """
    way = len(classes)
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
            more = more_images(int(counts[first]), int(counts[second]))
            found.append(Advice(classes[first], classes[second], c, *more))
    return tuple(sorted(found, key=lambda advice: -advice.confusion))


def _untested(single: Sequence[str]) -> str:
    names = ", ".join(one_line(name) for name in single[:_NAMED])
    names += f" and {len(single) - _NAMED:,} more" if len(single) > _NAMED else ""
    one = len(single) == 1
    return f"Not tested, as {'it has' if one else 'they have'} one image {'' if one else 'each'}: {names}."


def _advised(advice: Advice) -> str:
    first, second = one_line(advice.first), one_line(advice.second)
    if advice.more_of_second:
        more = f"Add {advice.more_of_first} more of {first} and {advice.more_of_second} of {second}"
        return f"{more}: they are confused ({advice.confusion:.2f})."
    return (
        f"Add {advice.more_of_first} more of {first}: it is confused with {second} ({advice.confusion:.2f})."
    )


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return lines if more <= 0 else [*lines[:_SHOWN], f"... and {more:,} more"]
