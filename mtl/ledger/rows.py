"""Episodes as rows of the ledger's tables, and back: keys, a solved meta-batch, arrays of many episodes."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl.episodes.episode import EpisodeBatch, Outcome
from mtl.episodes.pairs import places

NEIGHBOURHOOD = "neighbourhood"  # an episode around its first class
#: Why episodes were drawn, where something in them was hard.
HARD_ORIGINS = frozenset({"hard", "resampled", NEIGHBOURHOOD})
#: One wrong answer: which query of the task, as which class of it, with what probability.
WRONG = np.dtype([("query", "<u2"), ("taken", "<u2"), ("sure", "<f2")])
PairSum = tuple[int, int, float, float, int]  # low, high, Σ P(high|low), Σ P(low|high), visits

_PHASE_BITS = 40  # an episode's id is its phase and its number in one integer
_CHUNK = 1024  # rows read at a time


def episode_id(phase: int, number: int) -> int:
    """The primary key of the episode `number` of a phase."""
    return phase << _PHASE_BITS | number


def phase_span(phase: int) -> tuple[int, int]:
    """The lowest and the highest id that an episode of a phase may have."""
    return episode_id(phase, 0), episode_id(phase + 1, 0) - 1


def short_id(id_: int) -> str:
    """An episode's id as people type it: the phase's number and the episode's in it, "3-1042"."""
    phase = phase_number(id_)
    return f"{phase}-{id_ - episode_id(phase, 0)}"


def phase_number(id_: int) -> int:
    """The phase of an episode's id."""
    return id_ >> _PHASE_BITS


def class_key(classes: Iterable[int]) -> bytes:
    """A set of class ids as the ledger's key, in whatever order they come."""
    return np.array(sorted(classes), dtype=">i4").tobytes()


def class_keys(tasks: NDArray[np.int64]) -> list[bytes]:
    """The keys of k sets of class ids (k, m)."""
    return [row.tobytes() for row in np.sort(tasks, axis=1).astype(">i4")]


def key_classes(key: bytes) -> tuple[int, ...]:
    """The class ids of a key, ascending."""
    return tuple(np.frombuffer(key, dtype=">i4").tolist())


class BatchRows:
    """The rows that one meta-batch adds, each episode's classes brought into ascending order.

    The order of an episode's classes only says which label each got. In ascending order the classes are the
    key of the task, and recall, confusion and images follow the same order.
    """

    def __init__(self, batch: EpisodeBatch, outcome: Outcome) -> None:
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
        self._hardness, self._fisher = _known(outcome.hardness, tasks), _known(outcome.fisher, tasks)
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
                self._keys[t], images[t], self._loss[t], self._accuracy[t], self._hardness[t],
                self._fisher[t], recall[t], confusion[t], self._wrong[t],
            )
            for t in range(len(batch))
        ]  # fmt: skip

    def classes_seen(self) -> list[tuple[int, int, int, int, int]]:
        """(class, queries, correct, hard, correct²) for each class of each episode."""
        queries, way = self._batch.queries, self._batch.way
        correct: list[int] = np.rint(self._recall * queries).astype(int).ravel().tolist()
        hard = [h for h in self._hard for _ in range(way)]
        return [
            (c, queries, right, h, right * right)
            for c, right, h in zip(self.classes.ravel().tolist(), correct, hard, strict=True)
        ]

    def pairs_seen(self) -> Iterable[tuple[int, int, float, float]]:
        """(low, high, P(high|low), P(low|high)) for each pair of classes of each episode."""
        columns = _pair_columns(self.classes, self._confusion)
        return zip(*(column.tolist() for column in columns), strict=True)

    def neighbourhoods_seen(self) -> list[tuple[int, float]]:
        """(class, accuracy) for each episode that was drawn around its first class."""
        around = self._batch.classes[:, 0].tolist()
        drawn = zip(around, self._accuracy, self._batch.origin, strict=True)
        return [(c, accuracy) for c, accuracy, origin in drawn if origin == NEIGHBOURHOOD]

    def tasks_seen(self) -> list[tuple[bytes, float, int]]:
        """(key, accuracy, hard) for each episode."""
        return list(zip(self._keys, self._accuracy, self._hard, strict=True))


def _known(figures: Tensor | None, tasks: int) -> list[Any]:
    """The figure of each task, None where it is not known; nan is NULL in SQLite as well."""
    return [None] * tasks if figures is None else figures.double().tolist()


