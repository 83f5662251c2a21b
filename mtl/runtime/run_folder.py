"""The folder of a run: how a stage starts, is saved, and goes on."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from mtl.config import Config, load_config, to_yaml
from mtl.errors import UserError, one_line
from mtl.runtime import checkpoints
from mtl.runtime.failures import about
from mtl.runtime.locks import GRACE, Locked, locked
from mtl.runtime.outputs import leftovers, remove_empty, replace_text, require_folder, sync_folder
from mtl.runtime.progress import tell


class Commits(Protocol):
    """A record that is saved with checkpoints: the ledger."""

    def commit(self, token: str) -> None: ...

    def token(self) -> str: ...


class FolderHeld(UserError):
    """Another process is writing into a folder; `holder` says which, on which host, since when."""

    def __init__(self, message: str, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class RunFolder:
    """checkpoints/<run>/ and its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.pretrain = path / "pretrain.pt"
        self.meta = path / "meta.pt"
        self.last = path / "last.pt"
        self.next = path / "last.pt.next"
        self.metrics = path / "metrics.jsonl"
        self.ledger = path / "hard_tasks.sqlite"
        self.curriculum = path / "curriculum.pt"
        self.results = path / "results.json"
        self.report = path / "report.html"
        self.calibration = path / "calibration.json"
        self.lock = path / ".lock"

    @staticmethod
    def of(config: Config) -> "RunFolder":
        return RunFolder(Path(config.checkpoints) / config.run)

    def read_config(self) -> Config:
        """The resolved config of the run; if there is none, a UserError names the runs in it or beside it."""
        if self.path.is_file():
            raise UserError(f"{one_line(self.path)}: is a file; a fitted classifier goes with --classifier")
        if not self.config.exists():
            within = [*self.path.glob("*/config.yaml")]  # the folder of all runs was given for one of them
            place = self.path if within else self.path.parent
            known = sorted(p.parent.name for p in within or place.glob("*/config.yaml"))
            hint = f"; {place} holds: {', '.join(known)}" if known else ""
            raise UserError(f"{self.path}: is not a folder of a run, it has no config.yaml{hint}")
        return load_config(self.config)

    @contextmanager
    def held(self, command: str, wait: float = GRACE) -> Iterator[None]:
        """Keeps other processes from writing into the folder; enter it before anything is written.

        Makes the folder, and removes it again if it stays empty. What a killed process left half done is
        tidied up. A thread that holds the folder may enter again; readers never enter. `wait`: seconds to
        wait for another process.

        Raises:
            FolderHeld: another process, whose `command` it names, is writing into it.
            UserError: it cannot be made.
        """
        require_folder(self.path)
        new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        with ExitStack() as when_done:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                when_done.callback(remove_empty, new)
                first = when_done.enter_context(locked(self.lock, command, wait, keep=False))
            except Locked as holder:
                raise FolderHeld(
                    f"{one_line(self.path)}: {holder} is writing into this folder; wait until it has "
                    "ended, or stop it",
                    str(holder),
                ) from None
            except OSError as error:
                raise UserError(f"{one_line(self.path)}: cannot be written ({error.strerror})") from None
            if first:
                self._tidy()
            yield

    def _tidy(self) -> None:
        """Removes what kills left: unfinished writes, and the checkpoint of a stage whose result is there."""
        own = (self.config, self.pretrain, self.meta, self.last, self.next, self.metrics, self.curriculum)
        for path in (*own, self.results, self.calibration):
            for leftover in leftovers(path):
                leftover.unlink(missing_ok=True)
        for path in (self.last, self.next):
            with suppress(UserError, KeyError):  # the stage that needs a damaged one will say so
                if path.exists() and self.result_of(checkpoints.read(path)["stage"]).exists():
                    path.unlink()

    def write_config(self, config: Config) -> None:
        """Saves the resolved config; makes the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        replace_text(self.config, to_yaml(config))

    def result_of(self, stage: str) -> Path:
        """The file that exists only if the stage has ended."""
        return {"pretrain": self.pretrain, "meta-train": self.meta}[stage]

    def require_recorded(self, payload: Mapping[str, Any]) -> None:
        """UserError if a stage's result was not made with what config.yaml says; names the first key."""
        if not self.config.exists():
            return
        stage = payload["stage"]
        path, recorded = self.result_of(stage), load_config(self.config)
        for name, old, new in checkpoints.differences(path, payload, recorded, checkpoints.DECIDING[stage]):
            raise UserError(
                f"{path}: was made with {name} = {old}, but {self.config} says {new}: the files are of two "
                f"trainings; if this one is right put {old} there, else train anew with run=NAME"
            )

    def refuse_existing(self, stage: str) -> None:
        """UserError if the stage has ended or was begun: without --resume nothing is overwritten."""
        result = self.result_of(stage)
        begun = any(p.exists() and checkpoints.read(p).get("stage") == stage for p in (self.last, self.next))
        if result.exists() or begun:
            what = "has ended there" if result.exists() else "was begun there"
            raise UserError(
                f"{self.path}: {stage} {what} already; --resume goes on with it, run=NAME starts another"
            )

    def unfinished(
        self, stage: str, record: Commits | None = None, gaps: bool = False
    ) -> dict[str, Any] | None:
        """The last checkpoint of this stage, or None if it has to start afresh.

        A kill between the commit of `record` and the renaming of the checkpoint leaves `last.pt.next`, which
        counts if it has the record's token. UserError if record or metrics.jsonl lack what the checkpoint was
        saved with; with `gaps` this is only reported.
        """
        if record is not None and self.next.exists():
            committed = checkpoints.read(self.next).get("token") == record.token()
            if committed:
                os.replace(self.next, self.last)
        payload = checkpoints.read(self.last) if self.last.exists() else {}
        going_on = payload.get("stage") == stage
        for gap in self._gaps(payload, record) if going_on else ():
            if not gaps:
                raise UserError(
                    f"{gap}; put it back as it was, or go on without what is missing: "
                    f"log.allow_gaps=true; or remove {self.last.name}, and {stage} begins anew"
                )
            tell(f"{gap}; going on, as log.allow_gaps says")
        self.next.unlink(missing_ok=True)
        return payload if going_on else None

    def _gaps(self, payload: Mapping[str, Any], record: Commits | None) -> Iterator[str]:
        """What has changed since a checkpoint was saved, in sentences."""
        if record is not None and payload.get("token") != record.token():
            yield (
                f"{self.ledger}: is not the ledger that {self.last} was saved with; its last commit is "
                f'"{record.token()}", not "{payload.get("token")}" ({self.ledger.name}-wal is part of it)'
            )
        size = self.metrics.stat().st_size if self.metrics.exists() else 0
        if size < payload.get("metrics", 0):
            yield (
                f"{self.metrics}: lacks lines that it had when {self.last} was saved "
                f"({size:,} of {payload['metrics']:,} bytes)"
            )

    def save(self, payload: Mapping[str, Any], record: Commits | None = None) -> None:
        """Saves checkpoint and record as one step: afterwards both are at this point, or neither."""
        token = checkpoints.token(payload)
        checkpoints.write(self.next, {**payload, "token": token})
        if record is not None:
            record.commit(token)
        os.replace(self.next, self.last)
        sync_folder(self.path)

    def finish(self, stage: str, payload: Mapping[str, Any]) -> None:
        """Writes the stage's result; its last checkpoint is removed, at the latest by the next `held`."""
        checkpoints.write(self.result_of(stage), payload)
        self.last.unlink(missing_ok=True)


