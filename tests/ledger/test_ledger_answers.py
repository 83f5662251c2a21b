"""The column `wrong` of episodes, and ledgers of the format that did not have it."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from mtl.ledger import tables_schema as schema
from mtl.ledger.digest import digest
from mtl.ledger.rows import WRONG, key_classes
from mtl.ledger.store import Ledger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "l.sqlite"


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
def test_wrong_answers_stand_in_the_order_of_the_classes(path, random_solved, way, queries):
    batch, outcome = random_solved(12, way, 12, seed=way, queries=queries)
    expected = _by_hand(batch, outcome)
    as_they_came = [records for _, records in _by_hand(batch, outcome, order=list)]
    assert as_they_came != [records for _, records in expected]  # else nothing would be put in order
    with Ledger.open(path) as ledger:
        ledger.append("p", 0, 0, batch, outcome, "train")
        assert _wrong(ledger) == expected


def test_wrong_answers_of_a_task_by_hand(path, solved):
    batch, outcome = solved([[7, 2, 5]], [[0.5, 1.0, 0.0]], queries=2)
    taken = torch.tensor([[[0, 2], [1, 1], [0, 1]]], dtype=torch.int16)  # of 7, 2, 5: 7 as 5; 5 as 7 and as 2
    sure = torch.tensor([[[0.5, 0.75], [1.0, 1.0], [0.625, 0.375]]])
    with Ledger.open(path) as ledger:
        ledger.append("p", 0, 0, batch, replace(outcome, predicted=taken, confidence=sure), "train")
        # classes 2, 5, 7 have the queries 0-1, 2-3, 4-5
        assert _wrong(ledger) == [((2, 5, 7), [(2, 2, 0.625), (3, 0, 0.375), (5, 1, 0.75)])]


def test_no_wrong_answer_is_not_the_same_as_none_known(path, solved):
    batch, outcome = solved([[1, 2]], [[1.0, 1.0]], queries=2)
    taken = torch.tensor([[[0, 0], [1, 1]]], dtype=torch.int16)
    with Ledger.open(path) as ledger:
        answered = replace(outcome, predicted=taken, confidence=torch.ones(1, 2, 2))
        ledger.append("p", 0, 0, batch, answered, "train")
        ledger.append("p", 0, 1, batch, outcome, "train")
        rows = ledger.sql.execute("SELECT wrong FROM episode ORDER BY id").fetchall()
    assert rows == [(b"",), (None,)]


def _first_format(path):
    """Takes a ledger back to the format before `wrong`: its table without the column, and its number."""
    columns = schema.TABLES["episode"].replace(",\n        wrong BLOB", "")
    assert "wrong" not in columns
    with closing(sqlite3.connect(path)) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(episode)")]
        kept = ", ".join(name for name in names if name != "wrong")
        connection.execute("ALTER TABLE episode RENAME TO whole")
        connection.execute(f"CREATE TABLE episode {columns}")
        connection.execute(f"INSERT INTO episode SELECT {kept} FROM whole")
        connection.execute("DROP TABLE whole")
        connection.execute("DROP TABLE image_set")
        for table in ("class_total", "class_round"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN squares")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()


@pytest.fixture
def old(path, solved):
    """A ledger of the first format with one episode."""
    with Ledger.open(path) as ledger:
        ledger.append("p", 0, 0, *solved([[1, 2]], [[1.0, 0.5]]), "train")
        ledger.commit("step 1")
        whole = digest(ledger)
    _first_format(path)
    return path, whole


def _format(path):
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(episode)")]
        return connection.execute("PRAGMA user_version").fetchone()[0], columns[-1], len(columns)


def test_a_ledger_of_the_first_format_is_read_as_it_is(old):
    path, _ = old
    before = path.read_bytes()
    with Ledger.read(path) as ledger:
        assert ledger.token() == "step 1"
        assert [(p.name, p.episodes) for p in ledger.phases()] == [("p", 1)]
        assert ledger.sql.execute("SELECT accuracy FROM episode").fetchall() == [(0.75,)]
    assert path.read_bytes() == before
    assert _format(path) == (1, "confusion", 12)


def test_a_writer_brings_the_first_format_up_to_date_and_goes_on(old, random_solved):
    path, whole = old
    with Ledger.open(path) as ledger:
        assert ledger.token() == "step 1"
        assert digest(ledger) == whole  # nothing else has changed
        batch, outcome = random_solved(3, 2, 5, seed=0)
        ledger.append("p", 0, 1, batch, outcome, "train")
        ledger.commit("step 2")
        rows = ledger.sql.execute("SELECT wrong FROM episode ORDER BY id").fetchall()
    assert rows[0] == (None,)
    expected = [records for _, records in _by_hand(batch, outcome)]
    assert [np.frombuffer(wrong, WRONG).tolist() for (wrong,) in rows[1:]] == expected
    assert _format(path) == (schema.VERSION, "wrong", 13)
    with Ledger.open(path) as ledger:  # once is enough
        assert ledger.phase("p").episodes == 4


def test_bringing_it_up_to_date_needs_no_commit_of_the_run(old):
    path, whole = old
    Ledger.open(path).close()
    assert _format(path) == (schema.VERSION, "wrong", 13)
    with Ledger.read(path) as ledger:
        assert ledger.token() == "step 1"
        assert digest(ledger) == whole
