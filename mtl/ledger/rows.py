"""A solved meta-batch as rows of the ledger's tables."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.episodes.pairs import places

if TYPE_CHECKING:  # the samplers of mtl.episodes live beside those that call this package
    from mtl.episodes.episode import EpisodeBatch, Outcome
import sqlite3
from collections import defaultdict
from collections.abc import Iterator

HARD_ORIGINS = frozenset({"hard", "resampled"})  # episodes drawn because something in them was hard

_PHASE_BITS = 40  # an episode's id is its phase and its number in one integer


def episode_id(phase: int, number: int) -> int:
    """The primary key of the episode `number` of a phase."""
    return phase << _PHASE_BITS | number


def class_key(classes: Iterable[int]) -> bytes:
    """A set of class ids as the ledger's key, whatever order they come in."""
    return np.array(sorted(classes), dtype=">i4").tobytes()


def class_keys(tasks: NDArray[np.int64]) -> list[bytes]:
    """The keys of k sets of class ids (k, m)."""
    return [row.tobytes() for row in np.sort(tasks, axis=1).astype(">i4")]


def key_classes(key: bytes) -> tuple[int, ...]:
    """The class ids of a key, ascending."""
    return tuple(np.frombuffer(key, dtype=">i4").tolist())


#: One wrong answer: which query of the task, as which class of it, with what probability.
WRONG = np.dtype([("query", "<u2"), ("taken", "<u2"), ("sure", "<f2")])


class BatchRows:
    """The rows that one meta-batch adds, each episode's classes brought into ascending order.

    An episode's order of classes means nothing but which label each got. In ascending order the classes
    are the key of the task, and what belongs to class n stands at place n of recall, confusion and images.
    """

    def __init__(self, batch: "EpisodeBatch", outcome: "Outcome") -> None:
        tasks = len(batch)
        classes = batch.classes.numpy()
        order = classes.argsort(1)
        task = np.arange(tasks)[:, None]  # [task, order] takes the places of each row in their new order
        self.classes = classes[task, order]  # (T, N)
        support, query = batch.support.numpy()[task, order], batch.query.numpy()[task, order]

        self._batch = batch
        self._images = np.concatenate([support.reshape(tasks, -1), query.reshape(tasks, -1)], 1)
        self._recall = outcome.recall.numpy()[task, order]
        self._confusion = outcome.confusion.numpy()[task[:, :, None], order[:, :, None], order[:, None, :]]
        self._loss: list[float] = outcome.loss.double().tolist()
        self._accuracy: list[float] = outcome.accuracy.double().tolist()
        self._wrong = _wrong_answers(outcome, order)
        self._hard = [int(origin in HARD_ORIGINS) for origin in batch.origin]
        self._keys = class_keys(self.classes)

    def episodes(self, phase: int, first: int, round_: int, step: int) -> list[tuple[Any, ...]]:
        """One row an episode, the first of which has the number `first`."""
        images = [row.tobytes() for row in self._images.astype("<i4")]
        recall = [row.tobytes() for row in self._recall.astype("<f4")]
        confusion = [row.tobytes() for row in self._confusion.astype("<f2")]
        batch = self._batch
        return [
            (
                episode_id(phase, first + t), round_, step, batch.origin[t], batch.index[t], batch.shot,
                self._keys[t], images[t], self._loss[t], self._accuracy[t], recall[t], confusion[t],
                self._wrong[t],
            )
            for t in range(len(batch))
        ]  # fmt: skip

    def classes_seen(self) -> list[tuple[int, int, int, int]]:
        """(class, queries, correct, hard) for each class of each episode."""
        queries, way = self._batch.queries, self._batch.way
        correct: list[int] = np.rint(self._recall * queries).astype(int).ravel().tolist()
        hard = [h for h in self._hard for _ in range(way)]
        return [
            (c, queries, right, h)
            for c, right, h in zip(self.classes.ravel().tolist(), correct, hard, strict=True)
        ]

    def pairs_seen(self) -> Iterable[tuple[int, int, float, float]]:
        """(low, high, P(high|low), P(low|high)) for each pair of classes of each episode.

        A class that fills two ways of one task (`duplicates: adjacent`) makes no pair with itself.
        """
        i, j = places(self._batch.way)
        columns: Sequence[NDArray[Any]] = (
            self.classes[:, i], self.classes[:, j], self._confusion[:, i, j], self._confusion[:, j, i]
        )  # fmt: skip
        two = columns[0] != columns[1]
        return zip(*(column[two].tolist() for column in columns), strict=True)

    def tasks_seen(self) -> list[tuple[bytes, float, int]]:
        """(key, accuracy, hard) for each episode."""
        return list(zip(self._keys, self._accuracy, self._hard, strict=True))


