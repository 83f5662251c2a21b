"""Single episodes in detail: every visit of a task, and how each query of an episode was classified."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtl.errors import UserError, one_line
from mtl.ledger.queries import ClassNames, class_names, classes_drawn
from mtl.ledger.rows import WRONG, class_key, episode_id, key_classes, phase_number, phase_span, short_id
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
    """One episode as the ledger has it, its N classes in the order of their ids.

    Its fields are the columns of the exported log: docs/log.md has their units.
    """

    id: str  # short: "3-1042"
    phase: str
    split: str  # that the classes and images are of
    round: int
    step: int
    origin: str  # why it was drawn
    stream: int  # its number in the stream of its sampler
    way: int
    shot: int
    queries: int  # of each class
    classes: tuple[int, ...]  # ids
    names: tuple[str, ...]
    support: tuple[tuple[int, ...], ...]  # N rows of K image indices
    query: tuple[tuple[int, ...], ...]  # N rows of Q image indices
    loss: float | None
    accuracy: float
    hardness: float | None  # mean log-odds that a query is classified wrong
    fisher: float | None  # inverse Fisher ratio of the features
    recall: tuple[float, ...]  # of each class
    wrong: tuple[WrongAnswer, ...] | None  # the most confident first; None where they were not recorded


@dataclass(frozen=True)
class Visit:
    """A task solved once."""

    id: str
    round: int
    accuracy: float
    origin: str
    hardness: float | None
    fisher: float | None


def solved_episodes(
    ledger: Ledger, where: str = "", values: Sequence[object] = ()
) -> Iterator[SolvedEpisode]:
    """Episodes in the order in which they were logged, one after the other; `where` is a clause of SQL."""
    phases = {phase.id: (phase, class_names(ledger, phase)) for phase in ledger.phases()}
    rows = ledger.sql.execute(
        "SELECT id, round, step, origin, stream, shot, classes, images, loss, accuracy, hardness, fisher, "
        f"recall, wrong FROM episode {where} ORDER BY id",
        values,
    )
    for row in rows:
        yield _solved(row, *phases[phase_number(row[0])])


def find_episode(ledger: Ledger, id: str) -> SolvedEpisode:
    """The episode of a short id. Raises UserError where there is none."""
    if re.fullmatch(r"[0-9]{1,6}-[0-9]{1,12}", id):
        phase, number = map(int, id.split("-"))
        found = next(solved_episodes(ledger, "WHERE id = ?", (episode_id(phase, number),)), None)
        if found is not None:
            return found
    known = [f"{p.id}-0 to {p.id}-{p.episodes - 1} ({p.name})" for p in ledger.phases() if p.episodes]
    raise UserError(
        f"{ledger.path}: no episode {one_line(id)}; it has {', '.join(known) or 'no episodes yet'}"
    )


def worst_episodes(ledger: Ledger, phase: str, tasks: Sequence[tuple[str, ...]]) -> list[SolvedEpisode]:
    """The episode of lowest accuracy of each task, the latest of equals.

    Tasks are given by the names of their classes, as in `HardTask.classes`.

    Raises:
        UserError: there is no such phase, or it has no such task.
    """
    lowest = [worst_visit(visits).id for visits in histories(ledger, phase, tasks)]
    return [find_episode(ledger, id) for id in lowest]


def worst_visit(visits: Sequence[Visit]) -> Visit:
    """The one of lowest accuracy, the latest of equals."""
    return min(reversed(visits), key=lambda visit: visit.accuracy)


def histories(ledger: Ledger, phase: str, tasks: Sequence[tuple[str, ...]]) -> list[list[Visit]]:
    """Every visit of each task, in order; arguments and errors as of `worst_episodes`.

    One scan of the phase for all of them.
    """
    at = ledger.phase(phase)
    names = class_names(ledger, at)
    numbers = {names[c]: c for c in classes_drawn(ledger, at)}
    keys = [class_key(numbers[n] for n in task) if numbers.keys() >= set(task) else b"" for task in tasks]
    visits: dict[bytes, list[Visit]] = {key: [] for key in keys}
    if visits:
        rows = ledger.sql.execute(
            "SELECT classes, id, round, accuracy, origin, hardness, fisher FROM episode "
            f"WHERE id BETWEEN ? AND ? AND classes IN ({', '.join('?' * len(visits))}) ORDER BY id",
            (*phase_span(at.id), *visits),
        )
        for key, id_, *visit in rows:
            visits[key].append(Visit(short_id(id_), *visit))
    for key, task in zip(keys, tasks, strict=True):
        if not visits[key]:
            raise UserError(f'{ledger.path}: phase "{at.name}" has no task of the classes {", ".join(task)}')
    return [visits[key] for key in keys]


def _solved(row: Sequence[Any], at: Phase, names: ClassNames) -> SolvedEpisode:
    id_, round_, step, origin, stream, shot, key, images_blob, *rest = row
    loss, accuracy, hardness, fisher, recall, wrong_blob = rest
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
    return SolvedEpisode(
        short_id(id_), at.name, at.split, round_, step, origin, stream, way, shot, queries,
        classes, tuple(names[c] for c in classes), _by_class(support, way), _by_class(query, way),
        loss, accuracy, hardness, fisher, tuple(np.frombuffer(recall, "<f4").tolist()), wrong,
    )  # fmt: skip


def _by_class(images: list[int], way: int) -> tuple[tuple[int, ...], ...]:
    """N rows of as many images."""
    each = len(images) // way
    return tuple(tuple(images[n * each : (n + 1) * each]) for n in range(way))
