"""Single images: which were answered wrong as queries, and which led their class astray as support images."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtl.ledger.queries import checked_phase, class_names, episode_span, even_round
from mtl.ledger.rows import WRONG, phase_span
from mtl.ledger.store import Ledger

_CHUNK = 4096  # episodes read at a time
_PENDING = 1_000_000  # wrong answers after which equal ones are added up

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class HardImage:
    """One image over the episodes that it was drawn into."""

    image: int  # index into the images of the split
    name: str  # of its class
    asked: int  # times it was a query whose answer is known
    wrong: int  # ... and answered wrong
    taken_for: str  # the class that it was taken for most often; "" where it was never wrong
    supports: int  # times it was a support image
    unlucky: int  # ... in an episode in which its class was among the quarter recalled worst


@dataclass(frozen=True)
class _Episodes:
    """k episodes of one shape."""

    classes: Ints  # (k, N)
    support: Ints  # (k, N, K)
    query: Ints  # (k, N, Q)
    recall: NDArray[np.float32]  # (k, N)
    known: NDArray[np.bool_]  # (k,) whether single answers were recorded
    wrong: NDArray[Any]  # (w,) WRONG records of all of them
    episode: Ints  # (w,) the episode of each


def hardest_images(
    ledger: Ledger, phase: str, top: int = 20, round: int | None = None, all_drawn: bool = False
) -> list[HardImage]:
    """Images by wrong answers / (times asked + 1), the hardest first.

    Those without a wrong answer are left out, unless `all_drawn`. Of an evaluation the first round counts, as
    for classes. A support is unlucky where the recall of its class in that episode is below 1 and at most the
    lower quartile of the recalls of all classes of all these episodes. Two passes over the episodes; memory
    grows with the number of images, not of episodes.
    """
    at = checked_phase(ledger, phase, top, round)
    round = even_round(at) if round is None else round
    span = phase_span(at.id) if round is None else episode_span(ledger, at, round)
    quartile, count = _quartile_and_count(ledger.sql, span)
    asked, wrong, supports, unlucky, own = np.zeros((5, count), np.int64)
    taken = [np.zeros((2, 0), np.int64)]  # (2, n): image << 32 | class that it was taken for, and how often
    for part in _episodes(ledger.sql, span):
        own[part.query] = own[part.support] = part.classes[..., None]
        asked += np.bincount(part.query[part.known].ravel(), minlength=count)
        supports += np.bincount(part.support.ravel(), minlength=count)
        bad = (part.recall <= quartile) & (part.recall < 1)
        unlucky += np.bincount(part.support[bad].ravel(), minlength=count)
        images = part.query.reshape(len(part.query), -1)[part.episode, part.wrong["query"]]
        wrong += np.bincount(images, minlength=count)
        answers = images << 32 | part.classes[part.episode, part.wrong["taken"]]
        taken.append(np.stack([answers, np.ones_like(answers)]))
        if sum(pairs.shape[1] for pairs in taken[1:]) > max(_PENDING, taken[0].shape[1]):
            taken = [_added_up(taken)]
    worst = np.flatnonzero(asked + supports if all_drawn else wrong)
    worst = worst[np.lexsort((worst, -wrong[worst] / (asked[worst] + 1)))[:top]]
    names, most = class_names(ledger, at), _most_often(_added_up(taken), worst)
    columns = (column[worst].tolist() for column in (own, asked, wrong, supports, unlucky))
    return [
        HardImage(image, names[c], queries, errors, "" if other is None else names[other], drawn, bad_luck)
        for image, other, c, queries, errors, drawn, bad_luck in zip(
            worst.tolist(), most, *columns, strict=True
        )
    ]


def _quartile_and_count(sql: sqlite3.Connection, span: tuple[int, int]) -> tuple[float, int]:
    """The lower quartile of the recalls of all classes of all episodes; one more than the highest image."""
    recalls: Counter[float] = Counter()
    count = 0
    for part in _episodes(sql, span):
        values, times = np.unique(part.recall, return_counts=True)
        recalls.update(dict(zip(values.tolist(), times.tolist(), strict=True)))
        count = max(count, int(part.support.max()) + 1, int(part.query.max()) + 1)
    seen = 0
    for value in sorted(recalls):
        seen += recalls[value]
        if 4 * seen >= recalls.total():
            return value, count
    return 0.0, count


def _added_up(taken: list[Ints]) -> Ints:
    """(2, n) the pairs of (2, ·) parts, each once and ascending, with the sums of their counts."""
    keys, times = np.concatenate(taken, 1)
    pairs, place = np.unique(keys, return_inverse=True)
    return np.stack([pairs, np.bincount(place, times, len(pairs)).astype(np.int64)])


def _most_often(taken: Ints, images: Ints) -> list[int | None]:
    """The class that each image was taken for most often, of equals the lowest; None: it never was."""
    first, last = (np.searchsorted(taken[0], (images + more) << 32) for more in (0, 1))
    return [
        int(taken[0, a + taken[1, a:b].argmax()] & 0xFFFFFFFF) if a < b else None
        for a, b in zip(first, last, strict=True)
    ]


def _episodes(sql: sqlite3.Connection, span: tuple[int, int]) -> Iterator[_Episodes]:
    rows = sql.execute(
        "SELECT shot, classes, images, recall, wrong FROM episode WHERE id BETWEEN ? AND ?", span
    )
    while chunk := rows.fetchmany(_CHUNK):
        by_shape: dict[tuple[int, int, int], list[tuple[Any, ...]]] = defaultdict(list)
        for shot, classes, images, *others in chunk:
            by_shape[shot, len(classes), len(images)].append((classes, images, *others))
        for (shot, *_), episodes in by_shape.items():
            yield _of_one_shape(shot, *zip(*episodes, strict=True))


def _of_one_shape(
    shot: int,
    classes: tuple[bytes, ...],
    images: tuple[bytes, ...],
    recall: tuple[bytes, ...],
    wrong: tuple[bytes | None, ...],
) -> _Episodes:
    k = len(classes)
    ids = np.frombuffer(b"".join(classes), ">i4").astype(np.int64).reshape(k, -1)
    way = ids.shape[1]
    both = np.frombuffer(b"".join(images), "<i4").astype(np.int64).reshape(k, -1)
    records = [blob or b"" for blob in wrong]
    return _Episodes(
        ids,
        both[:, : way * shot].reshape(k, way, shot),
        both[:, way * shot :].reshape(k, way, -1),
        np.frombuffer(b"".join(recall), "<f4").reshape(k, way),
        np.array([blob is not None for blob in wrong]),
        np.frombuffer(b"".join(records), WRONG),
        np.repeat(np.arange(k), [len(blob) // WRONG.itemsize for blob in records]),
    )
