"""The ledger's file: its tables, how it is opened to write or to read, and checks of a damaged one.

Arrays of numbers are BLOBs: class ids as big-endian int32 in ascending order, so that BLOBs compare as the
ids do; images as little-endian int32; recall and what a round found in each neighbourhood as little-endian
float32; confusion as float16, row by row (three digits, of which a view shows two); wrong answers as records
of two uint16 and a float16.
"""

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mtl.errors import UserError
from mtl.runtime.locks import network_kind

VERSION = 6  # in PRAGMA user_version
_WITH_PAIRS = 5  # the same, and a table of sums over pairs, which the episodes hold as well
_APPLICATION = 0x4D544C48  # "MTLH", in PRAGMA application_id
_BUSY_SECONDS = 5.0
_PATIENCE_MS = 600_000  # how long a commit waits for readers where there is no write-ahead log
_log = logging.getLogger(__name__)

# squares: sum over the tasks of (right answers in the task)²
_CLASS_SUMS = """queries INTEGER NOT NULL, correct INTEGER NOT NULL, draws INTEGER NOT NULL,
        hard INTEGER NOT NULL, squares INTEGER NOT NULL"""
TABLES = {
    "phase": """(
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, split TEXT NOT NULL, episodes INTEGER NOT NULL)""",
    "class_name": """(
        split TEXT NOT NULL, class INTEGER NOT NULL, name TEXT NOT NULL, class_group TEXT,
        PRIMARY KEY (split, class)) WITHOUT ROWID""",
    # id = phase << 40 | number, so that a phase is one stretch of the table and a new row is always its end;
    # step: of training, 0 in an evaluation; hardness, fisher: as mtl/episodes/hardness.py, NULL if not known
    "episode": """(
        id INTEGER PRIMARY KEY, round INTEGER NOT NULL, step INTEGER NOT NULL, origin TEXT NOT NULL,
        stream INTEGER NOT NULL, shot INTEGER NOT NULL, classes BLOB NOT NULL, images BLOB NOT NULL,
        loss REAL, accuracy REAL, hardness REAL, fisher REAL, recall BLOB NOT NULL, confusion BLOB NOT NULL,
        wrong BLOB)""",
    # first and last episode of the round: numbers within the phase
    "round_span": """(
        phase INTEGER NOT NULL, round INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (phase, round)) WITHOUT ROWID""",
    "class_total": f"""(
        phase INTEGER NOT NULL, class INTEGER NOT NULL, {_CLASS_SUMS},
        PRIMARY KEY (phase, class)) WITHOUT ROWID""",
    "class_round": f"""(
        phase INTEGER NOT NULL, round INTEGER NOT NULL, class INTEGER NOT NULL, {_CLASS_SUMS},
        PRIMARY KEY (phase, round, class)) WITHOUT ROWID""",
    # first, last, total: accuracy at the first and the last visit, and the sum over all
    "task_total": """(
        phase INTEGER NOT NULL, classes BLOB NOT NULL, first_round INTEGER NOT NULL, first REAL NOT NULL,
        last REAL NOT NULL, total REAL NOT NULL, seen INTEGER NOT NULL, hard INTEGER NOT NULL, weight REAL,
        verdict TEXT, PRIMARY KEY (phase, classes)) WITHOUT ROWID""",
    "round": """(
        phase INTEGER NOT NULL, round INTEGER NOT NULL, step INTEGER NOT NULL, unit TEXT NOT NULL,
        pool INTEGER NOT NULL, epsilon REAL, alpha REAL NOT NULL, accuracy REAL, hard_share REAL NOT NULL,
        PRIMARY KEY (phase, round)) WITHOUT ROWID""",
    # the heaviest units of a round; rank 0 is the heaviest
    "round_weight": """(
        phase INTEGER NOT NULL, round INTEGER NOT NULL, rank INTEGER NOT NULL, classes BLOB NOT NULL,
        weight REAL NOT NULL, PRIMARY KEY (phase, round, rank)) WITHOUT ROWID""",
    # total: sum of the accuracies of the episodes drawn around a class
    "neighbourhood_total": """(
        phase INTEGER NOT NULL, class INTEGER NOT NULL, total REAL NOT NULL, drawn INTEGER NOT NULL,
        PRIMARY KEY (phase, class)) WITHOUT ROWID""",
    # the meta-test of a round, one task around each of C classes: their ids, accuracies and weights (NULL:
    # none), and for each class the ids of those around it, the heaviest or nearest first
    "neighbourhoods": """(
        phase INTEGER NOT NULL, round INTEGER NOT NULL, classes BLOB NOT NULL, accuracy BLOB NOT NULL,
        weight BLOB, members BLOB NOT NULL, PRIMARY KEY (phase, round)) WITHOUT ROWID""",
    # identifies the images that the indices in the episodes of a split refer to
    "image_set": "(split TEXT PRIMARY KEY, fingerprint TEXT NOT NULL) WITHOUT ROWID",
    "saved": "(only INTEGER PRIMARY KEY CHECK (only = 1), token TEXT NOT NULL)",
}
PER_PHASE = {  # tables with a column `phase`, and the rest of their primary keys
    "round_span": "round",
    "class_total": "class",
    "class_round": "round, class",
    "task_total": "classes",
    "round": "round",
    "round_weight": "round, rank",
    "neighbourhood_total": "class",
    "neighbourhoods": "round",
}

