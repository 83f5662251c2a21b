"""Episodes as rows of the ledger's tables, and back: keys, a solved meta-batch, arrays of many episodes."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

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
_PAIRS_AT_ONCE = 2**24  # sorted


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


class PairSums(NamedTuple):
    """The sums over the episodes that P pairs of classes met in, in the order of the pairs."""

    keys: NDArray[np.int64]  # (P,) low << 32 | high, ascending
    there: NDArray[np.float64]  # (P,) Σ P(high|low)
    back: NDArray[np.float64]  # (P,) Σ P(low|high)
    visits: NDArray[np.int64]  # (P,)

    def most_confused(self, top: int) -> list[PairSum]:
        """The `top` pairs by Σ confusion / (visits + 1), most confused first; equals in their order."""
        score = -(self.there + self.back) / (self.visits + 1)
        rows = np.arange(len(score))
        if top < len(rows):
            rows = np.flatnonzero(score <= np.partition(score, top - 1)[top - 1])
        rows = rows[np.argsort(score[rows], kind="stable")[:top]]
        low, high = self.keys[rows] >> 32, self.keys[rows] & 0xFFFFFFFF
        columns = (low, high, self.there[rows], self.back[rows], self.visits[rows])
        return list(zip(*(column.tolist() for column in columns), strict=True))


def sum_pairs(episodes: sqlite3.Cursor) -> PairSums:
    """The sums of all pairs, from the (classes, confusion) BLOBs of episodes.

    Millions of pairs are added up in parts that grow with what is there, so that each is sorted a few times.
    """
    empty = np.empty(0)
    sums, parts, waiting = PairSums(empty.astype(int), empty, empty, empty.astype(int)), list[PairSums](), 0
    for keys, there, back in pair_parts(episodes):
        parts.append(PairSums(keys, there, back, np.ones(len(keys), np.int64)))
        waiting += len(keys)
        if waiting > max(_PAIRS_AT_ONCE, len(sums.keys)):
            sums, parts, waiting = _added_up([sums, *parts]), [], 0
    return _added_up([sums, *parts])


def _added_up(parts: list[PairSums]) -> PairSums:
    """One entry for each pair, from parts that have any number.

    Sums are differences of running sums, which are exact: a float16 in [0, 1] is a multiple of 2^-24, so that
    2^29 of them fit into a float64.
    """
    keys, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    ids = np.uint16 if keys.max(initial=0) >> 32 < 2**16 else np.int32  # of 16 bits they are sorted fastest
    order = np.lexsort(((keys & 0xFFFFFFFF).astype(ids), (keys >> 32).astype(ids)))
    keys = keys[order]
    (last,) = np.diff(keys, append=-1).nonzero()
    return PairSums(keys[last], *(np.diff(c[order].cumsum()[last], prepend=c.dtype.type(0)) for c in columns))


def pair_parts(
    episodes: sqlite3.Cursor,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]:
    """From (classes, confusion) BLOBs, in parts of many episodes, one entry a pair of an episode.

    Yields:
        low << 32 | high of the pair's classes, P(high|low) and P(low|high), each (pairs,).
    """
    for ids, confusion in episode_blobs(episodes, "<f2"):
        tasks, way = ids.shape
        i, j = places(way)
        low, high = ids[:, i], ids[:, j]
        table = confusion.reshape(tasks, way * way)
        there, back = (table[:, cells].astype(np.float64) for cells in (i * way + j, j * way + i))
        two = low != high  # a class that fills two ways of a task (`duplicates: adjacent`) is no pair
        yield (low << 32 | high)[two], there[two], back[two]
