"""What a ledger says, apart from how its file happens to lie: for comparing the ledgers of two runs."""

import hashlib
from collections.abc import Iterator
from typing import Any

from mtl.ledger.rows import episode_id
from mtl.ledger.store import Ledger
from mtl.ledger.tables_schema import PER_PHASE


def dump(ledger: Ledger) -> Iterator[str]:
    """Every row as a line of text, in an order of its own; floats to the last bit.

    Phases go by their names, not by their ids, which tell in what order they were begun. The commit's token
    is left out: it says which checkpoint the ledger belongs to, not what happened.
    """
    for row in ledger.sql.execute("SELECT * FROM class_name ORDER BY split, class"):
        yield _line("class_name", *row)
    for phase in sorted(ledger.phases(), key=lambda phase: phase.name):
        yield _line("phase", phase.name, phase.split, phase.episodes)
        span = (episode_id(phase.id, 0), episode_id(phase.id + 1, 0))
        for id_, *row in ledger.sql.execute(
            "SELECT * FROM episode WHERE id >= ? AND id < ? ORDER BY id", span
        ):
            yield _line("episode", phase.name, id_ - span[0], *row)
        for table, key in PER_PHASE.items():
            for _, *row in ledger.sql.execute(
                f"SELECT * FROM {table} WHERE phase = ? ORDER BY {key}", (phase.id,)
            ):
                yield _line(table, phase.name, *row)


def digest(ledger: Ledger) -> str:
    """A hash of `dump`: equal for two ledgers that say the same."""
    total = hashlib.blake2b(digest_size=16)
    for line in dump(ledger):
        total.update(line.encode() + b"\n")
    return total.hexdigest()


def _line(*values: Any) -> str:
    return " ".join(value.hex() if isinstance(value, bytes) else repr(value) for value in values)
