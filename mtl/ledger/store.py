"""The ledger: the durable record of every outcome and every round, in one SQLite file.

Everything written since the last `commit` is one open transaction. A process that dies, by whatever signal,
leaves the ledger as of that commit, and a run resumed from the checkpoint of the same token writes what an
uninterrupted one would have written: the ledger holds no clock times, sums are added up in the order of the
episodes, and nothing depends on when a commit happens.
"""

import sqlite3
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from torch import Tensor

from mtl.episodes.episode import EpisodeBatch, Neighbourhoods, Outcome
from mtl.errors import UserError
from mtl.ledger import tables_schema as schema
from mtl.ledger.rows import BatchRows, class_key, class_keys, heaviest, neighbourhood_blobs, phase_span
from mtl.runtime.failures import FILE_NOTE

T = TypeVar("T")
#: Errors that reading rows can lead to which no stage writes.
_DAMAGE_ERRORS = (sqlite3.Error, ValueError, TypeError, LookupError, ArithmeticError, OverflowError)
KEPT_MEMBERS = 5  # classes around another one that are kept: the heaviest or nearest
KEPT_WEIGHTS = 1000  # units of a round whose weights are kept: the heaviest; the checkpoint has them all


@dataclass(frozen=True)
class RoundRow:
    """One meta-test of the pool and the update of the weights that followed."""

    round: int
    step: int  # of training, at which it happened
    unit: str  # neighbourhood, task, class or pair
    pool: int  # tasks of the meta-test
    epsilon: float | None  # ε, weighted error of the units visited; None (or nan) if there is none
    alpha: float  # α
    accuracy: float | None  # mean of the pool
    hard_share: float  # ρ: share of hard episodes in the training that follows


@dataclass(frozen=True)
class Phase:
    """What one stage of a run wrote, e.g. "meta-train" or "evaluate test 5-way 1-shot"."""

    id: int  # meaningful in this file only
    name: str
    split: str  # the one that the class ids of its episodes refer to
    episodes: int


