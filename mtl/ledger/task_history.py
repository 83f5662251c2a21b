"""Single tasks in detail: every visit, and how each query of the worst one was classified."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtl.errors import UserError
from mtl.ledger.queries import ClassNames, class_names, classes_drawn
from mtl.ledger.rows import WRONG, class_key, key_classes, phase_span
from mtl.ledger.store import Ledger, Phase


@dataclass(frozen=True)
class WrongAnswer:
    """A query that was taken for another class of its task."""

    image: int  # index into the image set
    own: int  # place of its class among the classes of the task
    predicted: int  # ... and of the class that it was taken for
    confidence: float  # probability given to that class


@dataclass(frozen=True)
class SolvedEpisode:
    """One episode as the ledger has it, its N classes in the order of their ids."""

    step: int
    names: tuple[str, ...]
    support: tuple[tuple[int, ...], ...]  # N rows of K image indices
    accuracy: float
    recall: tuple[float, ...]  # of each class
    wrong: tuple[WrongAnswer, ...] | None  # the most confident first; None where they were not recorded


@dataclass(frozen=True)
class Visit:
    """A task solved once."""

    round: int
    accuracy: float
    origin: str


def worst_episodes(ledger: Ledger, phase: str, tasks: Sequence[tuple[str, ...]]) -> list[SolvedEpisode]:
    """The episode of lowest accuracy of each task, the latest of equals.

    Tasks are given by the names of their classes, as in `HardTask.classes`.

    Raises:
        UserError: there is no such phase, or it has no such task.
    """
    at = ledger.phase(phase)
    lowest = [
        min(visits, key=lambda visit: (visit[1].accuracy, -visit[0]))[0]
        for visits in _visits(ledger, at, tasks)
    ]
    columns, names = "step, shot, classes, images, accuracy, recall, wrong", class_names(ledger, at)
    rows = (ledger.sql.execute(f"SELECT {columns} FROM episode WHERE id = ?", (id_,)) for id_ in lowest)
    return [_solved(row.fetchone(), names) for row in rows]


def histories(ledger: Ledger, phase: str, tasks: Sequence[tuple[str, ...]]) -> list[list[Visit]]:
    """Every visit of each task, in order; arguments and errors as of `worst_episodes`."""
    return [[visit for _, visit in visits] for visits in _visits(ledger, ledger.phase(phase), tasks)]


def _visits(ledger: Ledger, at: Phase, tasks: Sequence[tuple[str, ...]]) -> list[list[tuple[int, Visit]]]:
    """(episode's id, visit) of each task, ascending; one scan of the phase for all of them."""
    names = class_names(ledger, at)
    numbers = {names[c]: c for c in classes_drawn(ledger, at)}
    keys = [class_key(numbers[n] for n in task) if numbers.keys() >= set(task) else b"" for task in tasks]
    visits: dict[bytes, list[tuple[int, Visit]]] = {key: [] for key in keys}
    if visits:
        rows = ledger.sql.execute(
            "SELECT classes, id, round, accuracy, origin FROM episode "
            f"WHERE id BETWEEN ? AND ? AND classes IN ({', '.join('?' * len(visits))}) ORDER BY id",
            (*phase_span(at.id), *visits),
        )
        for key, id_, *visit in rows:
            visits[key].append((id_, Visit(*visit)))
    for key, task in zip(keys, tasks, strict=True):
        if not visits[key]:
            raise UserError(f'{ledger.path}: phase "{at.name}" has no task of the classes {", ".join(task)}')
    return [visits[key] for key in keys]


def _solved(row: Sequence[Any], names: ClassNames) -> SolvedEpisode:
    step, shot, key, images_blob, accuracy, recall, wrong_blob = row
    classes = key_classes(key)
    way = len(classes)
    images: list[int] = np.frombuffer(images_blob, "<i4").tolist()
    support, query = images[: way * shot], images[way * shot :]
    queries = len(query) // way
    wrong = None
    if wrong_blob is not None:
        records = np.frombuffer(wrong_blob, WRONG).tolist()
        answers = [WrongAnswer(query[q], q // queries, taken, sure) for q, taken, sure in records]
        wrong = tuple(sorted(answers, key=lambda answer: -answer.confidence))
    by_class = tuple(tuple(support[n * shot : (n + 1) * shot]) for n in range(way))
    recalls = tuple(np.frombuffer(recall, "<f4").tolist())
    return SolvedEpisode(step, tuple(names[c] for c in classes), by_class, accuracy, recalls, wrong)
