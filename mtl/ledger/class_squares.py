"""Σ (right answers in a task)² of each class, from which an interval of its recall knows how tasks differ.

Ledgers hold these sums since format 4. Of older ones they are computed from the episodes.
"""

import sqlite3
from collections import defaultdict

import numpy as np

from mtl.ledger.rows import episode_columns, episode_id

SINCE = 4  # the format that has the column `squares`
COLUMN = "squares INTEGER NOT NULL DEFAULT 0"


def class_squares(connection: sqlite3.Connection, phase: int, round: int | None = None) -> dict[int, int]:
    """By class the sum over a phase's tasks, or over those of one round."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version >= SINCE:
        where = "class_total WHERE" if round is None else "class_round WHERE round = :round AND"
        keys = {"phase": phase, "round": round}
        return dict(connection.execute(f"SELECT class, squares FROM {where} phase = :phase", keys))
    first, last = connection.execute(
        "SELECT min(first), max(last) FROM round_span WHERE phase = ? AND round = coalesce(?, round)",
        (phase, round),
    ).fetchone()
    return {} if first is None else _of_episodes(connection, phase, first, last)


def add_squares(connection: sqlite3.Connection) -> None:
    """Brings a ledger of format 3 to format 4."""
    for table in ("class_total", "class_round"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {COLUMN}")
    totals: dict[tuple[int, int], int] = defaultdict(int)
    spans = connection.execute("SELECT phase, round, first, last FROM round_span").fetchall()
    for phase, round_, first, last in spans:
        found = _of_episodes(connection, phase, first, last)
        for c, total in found.items():
            totals[phase, c] += total
        connection.executemany(
            "UPDATE class_round SET squares = ? WHERE phase = ? AND round = ? AND class = ?",
            [(total, phase, round_, c) for c, total in found.items()],
        )
    connection.executemany(
        "UPDATE class_total SET squares = ? WHERE phase = ? AND class = ?",
        [(total, *key) for key, total in totals.items()],
    )


def _of_episodes(connection: sqlite3.Connection, phase: int, first: int, last: int) -> dict[int, int]:
    """By class the sum over the episodes `first` to `last` of a phase."""
    found: dict[int, int] = defaultdict(int)
    rows = connection.execute(
        "SELECT classes, recall, length(images) / length(classes) - shot FROM episode "  # 4 bytes either
        "WHERE id BETWEEN ? AND ?",
        (episode_id(phase, first), episode_id(phase, last)),
    )
    for classes, recall, (queries,) in episode_columns(rows, "<f4"):
        if recall.shape != classes.shape:
            raise ValueError("an episode's recalls are not those of its classes")
        met, place = np.unique(classes, return_inverse=True)
        sums = np.bincount(place.ravel(), np.rint(recall.ravel() * queries) ** 2)
        for c, total in zip(met.tolist(), sums.tolist(), strict=True):
            found[c] += int(total)
    return found
