"""Tasks, classes and pairs out of the ledger, with small pictures of their images."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mtl.data import ImageSet
from mtl.ledger.class_history import class_trends
from mtl.ledger.neighbourhoods import HardNeighbourhood, tasks_come_back
from mtl.ledger.queries import (
    HardTask,
    confused_pairs,
    hardest_classes,
    hardest_tasks,
    is_evaluation,
)
from mtl.ledger.store import Ledger
from mtl.ledger.task_history import SolvedEpisode, Visit, histories, worst_episodes
from mtl.report.contents import (
    ClassRow,
    NeighbourhoodCard,
    PairCard,
    ShownClass,
    TaskCard,
    Thumbnail,
    WrongQuery,
)

_SIDE = 48  # pixels; larger images are averaged down to it
_QUALITY = 82  # of JPEG


@dataclass(frozen=True)
class Limits:
    """How much of a phase is shown, so that a page stays small."""

    tasks: int = 8  # and neighbourhoods
    wrong: int = 6  # wrong answers of each class of a task
    shown: int = 6  # classes of a task: those with the lowest recall, where it has more
    support: int = 5  # images of a class of a task
    around: int = 3  # images of the class of a neighbourhood
    members: int = 2  # ... and of each of the others
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
            around=max(1, self.around - 1),
            members=1,
            classes=max(10, self.classes // 2),
            with_pictures=self.with_pictures // 2,
            pairs=max(2, self.pairs // 2),
            pair_pictures=max(1, self.pair_pictures // 2),
        )


class Encoded(NamedTuple):
    """A picture as the content of a file."""

    kind: str  # png or jpeg
    content: bytes
    width: int
    height: int


def encoded(image: Tensor, side: int) -> Encoded:
    """One image (1 or 3, H, W) uint8: PNG where it is grey, else JPEG; both are the same at every call.

    It is made smaller where it has more than `side` pixels.

    Raises:
        ValueError: it has another number of channels.
    """
    if image.shape[0] not in {1, 3}:
        raise ValueError(f"a picture has 1 or 3 channels, not {image.shape[0]}")
    if max(image.shape[1:]) > side:
        height, width = (max(1, round(n * side / max(image.shape[1:]))) for n in image.shape[1:])
        small = F.interpolate(image[None].float(), (height, width), mode="bilinear", antialias=True)[0]
        image = small.round().clamp(0, 255).to(torch.uint8)
    height, width = image.shape[1:]
    file = io.BytesIO()
    if image.shape[0] == 1:
        kind, picture = "png", Image.fromarray(image[0].numpy(), "L")
        picture.save(file, "PNG", optimize=True)
    else:
        kind, picture = "jpeg", Image.fromarray(image.permute(1, 2, 0).contiguous().numpy(), "RGB")
        picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return Encoded(kind, file.getvalue(), width, height)


def thumbnail(image: Tensor, alt: str, side: int = _SIDE) -> Thumbnail:
    """One image, as `encoded` makes it, for a page that has its pictures in itself."""
    made = encoded(image, side)
    data = base64.b64encode(made.content).decode("ascii")
    return Thumbnail(f"data:image/{made.kind};base64,{data}", made.width, made.height, alt)


class Gallery:
    """Thumbnails of one image set by image index; each is made once. Without an image set there are none.

    Args:
        images: the split that the indices speak of; None if its images are not available.
    """

    def __init__(self, images: ImageSet | None) -> None:
        self.images = images
        self._made: dict[int, Thumbnail] = {}
        self._members: dict[str, list[int]] | None = None

    def picture(self, index: int) -> Thumbnail | None:
        """Image `index`, described by its class, and by its file where that is known."""
        if self.images is None:
            return None
        if index not in self._made:
            of = self.images
            name = of.class_names[int(of.labels[index])]
            alt = f"{name}, image {index}" + (f": {of.files[index]}" if of.files else "")
            self._made[index] = self.made(index, of.images[index], alt)
        return self._made[index]

    def made(self, index: int, image: Tensor, alt: str) -> Thumbnail:
        """The picture of an image, for a page that has its pictures in itself."""
        return thumbnail(image, alt)

    def pictures(self, indices: Sequence[int]) -> list[Thumbnail]:
        return [made for index in indices if (made := self.picture(index)) is not None]

    def of_class(self, name: str, count: int) -> list[Thumbnail]:
        """The first `count` images of a class; none where the set has no such class."""
        if self.images is None:
            return []
        if self._members is None:
            order = self.images.labels.argsort(stable=True)
            parts = torch.split(order, self.images.class_counts().tolist())
            self._members = dict(zip(self.images.class_names, (p.tolist() for p in parts), strict=True))
        return self.pictures(self._members.get(name, [])[:count])


def task_cards(
    ledger: Ledger,
    phase: str,
    gallery: Gallery,
    limits: Limits,
    around: Sequence[HardNeighbourhood] = (),
) -> list[TaskCard]:
    """The hardest tasks, each with its worst episode and its visits; none where `around` says more."""
    tasks = hardest_tasks(ledger, phase, limits.tasks)
    if not tasks_come_back(tasks, around):
        return []
    names = [task.classes for task in tasks]
    episodes, visits = worst_episodes(ledger, phase, names), histories(ledger, phase, names)
    trained = not is_evaluation(phase)
    return [_task(*of, trained, gallery, limits) for of in zip(tasks, episodes, visits, strict=True)]


def _task(
    task: HardTask,
    worst: SolvedEpisode,
    visits: Sequence[Visit],
    trained: bool,
    gallery: Gallery,
    limits: Limits,
) -> TaskCard:
    by_recall = sorted(range(len(worst.names)), key=lambda place: (worst.recall[place], place))
    places = by_recall[: limits.shown] if len(by_recall) > limits.shown else sorted(by_recall)
    answers = worst.wrong or ()
    of_class = [[answer for answer in answers if answer.own == place] for place in places]
    wrong = [answer for group in of_class for answer in group[: limits.wrong]]
    return TaskCard(
        task=task,
        history=[visit.accuracy for visit in visits],
        shown=[
            ShownClass(name, recall, gallery.pictures(support[: limits.support]))
            for name, recall, support in (
                (worst.names[place], worst.recall[place], worst.support[place]) for place in places
            )
        ],
        worst_accuracy=worst.accuracy,
        worst_step=worst.step if trained else None,
        worst_id=worst.id,
        wrong=[
            WrongQuery(
                gallery.picture(answer.image),
                worst.names[answer.own],
                worst.names[answer.predicted],
                answer.confidence,
            )
            for answer in wrong
        ],
        more_wrong=len(answers) - len(wrong),
        answers_known=worst.wrong is not None,
    )


def neighbourhood_cards(
    rows: Sequence[HardNeighbourhood], gallery: Gallery, limits: Limits
) -> list[NeighbourhoodCard]:
    """Neighbourhoods with pictures of their classes."""
    return [
        NeighbourhoodCard(
            row,
            gallery.of_class(row.name, limits.around),
            [gallery.of_class(name, limits.members) for name in row.members],
        )
        for row in rows
    ]


def class_rows(ledger: Ledger, phase: str, gallery: Gallery, limits: Limits) -> list[ClassRow]:
    """The hardest classes, each with its recall over the phase."""
    rows = hardest_classes(ledger, phase, limits.classes)
    trends = class_trends(ledger, phase, [row.name for row in rows])
    return [
        ClassRow(row, trend, gallery.of_class(row.name, 2) if rank < limits.with_pictures else [])
        for rank, (row, trend) in enumerate(zip(rows, trends, strict=True))
    ]


def pair_cards(ledger: Ledger, phase: str, gallery: Gallery, limits: Limits) -> list[PairCard]:
    """The most confused pairs, side by side."""
    pairs = confused_pairs(ledger, phase, limits.pairs)
    return [
        PairCard(pair, *(gallery.of_class(name, limits.pair_pictures) for name in pair.classes))
        for pair in pairs
    ]