class Ledger:
    """Open with `Ledger.open` (to write) or `Ledger.read`; use as a context manager, or close."""

    def __init__(self, path: Path, *, write: bool) -> None:
        self.path = path
        self.writable = write
        self._remembered: dict[Hashable, Any] = {}
        self.sql = schema.connect_writer(path) if write else schema.connect_reader(path)
        try:
            rows = self.sql.execute("SELECT id, name, split, episodes FROM phase ORDER BY id")
            self._phases = {row[1]: Phase(*row) for row in rows}
            latest = self.sql.execute("SELECT phase, max(round) FROM round_span GROUP BY phase")
            self._latest_round: dict[int, int] = dict(latest.fetchall())  # by the phase's id
        except sqlite3.DatabaseError as error:
            self.sql.close()
            raise UserError(f"{path}: the ledger is damaged ({error})") from None

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Opens the ledger to write, and creates it where there is none; for one process at a time."""
        return cls(Path(path), write=True)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Opens the ledger to read its last commit; a stage that is writing it is not disturbed."""
        return cls(Path(path), write=False)

    def phases(self) -> list[Phase]:
        """In the order in which they began."""
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
        """Sets the names of a split's class ids and the group (alphabet, ...) of each."""
        self.sql.execute("DELETE FROM class_name WHERE split = ?", (split,))
        rows = [(split, c, name, (groups or {}).get(c)) for c, name in names.items()]
        self.sql.executemany("INSERT INTO class_name VALUES (?, ?, ?, ?)", rows)

    def register_images(self, split: str, fingerprint: str) -> None:
        """Sets the fingerprint of the images that the image indices of a split refer to."""
        self.sql.execute("INSERT OR REPLACE INTO image_set VALUES (?, ?)", (split, fingerprint))

    def images(self) -> dict[str, str]:
        """The fingerprint of each split's images."""
        return dict(self.sql.execute("SELECT split, fingerprint FROM image_set ORDER BY split"))

    def append(
        self, phase: str, round: int, step: int, batch: EpisodeBatch, outcome: Outcome, split: str
    ) -> None:
        """Records the T episodes of a meta-batch, and adds them to every sum that the views read.

        Episodes of a phase are numbered from 0 in the order they come. `round` is the last round before
        them (0 where there was none yet) and may not fall. `split` is the one that their class ids refer to.
        """
        at = self._phase_for(phase, split)
        latest = self._latest_round.get(at.id, round)
        if round < latest:
            raise ValueError(f'phase "{phase}": episodes of round {round} after those of round {latest}')
        rows = BatchRows(batch, outcome)
        class_rows = rows.classes_seen()
        add = self.sql.executemany
        add(schema.ADD_EPISODE, rows.episodes(at.id, at.episodes, round, step))
        add(schema.ADD_CLASS, [(at.id, *row) for row in class_rows])
        add(schema.ADD_CLASS_ROUND, [(at.id, round, *row) for row in class_rows])
        tasks = [(at.id, key, round, a, a, a, hard) for key, a, hard in rows.tasks_seen()]
        add(schema.ADD_TASK, tasks)  # the accuracy is their first, their last and their sum
        add(schema.ADD_NEIGHBOURHOOD, [(at.id, *row) for row in rows.neighbourhoods_seen()])
        last = at.episodes + len(batch) - 1
        self.sql.execute(schema.ADD_SPAN, (at.id, round, at.episodes, last))
        self.sql.execute("UPDATE phase SET episodes = ? WHERE id = ?", (last + 1, at.id))
        self._phases[phase] = Phase(at.id, at.name, at.split, last + 1)
        self._latest_round[at.id] = round

    def add_round(
        self,
        phase: str,
        split: str,
        record: RoundRow,
        weights: Tensor | None = None,
        members: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Records a round, and the KEPT_WEIGHTS heaviest of its unit weights (U,).

        `members`, needed with `weights`, maps unit numbers (k,) to class ids (k, m) int64, where m is 1 for
        classes, 2 for pairs and N for tasks.
        """
        at = self._phase_for(phase, split)
        self.sql.execute(schema.ADD_ROUND, (at.id, *astuple(record)))
        if weights is None:
            return
        if members is None:
            raise ValueError("weights without members: it is unknown which units they belong to")
        units = heaviest(weights, KEPT_WEIGHTS)
        pairs = zip(class_keys(members(units).numpy()), weights[units].tolist(), strict=True)
        self.sql.executemany(
            schema.ADD_WEIGHT,
            [(at.id, record.round, rank, key, weight) for rank, (key, weight) in enumerate(pairs)],
        )

    def add_neighbourhoods(self, phase: str, split: str, round: int, found: Neighbourhoods) -> None:
        """Records what a round found in the tasks around each class, with its KEPT_MEMBERS first members."""
        members = found.members[:, :KEPT_MEMBERS]
        row = neighbourhood_blobs(found.classes, found.accuracy, found.weight, members)
        self.sql.execute(schema.ADD_NEIGHBOURHOODS, (self._phase_for(phase, split).id, round, *row))

    def set_task_weights(self, phase: str, tasks: Tensor, weights: Tensor) -> None:
        """Sets the present weights (U,) of tasks (U, N) of class ids; tasks never seen are skipped."""
        at = self.phase(phase).id
        rows = zip(weights.tolist(), class_keys(tasks.numpy()), strict=True)
        self.sql.executemany(
            "UPDATE task_total SET weight = ? WHERE phase = ? AND classes = ?",
            [(weight, at, key) for weight, key in rows],
        )

    def set_verdict(self, phase: str, task: Iterable[int], verdict: str) -> None:
        """Sets the verdict on a task: "hard classes", "unlucky support" or "undecided"."""
        self.sql.execute(
            "UPDATE task_total SET verdict = ? WHERE phase = ? AND classes = ?",
            (verdict, self.phase(phase).id, class_key(task)),
        )

    def clear(self, phase: str) -> None:
        """Removes every row of a phase, so that its stage can start afresh; class names stay."""
        removed = self._phases.pop(phase, None)
        if removed is None:
            return
        self._latest_round.pop(removed.id, None)
        for table in schema.PER_PHASE:
            self.sql.execute(f"DELETE FROM {table} WHERE phase = ?", (removed.id,))
        self.sql.execute("DELETE FROM episode WHERE id BETWEEN ? AND ?", phase_span(removed.id))
        self.sql.execute("DELETE FROM phase WHERE id = ?", (removed.id,))

    def last_step(self, phase: str) -> int | None:
        """The step of the last episode of a phase; None where it has none."""
        if phase not in self._phases:
            return None
        row = self.sql.execute(
            "SELECT step FROM episode WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
            phase_span(self._phases[phase].id),
        ).fetchone()
        return None if row is None else int(row[0])

    def remembered(self, what: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` returns; computed once by a ledger that is read, which is of one moment."""
        if self.writable:
            return compute()
        if what not in self._remembered:
            self._remembered[what] = compute()
        known: T = self._remembered[what]
        return known

    def token(self) -> str:
        """The token of the last commit; "" before the first."""
        return str(self.sql.execute("SELECT token FROM saved").fetchone()[0])

    def commit(self, token: str) -> None:
        """Makes everything since the last commit durable, in one piece with the checkpoint's token."""
        self.sql.execute("UPDATE saved SET token = ?", (token,))
        self.sql.execute("COMMIT")
        self.sql.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Closes the file; what was not committed is dropped."""
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
        elif isinstance(error, _DAMAGE_ERRORS) and not self.writable:
            wrong = schema.damage(self.sql)
        with ExitStack() as last:
            if error is not None:  # a full disk fails again when the file is closed
                last.enter_context(suppress(sqlite3.Error))
            self.close()
        if wrong:
            raise UserError(f"{self.path}: the ledger is damaged ({wrong})") from None
        if isinstance(error, sqlite3.Error):
            error.add_note(f"{FILE_NOTE}{self.path}")

    def _phase_for(self, name: str, split: str) -> Phase:
        """The phase of that name, begun if it is new."""
        if name not in self._phases:
            row = self.sql.execute(
                "INSERT INTO phase (name, split, episodes) VALUES (?, ?, 0)", (name, split)
            )
            self._phases[name] = Phase(int(row.lastrowid or 0), name, split, 0)
        at = self._phases[name]
        if at.split != split:
            raise ValueError(f'phase "{name}" has the split {at.split}, not {split}')
        return at


class Unwritten(Ledger):
    """A ledger that forgets what it is told, for processes whose episodes another one records."""

    def register_classes(self, *_: Any) -> None: ...

    def append(self, *_: Any) -> None: ...

    def add_round(self, *_: Any) -> None: ...

    def add_neighbourhoods(self, *_: Any) -> None: ...

    def set_task_weights(self, *_: Any) -> None: ...

    def set_verdict(self, *_: Any) -> None: ...
