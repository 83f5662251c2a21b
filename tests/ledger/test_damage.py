"""A ledger whose rows no stage writes is one sentence, whatever they are; one that a stage wrote is right."""

import shutil
import sqlite3

import pytest

from mtl.errors import UserError
from mtl.ledger.damage import misfit
from mtl.ledger.show import render
from mtl.ledger.store import Ledger


@pytest.fixture
def crafted(whole_run, tmp_path):
    """A copy of a run's ledger after an SQL statement."""

    def make(statement):
        path = tmp_path / "hard_tasks.sqlite"
        shutil.copyfile(whole_run.ledger, path)
        with sqlite3.connect(path) as connection:
            connection.execute(statement)
        connection.close()
        return path

    return make


def test_a_ledger_that_a_run_wrote_fits(whole_run):
    with Ledger.read(whole_run.ledger) as ledger:
        assert misfit(ledger.sql) == ""


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE task_total SET classes = substr(classes, 2)", "classes of task_total"),
        ("UPDATE class_total SET queries = 'x'", "class_total.queries holds something else than INTEGER"),
        ("UPDATE class_total SET queries = 0, correct = -5", "queries and correct of class_total"),
        ("UPDATE class_round SET correct = queries + 1", "queries and correct of class_round"),
        ("UPDATE task_total SET total = 'much'", "task_total.total holds something else than REAL"),
        ("UPDATE round SET alpha = x'00'", "round.alpha holds something else than REAL"),
        ("DROP TABLE class_total", "no table class_total"),
    ],
)
def test_rows_that_no_stage_writes_are_one_sentence(crafted, statement, told):
    path = crafted(statement)
    with sqlite3.connect(path) as connection:
        assert told in misfit(connection)
    connection.close()


@pytest.mark.parametrize(
    "statement", ["UPDATE class_total SET correct = 2 * queries", "UPDATE task_total SET seen = 'x'"]
)
def test_a_view_of_such_a_ledger_is_refused(crafted, statement):
    with (
        pytest.raises(UserError, match=r"hard_tasks\.sqlite: the ledger is damaged \("),
        Ledger.read(crafted(statement)) as ledger,
    ):
        render(ledger)


def test_an_error_of_the_program_stays_one(whole_run):
    with pytest.raises(ZeroDivisionError), Ledger.read(whole_run.ledger):
        raise ZeroDivisionError


def test_a_ledger_is_read_where_its_log_finds_no_room(whole_run, tmp_path):
    path = tmp_path / "hard_tasks.sqlite"
    shutil.copyfile(whole_run.ledger, path)
    path.with_name(f"{path.name}-wal").touch()  # as an attempt to open it on a full disk leaves behind
    path.with_name(f"{path.name}-shm").mkdir()
    with Ledger.read(path) as ledger, Ledger.read(whole_run.ledger) as plain:
        assert render(ledger) == render(plain)