_ADD_SUMS = """ON CONFLICT DO UPDATE SET
    queries = queries + excluded.queries, correct = correct + excluded.correct,
    draws = draws + 1, hard = hard + excluded.hard, squares = squares + excluded.squares"""
ADD_EPISODE = "INSERT INTO episode VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_CLASS = f"INSERT INTO class_total VALUES (?, ?, ?, ?, 1, ?, ?) {_ADD_SUMS}"
ADD_CLASS_ROUND = f"INSERT INTO class_round VALUES (?, ?, ?, ?, ?, 1, ?, ?) {_ADD_SUMS}"
ADD_TASK = """
    INSERT INTO task_total VALUES (?, ?, ?, ?, ?, ?, 1, ?, NULL, NULL) ON CONFLICT DO UPDATE SET
    last = excluded.last, total = total + excluded.total, seen = seen + 1, hard = hard + excluded.hard"""
ADD_NEIGHBOURHOOD = """
    INSERT INTO neighbourhood_total VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET
    total = total + excluded.total, drawn = drawn + 1"""
ADD_NEIGHBOURHOODS = "INSERT INTO neighbourhoods VALUES (?, ?, ?, ?, ?, ?)"
ADD_SPAN = "INSERT INTO round_span VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET last = excluded.last"
ADD_ROUND = "INSERT INTO round VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_WEIGHT = "INSERT INTO round_weight VALUES (?, ?, ?, ?, ?)"


