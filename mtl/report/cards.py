"""Tasks, classes and pairs out of the ledger, with their pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mtl.ledger.class_history import class_trends
from mtl.ledger.queries import (
    ConfusedPair,
    HardTask,
    confused_pairs,
    hardest_classes,
    hardest_tasks,
    is_evaluation,
)
from mtl.ledger.store import Ledger
from mtl.ledger.task_history import SolvedEpisode, Visit, histories, worst_episodes
from mtl.report.contents import ClassRow, PairCard, Shown, TaskCard, Thumbnail, Wrong
from mtl.report.thumbnails import Gallery


@dataclass(frozen=True)
class Limits:
    """How much of a phase is shown, so that a page stays small."""

    tasks: int = 8
    wrong: int = 6  # wrong answers of each class of a task
    shown: int = 6  # classes of a task: those answered worst, where it has more
    support: int = 5  # images of a class of a task
    classes: int = 200
    with_pictures: int = 60  # rows of the classes' table that have pictures
    pairs: int = 12
    pair_pictures: int = 4  # of each class
    rounds: int = 50

    def smaller(self) -> "Limits":
        """About half as much, and at least something."""
        return replace(
            self,
            tasks=max(1, self.tasks // 2),
            wrong=max(1, self.wrong // 2),
            support=max(1, self.support // 2),
            classes=max(10, self.classes // 2),
            with_pictures=self.with_pictures // 2,
            pairs=max(2, self.pairs // 2),
            pair_pictures=max(1, self.pair_pictures // 2),
        )


def task_cards(ledger: Ledger, phase: str, gallery: Gallery | None, limits: Limits) -> list[TaskCard]:
    """The hardest tasks, each with its worst episode and its visits."""
    tasks = hardest_tasks(ledger, phase, limits.tasks)
    names = [task.classes for task in tasks]
    episodes, visits = worst_episodes(ledger, phase, names), histories(ledger, phase, names)
    return [_task(*of, phase, gallery, limits) for of in zip(tasks, episodes, visits, strict=True)]


def class_rows(ledger: Ledger, phase: str, gallery: Gallery | None, limits: Limits) -> list[ClassRow]:
    """The hardest classes, each with its recall over the phase."""
    found = hardest_classes(ledger, phase, limits.classes)
    trends = class_trends(ledger, phase, [c.name for c in found])
    return [
        ClassRow(
            name=c.name,
            group=c.group,
            recall=c.recall,
            low=c.low,
            high=c.high,
            draws=c.draws,
            hard_draws=c.hard_draws,
            trend=trend,
            change=c.trend,
            pictures=_of_class(gallery, c.name, 2) if rank < limits.with_pictures else [],
        )
        for rank, (c, trend) in enumerate(zip(found, trends, strict=True))
    ]


def pair_cards(ledger: Ledger, phase: str, gallery: Gallery | None, limits: Limits) -> list[PairCard]:
    """The most confused pairs, side by side."""
    return [_pair(p, gallery, limits.pair_pictures) for p in confused_pairs(ledger, phase, limits.pairs)]


def _task(
    task: HardTask,
    worst: SolvedEpisode,
    visits: Sequence[Visit],
    phase: str,
    gallery: Gallery | None,
    limits: Limits,
) -> TaskCard:
    by_recall = sorted(range(len(worst.names)), key=lambda place: (worst.recall[place], place))
    shown = by_recall[: limits.shown] if len(by_recall) > limits.shown else sorted(by_recall)
    answers = worst.wrong or ()
    of_class = [[a for a in answers if a.own == place] for place in shown]
    wrong = [a for own in of_class for a in own[: limits.wrong]]
    return TaskCard(
        classes=task.classes,
        first=task.first,
        last=task.last,
        mean=task.mean,
        seen=task.seen,
        resampled=task.resampled,
        weight=task.weight,
        verdict=task.verdict,
        history=[visit.accuracy for visit in visits],
        shown=[
            Shown(
                worst.names[place],
                worst.recall[place],
                _pictures(gallery, worst.support[place][: limits.support]),
            )
            for place in shown
        ],
        worst_accuracy=worst.accuracy,
        worst_step=None if is_evaluation(phase) else worst.step,
        wrong=[
            Wrong(
                picture=gallery.picture(answer.image) if gallery else None,
                own=worst.names[answer.own],
                predicted=worst.names[answer.predicted],
                confidence=answer.confidence,
            )
            for answer in wrong
        ],
        more_wrong=len(answers) - len(wrong),
        answers_known=worst.wrong is not None,
    )


def _pair(pair: ConfusedPair, gallery: Gallery | None, pictures: int) -> PairCard:
    first, second = pair.classes
    return PairCard(
        first=first,
        second=second,
        confusion=pair.confusion,
        first_as_second=pair.first_as_second,
        second_as_first=pair.second_as_first,
        met=pair.n,
        first_pictures=_of_class(gallery, first, pictures),
        second_pictures=_of_class(gallery, second, pictures),
    )


def _pictures(gallery: Gallery | None, images: Sequence[int]) -> list[Thumbnail]:
    return [gallery.picture(i) for i in images] if gallery else []


def _of_class(gallery: Gallery | None, name: str, count: int) -> list[Thumbnail]:
    return gallery.of_class(name, count) if gallery else []
