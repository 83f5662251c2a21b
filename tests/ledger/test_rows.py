"""Solved meta-batches as rows, and rows as arrays."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mtl.ledger.rows import WRONG, episode_blobs, key_classes


def test_every_episode_comes_once_with_what_belongs_to_it(ledger, random_solved):
    """More than are read at a time, of two ways."""
    batches = [
        random_solved(tasks, way, 9, seed=seed)
        for seed, (tasks, way) in enumerate([(700, 3), (2, 4), (900, 3), (600, 3)])
    ]
    expected, found, parts = [], [], 0
    for batch, outcome in batches:
        ledger.append("p", 0, 0, batch, outcome, "train")
        for classes, recall in zip(batch.classes.tolist(), outcome.recall.tolist(), strict=True):
            expected.append(sorted(zip(classes, recall, strict=True)))
    for classes, recall in episode_blobs(ledger.sql.execute("SELECT classes, recall FROM episode"), "<f4"):
        parts += 1
        assert classes.shape == recall.shape
        for one, share in zip(classes.tolist(), recall.tolist(), strict=True):
            found.append(list(zip(one, share, strict=True)))
    assert 2 < parts < 10
    assert sorted(found) == sorted(expected)
    assert found[0] == expected[0]
    none = ledger.sql.execute("SELECT classes, recall FROM episode WHERE id < 0")
    assert list(episode_blobs(none, "<f4")) == []


def test_tables_are_read_row_by_row(ledger, solved):
    table = [[[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.0, 0.5, 0.5]]]
    ledger.append("p", 0, 0, *solved([[1, 2, 300]], [[0.5, 0.75, 0.5]], confusion=table), "train")
    rows = ledger.sql.execute("SELECT classes, confusion FROM episode")
    ((classes, confusion),) = episode_blobs(rows, "<f2")
    assert classes.tolist() == [[1, 2, 300]]
    assert confusion.tolist() == [list(np.ravel(table))]


def _wrong(ledger):
    """(classes, records) of each episode."""
    rows = ledger.sql.execute("SELECT classes, wrong FROM episode ORDER BY id")
    return [(key_classes(key), np.frombuffer(wrong, WRONG).tolist()) for key, wrong in rows]


def _by_hand(batch, outcome, order=sorted):
    """The same from the batch itself, query after query of the classes in their new order."""
    found = []
    for t, classes in enumerate(batch.classes.tolist()):
        ordered, records = order(classes), []
        for place, c in enumerate(ordered):
            n = classes.index(c)
            for q in range(batch.queries):
                taken = classes[int(outcome.predicted[t, n, q])]
                if taken != c:
                    sure = float(outcome.confidence[t, n, q].half())
                    records.append((place * batch.queries + q, ordered.index(taken), sure))
        found.append((tuple(ordered), records))
    return found


@pytest.mark.parametrize(("way", "queries"), [(2, 1), (3, 4), (5, 3), (7, 2)])
def test_wrong_answers_are_in_the_order_of_the_classes(ledger, random_solved, way, queries):
    batch, outcome = random_solved(12, way, 12, seed=way, queries=queries)
    expected = _by_hand(batch, outcome)
    as_they_came = [records for _, records in _by_hand(batch, outcome, order=list)]
    assert as_they_came != [records for _, records in expected]  # else nothing would be put in order
    ledger.append("p", 0, 0, batch, outcome, "train")
    assert _wrong(ledger) == expected


def test_wrong_answers_of_a_task_by_hand(ledger, solved):
    batch, outcome = solved([[7, 2, 5]], [[0.5, 1.0, 0.0]], queries=2)
    taken = torch.tensor([[[0, 2], [1, 1], [0, 1]]], dtype=torch.int16)  # of 7, 2, 5: 7 as 5; 5 as 7 and as 2
    sure = torch.tensor([[[0.5, 0.75], [1.0, 1.0], [0.625, 0.375]]])
    ledger.append("p", 0, 0, batch, replace(outcome, predicted=taken, confidence=sure), "train")
    # classes 2, 5, 7 have the queries 0-1, 2-3, 4-5
    assert _wrong(ledger) == [((2, 5, 7), [(2, 2, 0.625), (3, 0, 0.375), (5, 1, 0.75)])]


def test_no_wrong_answer_is_not_the_same_as_none_known(ledger, solved):
    batch, outcome = solved([[1, 2]], [[1.0, 1.0]], queries=2)
    taken = torch.tensor([[[0, 0], [1, 1]]], dtype=torch.int16)
    answered = replace(outcome, predicted=taken, confidence=torch.ones(1, 2, 2))
    ledger.append("p", 0, 0, batch, answered, "train")
    ledger.append("p", 0, 1, batch, outcome, "train")
    rows = ledger.sql.execute("SELECT wrong FROM episode ORDER BY id").fetchall()
    assert rows == [(b"",), (None,)]
