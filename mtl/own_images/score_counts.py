"""How many labelled pictures a classifier answers right, by class and by pair of classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.stats import wilson


@dataclass(frozen=True)
class Share:
    """A share of right answers."""

    right: int
    asked: int

    @property
    def accuracy(self) -> float:
        return self.right / self.asked

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, Wilson's. Pictures count as independent, which they are for a classifier that is fitted."""
        return wilson(self.right, self.asked)


@dataclass(frozen=True)
class Scores:
    """The answers of one classifier to labelled pictures."""

    total: Share
    classes: dict[str, Share]  # by the right class, those that were asked
    confusions: tuple[tuple[str, str, int], ...]  # (right class, answered class, pictures), most first

    @property
    def balanced(self) -> float:
        """Mean accuracy of the classes that were asked."""
        return sum(share.accuracy for share in self.classes.values()) / len(self.classes)


def score(labels: Tensor, answers: Tensor, classes: Sequence[str]) -> Scores:
    """
    Args:
        labels: (B,) int64, the right classes.
        answers: (B,) int64, the answered ones.
        classes: names of the N classes.

    Raises:
        ValueError: there are no pictures, or not as many answers.
    """
    if not len(labels) or labels.shape != answers.shape:
        raise ValueError("labels (B,) and answers (B,) of one picture or more are needed")
    way = len(classes)
    counts = torch.bincount(labels * way + answers, minlength=way * way).view(way, way).tolist()
    asked = {classes[k]: Share(row[k], sum(row)) for k, row in enumerate(counts) if sum(row)}
    wrong = [
        (classes[k], classes[j], count)
        for k, row in enumerate(counts)
        for j, count in enumerate(row)
        if count and j != k
    ]
    total = Share(sum(share.right for share in asked.values()), len(labels))
    return Scores(total, asked, tuple(sorted(wrong, key=lambda pair: (-pair[2], pair[0], pair[1]))))
