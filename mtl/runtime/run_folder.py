"""The folder of a run, and the one way in which a stage starts, is saved and goes on."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mtl.config import Config, load_config, to_yaml
from mtl.errors import UserError, one_line
from mtl.runtime import checkpoints
from mtl.runtime.failures import about
from mtl.runtime.outputs import replacing


class Commits(Protocol):
    """A record that is written along with checkpoints: the ledger."""

    def commit(self, token: str) -> None: ...

    def token(self) -> str: ...


class RunFolder:
    """checkpoints/<run>/ and the names of what lies in it."""

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

    @staticmethod
    def of(config: Config) -> "RunFolder":
        return RunFolder(Path(config.checkpoints) / config.run)

    def read_config(self) -> Config:
        """The resolved config that a run has saved.

        Raises:
            UserError: this is no folder of a run; names those in it or beside it.
        """
        if self.path.is_file():
            raise UserError(f"{one_line(self.path)}: is a file; a fitted classifier goes with --classifier")
        if not self.config.exists():
            within = [*self.path.glob("*/config.yaml")]  # the folder of all runs was given for one of them
            place = self.path if within else self.path.parent
            known = sorted(p.parent.name for p in within or place.glob("*/config.yaml"))
            there = f"; {place} holds: {', '.join(known)}" if known else ""
            raise UserError(f"{self.path}: is no folder of a run, it has no config.yaml{there}")
        return load_config(self.config)

    def write_config(self, config: Config) -> None:
        """Saves the resolved config; makes the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        replace_text(self.config, to_yaml(config))

    def result_of(self, stage: str) -> Path:
        """The file that exists if and only if the stage has ended."""
        return {"pretrain": self.pretrain, "meta-train": self.meta}[stage]

    def refuse_existing(self, stage: str) -> None:
        """Without --resume nothing of an existing run is overwritten.

        Raises:
            UserError: the stage has ended, or was begun.
        """
        result = self.result_of(stage)
        begun = any(p.exists() and checkpoints.read(p)["stage"] == stage for p in (self.last, self.next))
        if result.exists() or begun:
            what = "has ended there" if result.exists() else "was begun there"
            raise UserError(
                f"{self.path}: {stage} {what} already; --resume goes on with it, run=NAME starts another"
            )

    def unfinished(self, stage: str, record: Commits | None = None) -> dict[str, Any] | None:
        """The last checkpoint of this stage, or None where it has to start afresh.

        A kill between the record's commit and the renaming of the checkpoint leaves `last.pt.next`, and the
        record's token says whether it counts.
        """
        if self.next.exists():
            if record is not None and checkpoints.read(self.next)["token"] == record.token():
                os.replace(self.next, self.last)
            else:
                self.next.unlink()
        if not self.last.exists():
            return None
        payload = checkpoints.read(self.last)
        return payload if payload["stage"] == stage else None

    def save(self, payload: Mapping[str, Any], record: Commits | None = None) -> None:
        """Checkpoint and record as one step: either both are at this point afterwards, or neither."""
        token = f"{payload['stage']} {payload['step']}"
        checkpoints.write(self.next, {**payload, "token": token})
        if record is not None:
            record.commit(token)
        os.replace(self.next, self.last)

    def finish(self, stage: str, payload: Mapping[str, Any]) -> None:
        """Writes the stage's result; what was needed to go on with it is removed."""
        checkpoints.write(self.result_of(stage), payload)
        self.last.unlink(missing_ok=True)


class Metrics:
    """metrics.jsonl: a line a measurement. A stage that goes on drops those after its checkpoint."""

    def __init__(self, path: Path, stage: str, keep: int | None) -> None:
        """`keep`: the size that the checkpoint notes; None starts the stage afresh, without its old lines."""
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
        """Bytes so far: what a checkpoint notes."""
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


def replace_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all; where `path` is a link, the file that it leads to."""
    with replacing(path.resolve()) as temporary:
        temporary.write_text(text, encoding="utf-8")