def connect_writer(path: Path) -> sqlite3.Connection:
    """Opens or makes the ledger at `path` and begins its one open transaction.

    The journal is a write-ahead log: readers go on seeing the last commit. A commit that returned survives
    the machine losing power (`synchronous=FULL`), as the checkpoint does that is saved with it: one that
    NORMAL undid would leave the ledger behind its checkpoint. Commits are as rare as checkpoints.

    On network file systems, where processes share no memory for such a log, and where SQLite refuses one, a
    rollback journal takes its place, and a warning says so: then a commit waits for readers.

    Raises UserError if the file is not a ledger, one of another format, or another process is writing it.
    """
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise UserError(f"{path}: the ledger cannot be opened ({error})") from None
    with _closed_on_error(connection, path):
        new = _is_blank(connection)
        if not new:
            _check_format(connection, path)
        _choose_journal(connection, path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")  # 64 MiB: the sums of a long run stay in memory
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("BEGIN IMMEDIATE")
        if new:
            for name, columns in TABLES.items():
                connection.execute(f"CREATE TABLE {name} {columns}")
            connection.execute("INSERT INTO saved VALUES (1, '')")
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
        elif _pragma(connection, "user_version") == _WITH_PAIRS:
            connection.execute("DROP TABLE pair_total")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
    return connection


def _choose_journal(connection: sqlite3.Connection, path: Path) -> None:
    """A write-ahead log where it works; see `connect_writer`."""
    kind = network_kind(path)
    if kind is None:
        try:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":
                return
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute(
        "PRAGMA cache_spill = OFF"
    )  # else a full cache would lock readers out until the commit
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
    where = f"on a network file system ({kind})" if kind else "where SQLite cannot keep a write-ahead log"
    _log.warning(
        "%s: is %s, so it is written with a rollback journal: views may wait while training saves, and "
        "training while they read",
        path,
        where,
    )


def connect_reader(path: Path) -> sqlite3.Connection:
    """Opens the ledger at `path` read-only; everything read is of one moment, the last commit.

    Raises UserError if there is no file, or it is empty, no ledger, or one of another format.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no ledger; a stage that solves episodes writes it")
    try:
        connection = _open_to_read(path)
    except sqlite3.DatabaseError as error:
        raise UserError(_message(path, error)) from None
    with _closed_on_error(connection, path):
        if _is_blank(connection):
            raise UserError(f"{path}: the ledger is empty; a stage that solves episodes fills it")
        _check_format(connection, path)
        connection.execute("BEGIN")
    return connection


@contextmanager
def _closed_on_error(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Closes the connection where preparing it fails, and explains why a file cannot be opened."""
    with ExitStack() as on_error:
        on_error.callback(connection.close)
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise UserError(_message(path, error)) from None
        on_error.pop_all()


def _open_to_read(path: Path) -> sqlite3.Connection:
    address = path.absolute().as_uri()
    # Not mode=ro, which would leave the log's files behind: the last to close removes them, if it may write.
    connection = sqlite3.connect(f"{address}?mode=rw", uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    with ExitStack() as on_error:
        on_error.callback(connection.close)
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            log = path.with_name(path.name + "-wal")
            if log.exists() and log.stat().st_size:
                raise
            # A read-only folder or a full disk has no room for the log's index. Without a log (or with the
            # empty one that this very attempt has made) nobody is writing.
            return sqlite3.connect(f"{address}?immutable=1", uri=True, isolation_level=None)
        on_error.pop_all()
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _is_blank(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return tables == 0 and _pragma(connection, "application_id") == 0


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    if _pragma(connection, "application_id") != _APPLICATION:
        raise UserError(f"{path}: this SQLite file is not a ledger of hard tasks")
    version = _pragma(connection, "user_version")
    if version not in {VERSION, _WITH_PAIRS}:
        raise UserError(
            f"{path}: the ledger has format {version}, and this program reads format {VERSION}; use the "
            "program that wrote it, or start another run with run=NAME"
        )


def _message(path: Path, error: Exception) -> str:
    if "locked" in str(error) or "busy" in str(error):
        return f"{path}: another process is writing this ledger; stop it first"
    if "not a database" in str(error):
        return f"{path}: this file is not a ledger"
    return f"{path}: the ledger cannot be opened ({error})"


_TYPES = {  # typeof() of the values that a column of each type may hold
    "INTEGER": ("integer",),
    "REAL": ("real", "integer"),
    "TEXT": ("text",),
    "BLOB": ("blob",),
}
_RULES = (  # table, what is true of each row, the columns to name
    ("episode", "length(classes) > 0 AND length(classes) % 4 = 0", "classes"),
    ("episode", "length(images) % 4 = 0", "images"),
    ("episode", "length(recall) = length(classes)", "recall"),
    ("episode", "8 * length(confusion) = length(classes) * length(classes)", "confusion"),
    ("episode", "wrong IS NULL OR length(wrong) % 6 = 0", "wrong"),
    ("class_total", "queries > 0 AND correct BETWEEN 0 AND queries", "queries and correct"),
    ("class_round", "queries > 0 AND correct BETWEEN 0 AND queries", "queries and correct"),
    ("task_total", "length(classes) > 0 AND length(classes) % 4 = 0", "classes"),
    ("task_total", "seen > 0 AND total BETWEEN 0 AND 1.001 * seen", "seen and total"),
    ("neighbourhoods", "length(classes) > 0 AND length(classes) % 4 = 0", "classes"),
    ("neighbourhoods", "length(accuracy) = length(classes)", "accuracy"),
    ("neighbourhoods", "weight IS NULL OR length(weight) = length(classes)", "weight"),
    ("neighbourhoods", "length(members) % length(classes) = 0", "members"),
    ("neighbourhood_total", "drawn > 0 AND total BETWEEN 0 AND 1.001 * drawn", "drawn and total"),
    ("round_weight", "length(classes) > 0 AND length(classes) % 4 = 0", "classes"),
)


def damage(connection: sqlite3.Connection) -> str:
    """The first thing in a ledger that no stage writes, in a few words; empty where there is nothing.

    Meant for a ledger of which reading has failed: it goes through every row.
    """
    try:
        for table, declared in TABLES.items():
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if not columns:
                return f"it has no table {table}"
            for column, kind, more in re.findall(r"(\w+) (INTEGER|REAL|TEXT|BLOB)([^,]*)", declared):
                optional = "NOT NULL" not in more and "PRIMARY KEY" not in more
                types = ", ".join(f"'{name}'" for name in (*_TYPES[kind], *["null"] * optional))
                if column in columns and _any(connection, table, f"typeof({column}) NOT IN ({types})"):
                    return f"{table}.{column} holds something else than {kind}"
        for table, rule, what in _RULES:
            if _any(connection, table, f"NOT ({rule})"):
                return f"{what} of {table} cannot be right"
    except sqlite3.Error as error:
        return str(error)
    return ""


def _any(connection: sqlite3.Connection, table: str, condition: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1").fetchone() is not None