def _wrong_answers(outcome: Outcome, order: NDArray[np.int64]) -> list[bytes | None]:
    """WRONG records of each task, its classes in their new `order` (T, N); None where not known."""
    if outcome.predicted is None or outcome.confidence is None:
        return [None] * len(order)
    tasks, queries = len(order), outcome.predicted.shape[2]
    task = np.arange(tasks)[:, None]
    new_place = order.argsort(1)  # of each class
    old_predicted = outcome.predicted.numpy().reshape(tasks, -1).astype(np.int64)
    predicted = np.take_along_axis(new_place, old_predicted, 1).reshape(tasks, -1, queries)[task, order]
    confidence = outcome.confidence.numpy()[task, order]
    blobs: list[bytes | None] = []
    for answers, sure in zip(predicted, confidence, strict=True):
        place, query = (answers != np.arange(len(answers))[:, None]).nonzero()
        records = np.empty(len(place), WRONG)
        records["query"], records["taken"] = place * queries + query, answers[place, query]
        records["sure"] = sure[place, query]
        blobs.append(records.tobytes())
    return blobs


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


def neighbourhood_blobs(
    classes: Tensor, accuracy: Tensor, weight: Tensor | None, members: Tensor
) -> tuple[bytes, bytes, bytes | None, bytes]:
    """The BLOBs of a round's neighbourhoods: (C,), (C,), (C,) or None, and (C, k)."""
    return (
        classes.numpy().astype("<i4").tobytes(),
        accuracy.numpy().astype("<f4").tobytes(),
        None if weight is None else weight.numpy().astype("<f4").tobytes(),
        members.numpy().astype("<i4").tobytes(),
    )


def episode_blobs(rows: sqlite3.Cursor, dtype: str) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """From rows of two BLOBs, classes and another: arrays of many episodes of one shape.

    Yields:
        classes (k, N) and the numbers of the other BLOB (k, ...), of type `dtype`.
    """
    while chunk := rows.fetchmany(_CHUNK):
        by_shape: dict[tuple[int, int], list[tuple[bytes, bytes]]] = defaultdict(list)
        for classes, other in chunk:
            by_shape[len(classes), len(other)].append((classes, other))
        for blobs in by_shape.values():
            classes, others = (b"".join(column) for column in zip(*blobs, strict=True))
            ids = np.frombuffer(classes, ">i4").astype(np.int64).reshape(len(blobs), -1)
            yield ids, np.frombuffer(others, dtype).reshape(len(blobs), -1)


def sum_pairs(episodes: sqlite3.Cursor, top: int) -> list[PairSum]:
    """From the (classes, confusion) BLOBs of episodes: the `top` pairs by Σ confusion / (n + 1)."""
    parts = list(pair_parts(episodes))
    if not parts:
        return []
    keys, there, back = (np.concatenate(column) for column in zip(*parts, strict=True))
    pair, place, n = np.unique(keys, return_inverse=True, return_counts=True)
    there = np.bincount(place, there)
    back = np.bincount(place, back)
    order = np.lexsort((pair, -(there + back) / (n + 1)))[:top]
    columns = (pair[order] >> 32, pair[order] & 0xFFFFFFFF, there[order], back[order], n[order])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def pair_parts(
    episodes: sqlite3.Cursor,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]:
    """From (classes, confusion) BLOBs, in parts of many episodes, one entry a pair of an episode.

    Yields:
        low << 32 | high of the pair's classes, P(high|low) and P(low|high), each (pairs,).
    """
    for ids, confusion in episode_blobs(episodes, "<f2"):
        tasks, way = ids.shape
        low, high, there, back = _pair_columns(ids, confusion.astype(np.float64).reshape(tasks, way, way))
        yield low << 32 | high, there, back


def _pair_columns(classes: NDArray[np.int64], confusion: NDArray[Any]) -> list[NDArray[Any]]:
    """low, high, P(high|low), P(low|high) of all pairs of T tasks; from classes (T, N), confusion (T, N, N).

    A class that fills two ways of one task (`duplicates: adjacent`) makes no pair with itself.
    """
    i, j = places(classes.shape[1])
    columns = (classes[:, i], classes[:, j], confusion[:, i, j], confusion[:, j, i])
    two = columns[0] != columns[1]
    return [column[two] for column in columns]
