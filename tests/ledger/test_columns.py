import numpy as np

from mtl.ledger.rows import episode_columns
from mtl.ledger.store import Ledger


def test_every_episode_comes_once_with_what_belongs_to_it(tmp_path, random_solved):
    """More than are read at a time, of two ways and two numbers of queries."""
    batches = [
        random_solved(tasks, way, 9, seed=seed, queries=queries)
        for seed, (tasks, way, queries) in enumerate([(700, 3, 2), (2, 4, 2), (900, 3, 5), (600, 3, 2)])
    ]
    expected, found = [], []
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        for batch, outcome in batches:
            ledger.append("p", 0, 0, batch, outcome, "train")
            for classes, recall in zip(batch.classes.tolist(), outcome.recall.tolist(), strict=True):
                expected.append((batch.queries, sorted(zip(classes, recall, strict=True))))
        rows = ledger.sql.execute(
            "SELECT classes, recall, length(images) / length(classes) - shot FROM episode"
        )
        parts = 0
        for classes, recall, (queries,) in episode_columns(rows, "<f4"):
            parts += 1
            assert classes.shape == recall.shape
            for one, share in zip(classes.tolist(), recall.tolist(), strict=True):
                found.append((queries, list(zip(one, share, strict=True))))
        assert 3 < parts < 10
        none = ledger.sql.execute("SELECT classes, recall FROM episode WHERE id < 0")
        assert list(episode_columns(none, "<f4")) == []
    assert sorted(found) == sorted(expected)
    assert found[0] == expected[0]


def test_tables_are_read_row_by_row(tmp_path, solved):
    table = [[[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.0, 0.5, 0.5]]]
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.append("p", 0, 0, *solved([[1, 2, 300]], [[0.5, 0.75, 0.5]], confusion=table), "train")
        rows = ledger.sql.execute("SELECT classes, confusion FROM episode")
        ((classes, confusion, integers),) = episode_columns(rows, "<f2")
    assert classes.tolist() == [[1, 2, 300]]
    assert confusion.tolist() == [list(np.ravel(table))]
    assert integers == ()
