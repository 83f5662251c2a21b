"""Single tasks looked at closely: every visit, and at the worst of them what each query was taken for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtl.errors import UserError
from mtl.ledger.queries import class_names
from mtl.ledger.rows import WRONG, class_key, episode_id, key_classes
from mtl.ledger.store import Ledger, Phase

_WRONG_COLUMN = 12  # of `episode`; ledgers of the first format do not have it


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

    round: int
    step: int
    origin: str
    classes: tuple[int, ...]
    names: tuple[str, ...]
    support: tuple[tuple[int, ...], ...]  # N rows of K image indices
    accuracy: float
    recall: tuple[float, ...]  # of each class
    queries: int  # a class
    wrong: tuple[WrongAnswer, ...] | None  # the surest first; None where the ledger does not know them


@dataclass(frozen=True)
class Visit:
    """A task solved once."""

    round: int
    accuracy: float
    origin: str


def worst_episodes(ledger: Ledger, phase: str, tasks: Sequence[tuple[str, ...]]) -> list[SolvedEpisode]:
    """Of each task its episode of lowest accuracy, the latest of equals.

    Tasks go by the names of their classes, as in `HardTask.classes`.

    Raises:
        UserError: there is no such phase, or a task was never met in it.
    """
    at = ledger.phase(phase)
    lowest = [
        min(visits, key=lambda visit: (visit[1].accuracy, -visit[0]))[0]
        for visits in _visits(ledger, at, tasks)
    ]
    rows = [ledger.sql.execute("SELECT * FROM episode WHERE id = ?", (id_,)).fetchone() for id_ in lowest]
    names = class_names(ledger, at)
    return [_solved(row, names) for row in rows]


def histories(ledger: Ledger, phase: str, tasks: Sequence[tuple[str, ...]]) -> list[list[Visit]]:
    """Every visit of each task, in order; arguments and errors as of `worst_episodes`."""
    found = _visits(ledger, ledger.phase(phase), tasks)
    return [[visit for _, visit in visits] for visits in found]


def _visits(ledger: Ledger, at: Phase, tasks: Sequence[tuple[str, ...]]) -> list[list[tuple[int, Visit]]]:
    """(episode's id, visit) of each task, ascending; one scan of the phase for all of them."""
    names = class_names(ledger, at)
    met = ledger.sql.execute("SELECT class FROM class_total WHERE phase = ?", (at.id,))
    numbers = {names.get(c, str(c)): c for (c,) in met}
    keys = [class_key(numbers[n] for n in task) if numbers.keys() >= set(task) else b"" for task in tasks]
    found: dict[bytes, list[tuple[int, Visit]]] = {key: [] for key in keys}
    if found:
        rows = ledger.sql.execute(
            "SELECT classes, id, round, accuracy, origin FROM episode "
            f"WHERE id >= ? AND id < ? AND classes IN ({', '.join('?' * len(found))}) ORDER BY id",
            (episode_id(at.id, 0), episode_id(at.id + 1, 0), *found),
        )
        for key, id_, *visit in rows:
            found[key].append((id_, Visit(*visit)))
    for key, task in zip(keys, tasks, strict=True):
        if not found[key]:
            raise UserError(f'{ledger.path}: phase "{at.name}" has no task of the classes {", ".join(task)}')
    return [found[key] for key in keys]


def _solved(row: Sequence[Any], names: dict[int, str]) -> SolvedEpisode:
    _, round_, step, origin, _, shot, key, images_blob, _, accuracy, recall, _ = row[:_WRONG_COLUMN]
    classes = key_classes(key)
    way = len(classes)
    images: list[int] = np.frombuffer(images_blob, "<i4").tolist()
    support, query = images[: way * shot], images[way * shot :]
    queries = len(query) // way
    wrong = None
    if len(row) > _WRONG_COLUMN and row[_WRONG_COLUMN] is not None:
        records = np.frombuffer(row[_WRONG_COLUMN], WRONG).tolist()
        answers = [WrongAnswer(query[q], q // queries, taken, sure) for q, taken, sure in records]
        wrong = tuple(sorted(answers, key=lambda answer: -answer.confidence))
    return SolvedEpisode(
        round_, step, origin, classes, tuple(names.get(c, str(c)) for c in classes),
        tuple(tuple(support[n * shot : (n + 1) * shot]) for n in range(way)),
        accuracy, tuple(np.frombuffer(recall, "<f4").tolist()), queries, wrong,
    )  # fmt: skip