class Metrics:
    """metrics.jsonl: a line a measurement. A stage that goes on drops those after its checkpoint."""

    def __init__(self, path: Path, stage: str, keep: int | None) -> None:
        """`keep`: the size noted in the checkpoint; None starts the stage afresh, without its old lines."""
        self.path, self.stage = path, stage
        path.touch()
        if keep is not None:
            with path.open("r+b") as file:
                file.truncate(min(keep, path.stat().st_size))
        else:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            others = [line for line in lines if f'"stage": "{stage}"' not in line]
            if len(others) < len(lines):
                replace_text(path, "".join(others))

    def write(self, **values: Any) -> None:
        with about(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": self.stage, **values}) + "\n")

    @property
    def size(self) -> int:
        """Bytes so far, which checkpoints note."""
        return self.path.stat().st_size


class Clock:
    """Says when the next checkpoint is due, and how long a stage has run, earlier sittings included."""

    def __init__(self, every: float, elapsed: float = 0.0) -> None:
        self.every, self.before = every, elapsed
        self.started = self.saved = time.monotonic()

    @property
    def elapsed(self) -> float:
        return self.before + time.monotonic() - self.started

    def due(self) -> bool:
        if time.monotonic() - self.saved < self.every:
            return False
        self.saved = time.monotonic()
        return True
