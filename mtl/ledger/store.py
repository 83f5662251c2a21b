"""The ledger: the durable record of every outcome and every round, in one SQLite file.

Everything written since the last `commit` is one open transaction. A process that dies, by whatever signal,
leaves the ledger as of that commit, and a run that goes on from the checkpoint of the same token writes what
one that never stopped would have written: the ledger holds no clock times, sums are added up in the order
of the episodes, and nothing depends on when a commit falls.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from torch import Tensor

from mtl.errors import UserError
from mtl.ledger import tables_schema as sql
from mtl.ledger.damage import misfit
from mtl.ledger.rows import BatchRows, class_key, class_keys, episode_id, heaviest
from mtl.ledger.tables_schema import PER_PHASE, connect_reader, connect_writer
from mtl.runtime.failures import FILE_NOTE

if TYPE_CHECKING:
    from mtl.episodes.episode import EpisodeBatch, Outcome

#: Errors that rows which no stage writes lead to where they are read.
_OF_DAMAGE = (sqlite3.Error, ValueError, TypeError, LookupError, ArithmeticError, OverflowError)
KEPT_WEIGHTS = 1000  # units of a round whose weights are kept: the heaviest; the checkpoint has them all


@dataclass(frozen=True)
class Round:
    """One meta-test of the pool and the update of the weights that followed."""

    round: int
    step: int  # of training, at which it happened
    unit: str  # task, class or pair
    pool: int  # tasks of the meta-test
    epsilon: float | None  # ε, weighted error of the units visited; None (or nan) if there was none
    alpha: float  # α
    accuracy: float | None  # mean of the pool
    hard_share: float  # ρ: share of hard episodes in the training that follows


@dataclass(frozen=True)
class Phase:
    """What one stage of a run wrote, e.g. "meta-train" or "evaluate test 5-way 1-shot"."""

    id: int  # of this file; means nothing elsewhere
    name: str
    split: str  # whose class ids its episodes speak of
    episodes: int


class Ledger:
    """Open with `Ledger.open` (to write) or `Ledger.read`; use as a context manager, or close."""

    def __init__(self, path: Path, *, write: bool) -> None:
        self.path = path
        self.writable = write
        self.sql = connect_writer(path) if write else connect_reader(path)
        with self._told_if_damaged():
            rows = self.sql.execute("SELECT id, name, split, episodes FROM phase ORDER BY id")
            self._phases = {row[1]: Phase(*row) for row in rows}
            latest = self.sql.execute("SELECT phase, max(round) FROM round_span GROUP BY phase")
            self._latest: dict[int, int] = dict(latest.fetchall())  # by the phase's id

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Opens the ledger to write, and makes it where there is none; for one process at a time."""
        return cls(Path(path), write=True)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Opens the ledger to read its last commit; one that is being written is not disturbed."""
        return cls(Path(path), write=False)

    def phases(self) -> list[Phase]:
        """In the order in which they were begun."""
        return sorted(self._phases.values(), key=lambda phase: phase.id)

    def phase(self, name: str) -> Phase:
        """Raises UserError if nothing was written under that name."""
        if name not in self._phases:
            known = ", ".join(f'"{known.name}"' for known in self.phases()) or "none yet"
            raise UserError(f'{self.path}: no phase "{name}" in the ledger; it has: {known}')
        return self._phases[name]

    def register_classes(
        self, split: str, names: Mapping[int, str], groups: Mapping[int, str] | None = None
    ) -> None:
        """Says what the class ids of a split are called, and to which group (alphabet, ...) each belongs.

        What was said of the split before no longer holds.
        """
        self.sql.execute("DELETE FROM class_name WHERE split = ?", (split,))
        rows = [(split, c, name, (groups or {}).get(c)) for c, name in names.items()]
        self.sql.executemany("INSERT INTO class_name VALUES (?, ?, ?, ?)", rows)

    def register_images(self, split: str, fingerprint: str) -> None:
        """Says which images the indices of a split speak of."""
        self.sql.execute("INSERT OR REPLACE INTO image_set VALUES (?, ?)", (split, fingerprint))

    def images(self) -> dict[str, str]:
        """The fingerprint of each split's images; of splits written in an older format there is none."""
        if not self.sql.execute("SELECT 1 FROM sqlite_master WHERE name = 'image_set'").fetchone():
            return {}
        return dict(self.sql.execute("SELECT split, fingerprint FROM image_set ORDER BY split"))

    def append(
        self, phase: str, round: int, step: int, batch: "EpisodeBatch", outcome: "Outcome", split: str
    ) -> None:
        """Writes down the T episodes of a meta-batch, and adds them to every sum that the views read.

        Episodes of a phase are numbered from 0 in the order they come. `round` is the last round before
        them (0 where there was none yet) and may not fall. `split` says whose class ids they hold.
        """
        at = self._begun(phase, split)
        latest = self._latest.get(at.id, round)
        if round < latest:
            raise ValueError(f'phase "{phase}": episodes of round {round} after those of round {latest}')
        rows = BatchRows(batch, outcome)
        run = self.sql.executemany
        run(sql.ADD_EPISODE, rows.episodes(at.id, at.episodes, round, step))
        seen = rows.classes_seen()
        run(sql.ADD_CLASS, [(at.id, *row) for row in seen])
        run(sql.ADD_CLASS_ROUND, [(at.id, round, *row) for row in seen])
        run(sql.ADD_PAIR, [(at.id, *row) for row in rows.pairs_seen()])
        tasks = rows.tasks_seen()  # first, last and total accuracy of a task seen for the first time are one
        run(
            sql.ADD_TASK,
            [(at.id, key, round, accuracy, accuracy, accuracy, hard) for key, accuracy, hard in tasks],
        )
        last = at.episodes + len(batch) - 1
        self.sql.execute(sql.ADD_SPAN, (at.id, round, at.episodes, last))
        self.sql.execute("UPDATE phase SET episodes = ? WHERE id = ?", (last + 1, at.id))
        self._phases[phase] = Phase(at.id, at.name, at.split, last + 1)
        self._latest[at.id] = round

    def add_round(
        self,
        phase: str,
        split: str,
        record: Round,
        weights: Tensor | None = None,
        members: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Writes down a round, and the KEPT_WEIGHTS heaviest of its unit weights (U,).

        `members` tells the class ids of units: from unit numbers (k,) to (k, m) int64, where m is 1 for
        classes, 2 for pairs and N for tasks. Needed with `weights`.
        """
        at = self._begun(phase, split)
        self.sql.execute(sql.ADD_ROUND, (at.id, *astuple(record)))
        if weights is None:
            return
        if members is None:
            raise ValueError("weights without members: no one could tell whose they are")
        units = heaviest(weights, KEPT_WEIGHTS)
        kept = zip(class_keys(members(units).numpy()), weights[units].tolist(), strict=True)
        self.sql.executemany(
            "INSERT INTO round_weight VALUES (?, ?, ?, ?, ?)",
            [(at.id, record.round, rank, key, weight) for rank, (key, weight) in enumerate(kept)],
        )

    def set_task_weights(self, phase: str, tasks: Tensor, weights: Tensor) -> None:
        """Gives tasks (U, N) of class ids their weights (U,) as of now; tasks not met are passed over."""
        at = self.phase(phase).id
        rows = zip(weights.tolist(), class_keys(tasks.numpy()), strict=True)
        self.sql.executemany(
            "UPDATE task_total SET weight = ? WHERE phase = ? AND classes = ?",
            [(weight, at, key) for weight, key in rows],
        )

    def set_verdict(self, phase: str, task: Iterable[int], verdict: str) -> None:
        """Says what was found out about a task: "hard classes", "unlucky support" or "undecided"."""
        self.sql.execute(
            "UPDATE task_total SET verdict = ? WHERE phase = ? AND classes = ?",
            (verdict, self.phase(phase).id, class_key(task)),
        )

    def clear(self, phase: str) -> None:
        """Takes out every row of a phase, so that its stage can start afresh; class names stay."""
        gone = self._phases.pop(phase, None)
        if gone is None:
            return
        self._latest.pop(gone.id, None)
        for table in PER_PHASE:
            self.sql.execute(f"DELETE FROM {table} WHERE phase = ?", (gone.id,))
        span = (episode_id(gone.id, 0), episode_id(gone.id + 1, 0))
        self.sql.execute("DELETE FROM episode WHERE id >= ? AND id < ?", span)
        self.sql.execute("DELETE FROM phase WHERE id = ?", (gone.id,))

    def last_step(self, phase: str) -> int | None:
        """The step of the last episode of a phase; None where it has none."""
        at = self._phases.get(phase)
        span = (episode_id(at.id, 0), episode_id(at.id + 1, 0)) if at else (0, 0)
        row = self.sql.execute(
            "SELECT step FROM episode WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1", span
        ).fetchone()
        return None if row is None else int(row[0])

    def token(self) -> str:
        """The token of the last commit; "" before the first."""
        return str(self.sql.execute("SELECT token FROM saved").fetchone()[0])

    def commit(self, token: str) -> None:
        """Makes everything since the last commit durable, in one piece with the checkpoint's token."""
        self.sql.execute("UPDATE saved SET token = ?", (token,))
        self.sql.execute("COMMIT")
        self.sql.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Lets go of the file; what was not committed is as if it had never been written."""
        if self.sql.in_transaction:
            self.sql.execute("ROLLBACK")
        self.sql.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wrong = ""
        if isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error):
            wrong = str(error)
        elif isinstance(error, _OF_DAMAGE) and not self.writable:
            wrong = misfit(self.sql)
        with ExitStack() as last:
            if error is not None:  # a full disk fails again when the file is let go of
                last.enter_context(suppress(sqlite3.Error))
            self.close()
        if wrong:
            raise UserError(f"{self.path}: the ledger is damaged ({wrong})") from None
        if isinstance(error, sqlite3.Error):
            error.add_note(f"{FILE_NOTE}{self.path}")

    @contextmanager
    def _told_if_damaged(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            self.sql.close()
            raise UserError(f"{self.path}: the ledger is damaged ({error})") from None

    def _begun(self, phase: str, split: str) -> Phase:
        """The phase of that name, begun if it is new."""
        if phase not in self._phases:
            row = self.sql.execute(
                "INSERT INTO phase (name, split, episodes) VALUES (?, ?, 0)", (phase, split)
            )
            self._phases[phase] = Phase(int(row.lastrowid or 0), phase, split, 0)
        at = self._phases[phase]
        if at.split != split:
            raise ValueError(f'phase "{phase}" speaks of the split {at.split}, not {split}')
        return at
