"""The column `squares` of classes, and ledgers of the format that did not have it."""

import sqlite3
from contextlib import closing

import pytest

from mtl.errors import UserError
from mtl.ledger import tables_schema as schema
from mtl.ledger.class_squares import class_squares
from mtl.ledger.digest import digest
from mtl.ledger.queries import hardest_classes
from mtl.ledger.store import Ledger

PHASES = ("meta-train", "evaluate test 4-way 1-shot")


def _fill(ledger, random_solved, rounds):
    for phase in PHASES:
        for number in rounds:
            batch, outcome = random_solved(9, 4, 12, seed=number)
            ledger.append(phase, number // 2, number, batch, outcome, "train")
    ledger.commit("filled")


def _views(ledger):
    return [hardest_classes(ledger, phase, 20, round) for phase in PHASES for round in (None, 0, 1)]


@pytest.fixture
def third(tmp_path, random_solved):
    """(path of a ledger of format 3, its views and digest when it was of the present format)."""
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as ledger:
        _fill(ledger, random_solved, range(4))
        kept = _views(ledger), digest(ledger)
    with closing(sqlite3.connect(path)) as connection:
        for table in ("class_total", "class_round"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN squares")
        connection.execute("PRAGMA user_version = 3")
        connection.commit()
    return path, *kept


def test_a_reader_computes_the_sums_of_the_third_format_from_its_episodes(third):
    path, views, _ = third
    before = path.read_bytes()
    with Ledger.read(path) as ledger:
        assert _views(ledger) == views
    assert path.read_bytes() == before


def test_a_writer_adds_them_once_and_goes_on(third, tmp_path, random_solved):
    path, views, whole = third
    with Ledger.open(path) as ledger:
        assert digest(ledger) == whole
        assert _views(ledger) == views
        _fill(ledger, random_solved, range(4, 8))
        after = _views(ledger)
    with Ledger.open(tmp_path / "never old.sqlite") as other:
        _fill(other, random_solved, range(8))
        assert _views(other) == after
    with Ledger.open(path) as ledger:
        assert ledger.sql.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert _views(ledger) == after


@pytest.mark.parametrize("recall", [b"half", 7, b"\0" * 15])
def test_a_ledger_whose_episodes_cannot_be_read_is_named_and_left_as_it_is(third, recall):
    path, *_ = third
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE episode SET recall = ? WHERE step = 1", (recall,))
        connection.commit()
    with pytest.raises(UserError, match="the ledger cannot be opened") as told:
        Ledger.open(path)
    assert str(path) in str(told.value)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        columns = connection.execute("SELECT name FROM pragma_table_info('class_round')").fetchall()
    assert ("squares",) not in columns


def test_the_sums_of_a_phase_or_round_without_episodes_are_none(third):
    path, *_ = third
    for open_ in (Ledger.read, Ledger.open):  # the format as it was, then as it is
        with open_(path) as ledger:
            assert class_squares(ledger.sql, ledger.phase("meta-train").id, 9) == {}
            assert class_squares(ledger.sql, 77) == {}


def test_tasks_of_two_numbers_of_queries_are_added_up(tmp_path, solved):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.append("p", 0, 0, *solved([[1, 2]], [[0.5, 1.0]], queries=4), "train")
        ledger.append("p", 1, 1, *solved([[2, 1]], [[0.8, 0.4]], queries=10), "train")
        at = ledger.phase("p").id
        assert class_squares(ledger.sql, at) == {1: 2**2 + 4**2, 2: 4**2 + 8**2}
        assert class_squares(ledger.sql, at, 1) == {1: 16, 2: 64}
        ledger.sql.execute("PRAGMA user_version = 3")
        assert class_squares(ledger.sql, at) == {1: 20, 2: 80}
        assert class_squares(ledger.sql, at, 1) == {1: 16, 2: 64}
