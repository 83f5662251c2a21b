"""A classifier's estimate of its own accuracy, and what its support set lacks.

All of it comes from its answers to its own support images while they were left out, one of each class at a
time (mtl/own_images/leave_one_out.py). Each class had an image less then, which is corrected for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.episodes.pairs import places
from mtl.errors import one_line
from mtl.own_images.classifier import FittedClassifier
from mtl.own_images.learning_curve import extrapolate
from mtl.own_images.leave_one_out import held_out_temperature
from mtl.own_images.support import Support, even_shot, one_less
from mtl.stats import wilson

_WORTH = 0.8  # of an answer: those of one support set depend on each other
_SHOWN = 5  # label issues, and pieces of advice, that are printed
_NAMED = 5  # classes that a sentence names
_MANY = 20  # images of a class, beyond which more change little
_CONFUSED = 0.1  # pairs that are confused less than this are distinguished well
_FEWEST, _MOST = 3, 20  # images to add at once
_WRONG = 0.1  # share of labels that are taken to be wrong before anything is seen


@dataclass(frozen=True)
class LabelIssue:
    """A support image that looks as if its label were wrong."""

    row: int  # of the support set, by view
    label: int
    label_probability: float
    like: int  # the class that it looks like
    probability: float  # of that class


@dataclass(frozen=True)
class DataAdvice:
    """Two classes that are confused, and how many more images of each are worth having."""

    first: (
        int  # the class that lacks more: with fewer images; if they have as many, the one with lower recall
    )
    second: int
    confusion: float  # mean probability that images of either get for the other
    more_of_first: int
    more_of_second: int  # may be 0


@dataclass(frozen=True, eq=False)
class SelfAssessment:
    """What the answers to left-out support images show."""

    support: Support
    tested: int  # images that were left out and answered, one of each view
    right: int
    accuracy: float | None  # expected of new images, mean of the tested classes; None: none was tested
    low: float  # 95 % interval of it
    high: float
    label_issues: Sequence[LabelIssue]  # the worst first; rows of `support.by_view()`
    data_advice: Sequence[DataAdvice]  # the most confused first


def self_assessment(classifier: FittedClassifier) -> SelfAssessment:
    """Accuracy to expect, images that look mislabelled, and pairs of classes that need more images.

    The interval is Wilson's, of 0.8 of the answers with which a single recall would vary as much as the mean
    of C recalls: C² / Σ 1/n. Measured in docs/calibration.md.
    """
    support, rows = classifier.views, classifier.held_out.rows
    labels, counts = support.labels[rows], support.counts()
    probabilities = held_out_probabilities(classifier)
    right = (probabilities.argmax(-1) == labels).double()
    accuracy, low, high = None, 0.0, 1.0
    if len(rows):
        tested = torch.bincount(labels, minlength=support.way).double()
        recalls = torch.zeros_like(tested).index_add_(0, labels, right)[tested > 0] / tested[tested > 0]
        before, now = even_shot(one_less(counts)), even_shot(counts)
        accuracy = extrapolate(float(recalls.mean()), support.way, before, now)
        answers = _WORTH * len(recalls) ** 2 / float((1 / tested[tested > 0]).sum())
        low, high = wilson(min(accuracy * answers, answers), answers)
    return SelfAssessment(
        classifier.support,
        len(rows),
        int(right.sum()),
        accuracy,
        low,
        high,
        label_issues(probabilities, labels, rows),
        data_advice(probabilities, labels, counts),
    )


def held_out_probabilities(classifier: FittedClassifier) -> Tensor:
    """(H, N) float64, calibrated: the answers to support images that were left out."""
    known = classifier.embedder.temperatures
    temperature = held_out_temperature(classifier.temperature, classifier.views, known)
    return torch.softmax(classifier.held_out.logits.double() / temperature, -1)


def label_issues(probabilities: Tensor, labels: Tensor, rows: Tensor) -> list[LabelIssue]:
    """The images that are more likely mislabelled than not, the worst first.

    Args:
        probabilities: (H, N) float64, calibrated, of images that were left out.
        labels: (H,) as they were given.
        rows: (H,) of the support set.
    """
    of_label = probabilities.gather(1, labels[:, None])[:, 0]
    highest, like = probabilities.max(-1)
    doubtful = (of_label < mislabelled_below(probabilities.shape[1])).nonzero().flatten()
    worst = doubtful[of_label[doubtful].argsort(stable=True)]
    columns = (rows, labels, of_label, like, highest)
    return [
        LabelIssue(*values) for values in zip(*(column[worst].tolist() for column in columns), strict=True)
    ]


def mislabelled_below(way: int) -> float:
    """The probability of its own label below which an image is more likely mislabelled than not.

    If a share w of labels is wrong, all other classes being as likely, then by Bayes the odds of a wrong
    label are w / (N−1) · (1−p) to (1−w) · p, where p is the probability of the label given. With w = 0.1 they
    are even at p = 0.027 for 5 classes. Judged by the probability of the class that an image looks like, less
    than half as many wrong labels are found at the same precision (CIFAR-FS validation classes).
    """
    return _WRONG / (_WRONG + (1 - _WRONG) * (way - 1))


def data_advice(probabilities: Tensor, labels: Tensor, counts: Tensor) -> list[DataAdvice]:
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
    confusion, answered = confusions(probabilities, labels, way)
    usual = float(confusion.nanmean()) if way > 2 else _CONFUSED
    right = (probabilities.argmax(-1) == labels).double()
    recall = torch.zeros(way, dtype=right.dtype).index_add_(0, labels, right)
    recall = (recall / torch.bincount(labels, minlength=way)).nan_to_num(0.0)
    pairs = zip(
        *(place.tolist() for place in places(way)), confusion.tolist(), answered.tolist(), strict=True
    )
    advice = []
    for i, j, c, n in pairs:
        if n and c >= _CONFUSED and wilson(c * n, n)[0] > usual:
            first, second = sorted((i, j), key=lambda k: (int(counts[k]), float(recall[k])))
            more = more_images(int(counts[first]), int(counts[second]))
            advice.append(DataAdvice(first, second, c, *more))
    return sorted(advice, key=lambda one: -one.confusion)


def more_images(fewer: int, other: int) -> tuple[int, int]:
    """How many images to add to two classes that are confused, given how many they have, the fewer first.

    The smaller class is brought to twice its number, by 3 at least and 20 at most, and the other to no less.

    Measured on 5-way tasks of validation classes: doubling both classes of the pair that is confused most
    multiplied its confusion by 0.94, 0.89, 0.84 and 0.80 on CIFAR-FS with 2, 3, 5 and 10 images, by 0.64,
    0.71 and 0.83 on glyphs with 2, 3 and 5. Doubling the weaker class alone did mostly less than half of it.
    """
    aim = fewer + min(max(fewer, _FEWEST), _MOST)
    return aim - fewer, max(aim - other, 0)


def confusions(probabilities: Tensor, labels: Tensor, way: int) -> tuple[Tensor, Tensor]:
    """How much each pair of classes is confused: the mean of P(j|i) and P(i|j), as in hard-task tables.

    If one class of a pair has no answers, it is the other's probability; if neither has, nan.

    Returns:
        (P,) mean probability that images of either get for the other, pairs as in `mtl.episodes.pairs`, and
        (P,) the number of answers that it comes from.
    """
    sums = torch.zeros(way, way, dtype=probabilities.dtype).index_add_(0, labels, probabilities)
    answered = torch.bincount(labels, minlength=way)
    mean = sums / answered[:, None]  # nan in the rows of classes without answers
    i, j = (torch.tensor(place) for place in places(way))
    return torch.stack([mean[i, j], mean[j, i]]).nanmean(0), answered[i] + answered[j]


def in_sentences(assessment: SelfAssessment) -> list[str]:
    """A self-assessment in sentences, the most important first."""
    lines, views = [], assessment.support.by_view()
    copied = len(views) < len(assessment.support)
    if assessment.accuracy is None:
        what = "one picture, or near copies of one," if copied else "one image,"
        lines.append(f"Every class has {what} so how well they can be distinguished cannot be tested.")
    else:
        what = "views of the classes" if copied else "support images"
        interval = f"95 % interval {100 * assessment.low:.0f} to {100 * assessment.high:.0f}"
        lines.append(
            f"About {100 * assessment.accuracy:.0f} % of new images of each class will be right on average "
            f"({interval}): of {assessment.tested:,} {what}, left out in turn, {assessment.right:,} were."
        )
        lines += _untested(views, "view" if copied else "image")
    lines += near_copy_sentences(assessment.support)
    lines += _first([_issue_sentence(issue, views) for issue in assessment.label_issues])
    return lines + _first([_advice_sentence(advice, views) for advice in assessment.data_advice])


def _untested(support: Support, unit: str) -> list[str]:
    single = (support.counts() == 1).nonzero().flatten().tolist()
    names = ", ".join(one_line(support.classes[k]) for k in single[:_NAMED])
    more = f" and {len(single) - _NAMED:,} more" if len(single) > _NAMED else ""
    why = f"it has one {unit}" if len(single) == 1 else f"they have one {unit} each"
    return [f"Not tested, and not counted, as {why}: {names}{more}."] if single else []


def near_copy_sentences(support: Support) -> list[str]:
    """A sentence for each class some of whose pictures are near copies, the one of fewest views first."""
    counts = zip(support.by_view().counts().tolist(), support.counts().tolist(), strict=True)
    lines = []
    for (views, pictures), name in sorted(zip(counts, support.classes, strict=True)):
        if views < pictures:
            what = "1 view" if views == 1 else f"{views:,} views"
            todo = ": vary them" if 2 * views <= pictures else ""
            lines.append(
                f"{pictures:,} pictures of {one_line(name)} are {what}, as near copies count once{todo}."
            )
    return _first(lines)


def _issue_sentence(issue: LabelIssue, support: Support) -> str:
    file, label, like = support.files[issue.row], support.classes[issue.label], support.classes[issue.like]
    looks = f"looks like {one_line(like)} ({issue.probability:.2f})"
    return f"{one_line(file)} ({one_line(label)}) {looks}: look at its label."


def _advice_sentence(advice: DataAdvice, support: Support) -> str:
    first, second = (one_line(support.classes[k]) for k in (advice.first, advice.second))
    if int(support.counts()[[advice.first, advice.second]].min()) >= _MANY:
        return (
            f"{first} and {second} are confused ({advice.confusion:.2f}) though there are many images of "
            "both: more would add little, the network may not see the difference."
        )
    if advice.more_of_second:
        more = f"Add {advice.more_of_first} more of {first} and {advice.more_of_second} of {second}"
        return f"{more}: they are confused ({advice.confusion:.2f})."
    return (
        f"Add {advice.more_of_first} more of {first}: it is confused with {second} ({advice.confusion:.2f})."
    )


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return lines if more <= 0 else [*lines[:_SHOWN], f"... and {more:,} more"]
