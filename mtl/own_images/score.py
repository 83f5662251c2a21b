"""How well a classifier of a person's own classes does on other pictures whose labels are known.

python run_meta.py score --classifier things.fewshot --pictures photos/test
python run_meta.py score --run checkpoints/cifar_fs --support photos/train --pictures photos/test
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from mtl.config import Log
from mtl.data.class_tree import composed
from mtl.data.folders import PICTURES_OPTION
from mtl.data.picture_files import support_files
from mtl.errors import UserError, counted, one_line
from mtl.own_images.classifier import FittedClassifier
from mtl.own_images.console import console, say, say_left_out
from mtl.own_images.fit import ClassifierSource, load_or_fit
from mtl.own_images.read_support import PictureReader
from mtl.stats import wilson

_CONFUSED, _NAMED = 10, 8  # confusions that are printed; names in a sentence


@dataclass(frozen=True)
class Share:
    """A share of correct predictions."""

    right: int
    answered: int

    @property
    def accuracy(self) -> float:
        return self.right / self.answered

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, Wilson's. Pictures count as independent, which they are for a fitted classifier."""
        return wilson(self.right, self.answered)


@dataclass(frozen=True)
class Scores:
    """The results of one classifier on labelled pictures."""

    total: Share
    classes: dict[str, Share]  # by the right class, those with pictures
    confusions: tuple[tuple[str, str, int], ...]  # (true class, predicted class, pictures), most first

    @property
    def balanced(self) -> float:
        """Mean accuracy of the classes with pictures."""
        return sum(share.accuracy for share in self.classes.values()) / len(self.classes)


def count_right(labels: Tensor, answers: Tensor, classes: Sequence[str]) -> Scores:
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
    by_class = {classes[k]: Share(row[k], sum(row)) for k, row in enumerate(counts) if sum(row)}
    wrong = [
        (classes[k], classes[j], count)
        for k, row in enumerate(counts)
        for j, count in enumerate(row)
        if count and j != k
    ]
    total = Share(sum(share.right for share in by_class.values()), len(labels))
    return Scores(total, by_class, tuple(sorted(wrong, key=lambda pair: (-pair[2], pair[0], pair[1]))))


def score(pictures: Path, source: ClassifierSource, log: Log | None = None) -> Scores:
    """Prints accuracy, that of each class, and which classes are taken for which.

    Support pictures are left out, since the classifier knows them, and so are pictures of classes that it has
    not learned.

    Args:
        pictures: a folder `<class>/*`, or a CSV list, of whose splits `test` is taken.
        source: of the classifier.
        log: how progress is shown, if at all.

    Raises:
        UserError: files cannot be read, or no picture is left whose class the classifier knows.
    """
    listed = support_files(pictures, PICTURES_OPTION, "test")
    fit = load_or_fit(source, log)
    known, unknown = _known(listed.files, fit.classifier.classes, pictures)
    labels, answers, unread = _answers(fit.classifier, known, log)
    say_left_out([*fit.left_out, *listed.left_out, *unknown, *unread])
    if not len(labels):
        raise UserError(f"{one_line(pictures)}: no picture is left that the classifier can be scored on")
    scores = count_right(labels, answers, fit.classifier.classes)
    say([_summary(scores)])
    console().print(_by_class(scores))
    say(_confusions(scores))
    return scores


def _known(
    files: Mapping[str, Sequence[Path]], classes: Sequence[str], pictures: Path
) -> tuple[dict[Path, int], list[str]]:
    """The class of each file that the classifier has learned, and sentences about the others."""
    place = {composed(name): k for k, name in enumerate(classes)}
    learned = {
        file: place[composed(name)] for name in files if composed(name) in place for file in files[name]
    }
    others = [f"{one_line(name)} {len(files[name]):,}" for name in files if composed(name) not in place]
    if not learned:
        raise UserError(
            f"{one_line(pictures)}: has none of the classes of the classifier ({_first(classes)}), but "
            f"{_first([*files])}; the folders must be called as those that it was fitted to"
        )
    if not others:
        return learned, []
    return learned, [f"pictures of classes that the classifier has not learned: {_first(others)}"]


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(one_line(name) for name in names[:_NAMED]) + more


def _answers(
    classifier: FittedClassifier, known: dict[Path, int], log: Log | None
) -> tuple[Tensor, Tensor, list[str]]:
    """True and predicted classes, (B,) each, and sentences about pictures that are not among them."""
    labels, answers, learned = list[int](), [torch.empty(0, dtype=torch.int64)], list[str]()
    reader = PictureReader(classifier.embedder, list(known), log)
    for batch in reader:
        new = ~classifier.support.same_as(batch.features).any(1)
        for file, is_new in zip(batch.files, new.tolist(), strict=True):
            if is_new:
                labels.append(known[file])
            else:
                learned.append(one_line(file))
        answers.append(classifier.answer(batch.features).classes()[new])
    reader.tell_changes(log=log)
    left_out = [one.why for one in reader.unread]
    if learned:
        many = "1 picture" if len(learned) == 1 else f"{len(learned):,} pictures"
        left_out.append(
            f"{many} that the classifier was fitted to, which say nothing of new ones: {_first(learned)}"
        )
    return torch.tensor(labels, dtype=torch.int64), torch.cat(answers), left_out


def _summary(scores: Scores) -> str:
    total, (low, high) = scores.total, scores.total.interval
    plural = "picture" if total.answered == 1 else "pictures"
    return (
        f"{total.right:,} of {total.answered:,} {plural} right: {100 * total.accuracy:.1f} % (95 % interval "
        f"{100 * low:.1f} to {100 * high:.1f}); mean of the classes {100 * scores.balanced:.1f} %."
    )


def _by_class(scores: Scores) -> Table:
    table = Table(title="By class, the lowest first", title_justify="left")
    table.add_column("class", overflow="fold")
    for name in ("pictures", "right", "%", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, share in sorted(scores.classes.items(), key=lambda item: (item[1].accuracy, item[0])):
        low, high = share.interval
        cells = (f"{share.answered:,}", f"{share.right:,}", f"{100 * share.accuracy:.1f}")
        table.add_row(escape(one_line(name)), *cells, f"{100 * low:.0f} – {100 * high:.0f}")
    return table


def _confusions(scores: Scores) -> list[str]:
    shown = scores.confusions[:_CONFUSED]
    lines = [
        f"{one_line(name)} taken for {one_line(other)}: {count:,} of {scores.classes[name].answered:,}"
        for name, other, count in shown
    ]
    more = len(scores.confusions) - len(shown)
    return [*lines, f"and {counted(more, 'more pair')}"] if more else lines
