"""Opening and refusing files, journals, and what is damaged: one sentence, whatever the rows are."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from mtl.errors import UserError
from mtl.ledger import tables_schema as schema
from mtl.ledger.show import render
from mtl.ledger.store import Ledger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hard tasks #1?.sqlite"  # characters with a meaning in a URI


def test_one_writer_at_a_time(path, monkeypatch):
    monkeypatch.setattr(schema, "_BUSY_SECONDS", 0.05)
    with Ledger.open(path), pytest.raises(UserError, match="another process is writing"):
        Ledger.open(path)


def test_a_reader_cannot_write(path):
    with Ledger.open(path) as ledger:
        ledger.commit("x")
    with Ledger.read(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.register_classes("train", {0: "a"})


def test_a_reader_leaves_nothing_behind_and_needs_no_room(path):
    with Ledger.open(path) as ledger:
        ledger.commit("x")
    with Ledger.read(path) as reader:
        assert reader.token() == "x"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_no_ledger(tmp_path):
    missing, empty, text, other = (tmp_path / name for name in ("missing", "empty", "text", "other"))
    empty.touch()
    text.write_text("not a database at all, but long enough to have a header " * 20)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (x)")
    for path, words in (
        (missing, "no ledger"),
        (empty, "empty"),
        (text, "is not a ledger"),
        (other, "not a ledger of hard tasks"),
        (tmp_path, "no ledger"),
    ):
        with pytest.raises(UserError, match=words) as error:
            Ledger.read(path)
        assert str(path) in str(error.value)
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(UserError, match="not a ledger"):
            Ledger.open(path)
        assert path.read_bytes() == before
    with pytest.raises(UserError, match="cannot be opened"):
        Ledger.open(tmp_path / "no folder" / "x.sqlite")
    assert not missing.exists()


def test_a_ledger_of_another_format_is_refused_and_left_as_it_is(path):
    Ledger.open(path).close()
    for version in (99, 4):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        before = path.read_bytes()
        for open_ in (Ledger.read, Ledger.open):
            with pytest.raises(UserError, match=f"format {version}, .* reads format {schema.VERSION}; use"):
                open_(path)
        assert path.read_bytes() == before


def test_a_ledger_with_sums_of_pairs_is_read_as_it_is_and_loses_them_when_written(path):
    with Ledger.open(path) as ledger:
        ledger.register_classes("train", {0: "a"})
        ledger.sql.execute("CREATE TABLE pair_total (phase INTEGER)")
        ledger.sql.execute("PRAGMA user_version = 5")
        ledger.commit("x")
    before = path.read_bytes()
    with Ledger.read(path) as reader:
        assert reader.token() == "x"
    assert path.read_bytes() == before
    with Ledger.open(path) as ledger:
        assert ledger.token() == "x"
        tables = [name for (name,) in ledger.sql.execute("SELECT name FROM sqlite_master")]
        assert ledger.sql.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    assert "phase" in tables
    assert "pair_total" not in tables


def test_on_a_network_file_system_another_journal_is_kept_and_readers_see_the_last_commit(
    tmp_path, monkeypatch, caplog
):
    path = tmp_path / "hard_tasks.sqlite"
    with Ledger.open(path) as ledger:  # as an older version left it there
        assert ledger.sql.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert not caplog.text
    monkeypatch.setattr(schema, "network_kind", lambda path: "nfs4")
    with Ledger.open(path) as ledger:
        assert ledger.sql.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        ledger.register_classes("train", {0: "a"})
        with Ledger.read(path) as reader:
            assert reader.token() == ""
        ledger.commit("one")
        with Ledger.read(path) as reader:
            assert reader.token() == "one"
    assert "nfs4" in caplog.text
    assert not path.with_name(path.name + "-wal").exists()


def test_a_commit_that_returned_outlives_a_loss_of_power(tmp_path):
    with Ledger.open(tmp_path / "hard_tasks.sqlite") as ledger:
        assert ledger.sql.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


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
        assert schema.damage(ledger.sql) == ""


@pytest.mark.parametrize(
    ("statement", "words"),
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
def test_rows_that_no_stage_writes_are_one_sentence(crafted, statement, words):
    path = crafted(statement)
    with sqlite3.connect(path) as connection:
        assert words in schema.damage(connection)
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
