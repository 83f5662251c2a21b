"""Whether the rows of a ledger are such as stages write: asked when reading one has failed."""

import re
import sqlite3

from mtl.ledger.tables_schema import TABLES

_KINDS = {  # typeof() of what a column of each type may hold
    "INTEGER": ("integer",),
    "REAL": ("real", "integer"),
    "TEXT": ("text",),
    "BLOB": ("blob",),
}
_RULES = (  # table, what is true of each row, what it is about
    ("episode", "length(classes) > 0 AND length(classes) % 4 = 0", "classes"),
    ("episode", "length(images) % 4 = 0", "images"),
    ("episode", "length(recall) = length(classes)", "recall"),
    ("episode", "8 * length(confusion) = length(classes) * length(classes)", "confusion"),
    ("episode", "wrong IS NULL OR length(wrong) % 6 = 0", "wrong"),
    ("class_total", "queries > 0 AND correct BETWEEN 0 AND queries", "queries and correct"),
    ("class_round", "queries > 0 AND correct BETWEEN 0 AND queries", "queries and correct"),
    ("pair_total", "n > 0 AND low_high BETWEEN 0 AND 1.001 * n AND high_low BETWEEN 0 AND 1.001 * n", "sums"),
    ("task_total", "length(classes) > 0 AND length(classes) % 4 = 0", "classes"),
    ("task_total", "seen > 0 AND total BETWEEN 0 AND 1.001 * seen", "seen and total"),
    ("round_weight", "length(classes) > 0 AND length(classes) % 4 = 0", "classes"),
)


def misfit(connection: sqlite3.Connection) -> str:
    """The first thing in a ledger that no stage writes, in a few words; empty where there is nothing."""
    try:
        for table, declared in TABLES.items():
            there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if not there:
                if table == "image_set":  # which older ledgers lack
                    continue
                return f"it has no table {table}"
            for column, kind, more in re.findall(r"(\w+) (INTEGER|REAL|TEXT|BLOB)([^,]*)", declared):
                optional = "NOT NULL" not in more and "PRIMARY KEY" not in more
                kinds = (*_KINDS[kind], "null") if optional else _KINDS[kind]
                if column in there and _any(connection, table, f"typeof({column}) NOT IN {_listed(kinds)}"):
                    return f"{table}.{column} holds something else than {kind}"
        for table, rule, what in _RULES:
            if _any(connection, table, f"NOT ({rule})"):
                return f"{what} of {table} cannot be right"
    except sqlite3.Error as error:
        return str(error)
    return ""


def _any(connection: sqlite3.Connection, table: str, condition: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1").fetchone() is not None


def _listed(words: tuple[str, ...]) -> str:
    return "(" + ", ".join(f"'{word}'" for word in words) + ")"