def _wrong_answers(outcome: "Outcome", order: NDArray[np.int64]) -> list[bytes | None]:
    """WRONG records of each task, its classes in their new `order` (T, N); None where not known."""
    if outcome.predicted is None or outcome.confidence is None:
        return [None] * len(order)
    task = np.arange(len(order))[:, None]
    place = order.argsort(1)  # where each class has gone
    taken = np.take_along_axis(place, outcome.predicted.numpy().reshape(len(order), -1).astype(np.int64), 1)
    queries = outcome.predicted.shape[2]
    taken = taken.reshape(len(order), -1, queries)[task, order]
    sure = outcome.confidence.numpy()[task, order]
    found: list[bytes | None] = []
    for answers, surely in zip(taken, sure, strict=True):
        own, query = (answers != np.arange(len(answers))[:, None]).nonzero()
        records = np.empty(len(own), WRONG)
        records["query"], records["taken"] = own * queries + query, answers[own, query]
        records["sure"] = surely[own, query]
        found.append(records.tobytes())
    return found


def heaviest(weights: Tensor, count: int) -> Tensor:
    """(k,) int64: the units of the k ≤ count largest weights, heaviest first, equal ones by their number.

    Unlike topk, which may take any of several equal weights; unlike a stable sort, without sorting them all.
    """
    least = float(weights.topk(min(count, weights.numel())).values[-1])
    values = weights.numpy()
    above = np.flatnonzero(values > least)
    above = above[np.argsort(-values[above], kind="stable")]
    level = np.flatnonzero(values == least)
    return torch.from_numpy(np.concatenate([above, level[: count - above.size]]))


_ROWS = 1024


def episode_columns(
    rows: sqlite3.Cursor, dtype: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any], tuple[int, ...]]]:
    """From rows of (classes, another BLOB, integers ...): what many episodes of one shape have.

    Yields:
        classes (k, N), the numbers of the other BLOB (k, ...) as they lie there, of type `dtype`, and the
        integers, which are the same for all k.
    """
    while some := rows.fetchmany(_ROWS):
        shapes: dict[tuple[int, ...], list[tuple[bytes, bytes]]] = defaultdict(list)
        for classes, other, *integers in some:
            shapes[len(classes), len(other), *integers].append((classes, other))
        for (_, _, *integers), blobs in shapes.items():
            classes, others = (b"".join(column) for column in zip(*blobs, strict=True))
            ids = np.frombuffer(classes, ">i4").astype(np.int64).reshape(len(blobs), -1)
            yield ids, np.frombuffer(others, dtype).reshape(len(blobs), -1), tuple(integers)


PairSum = tuple[int, int, float, float, int]  # low, high, Σ P(high|low), Σ P(low|high), visits


def sum_pairs(episodes: Iterable[tuple[bytes, bytes]], top: int) -> list[PairSum]:
    """From the (classes, confusion) BLOBs of episodes: the `top` pairs by Σ confusion / (n + 1)."""
    by_way: dict[int, tuple[list[bytes], list[bytes]]] = defaultdict(lambda: ([], []))
    for classes, confusion in episodes:
        classes_of, confusion_of = by_way[len(classes)]
        classes_of.append(classes)
        confusion_of.append(confusion)
    if not by_way:
        return []

    parts = [
        _pairs(b"".join(classes), b"".join(confusion), len(classes)) for classes, confusion in by_way.values()
    ]
    keys, there, back = (np.concatenate(column) for column in zip(*parts, strict=True))
    pair, place, n = np.unique(keys, return_inverse=True, return_counts=True)
    there = np.bincount(place, there)
    back = np.bincount(place, back)
    order = np.lexsort((pair, -(there + back) / (n + 1)))[:top]
    columns = (pair[order] >> 32, pair[order] & 0xFFFFFFFF, there[order], back[order], n[order])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _pairs(classes: bytes, confusion: bytes, tasks: int) -> tuple[NDArray[Any], ...]:
    """(keys, P(high|low), P(low|high)) of all pairs in episodes of one way; a key is low << 32 | high."""
    ids = np.frombuffer(classes, ">i4").astype(np.int64).reshape(tasks, -1)
    way = ids.shape[1]
    table = np.frombuffer(confusion, "<f2").astype(np.float64).reshape(tasks, way, way)
    i, j = np.triu_indices(way, 1)
    two = ids[:, i] != ids[:, j]  # a class may fill two ways of one task
    return (ids[:, i] << 32 | ids[:, j])[two], table[:, i, j][two], table[:, j, i][two]
