"""Events on disk, a JSON object a line, each of them safe before anything is answered."""

import json
import os
from pathlib import Path
from typing import Any

from mtl.errors import UserError, one_line
from mtl.runtime.outputs import sync_folder
from mtl.studio.board import Event


class Journal:
    """Only ever appended to. A line that a kill cut short was never confirmed; it is removed.

    Raises:
        UserError: the file cannot be read or written, or another line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.events = path, list[Event]()
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            self.events = [_event(line, number, path) for number, line in enumerate(whole.splitlines(), 1)]
            self._file = path.open("ab")
            self._file.truncate(len(whole))
            sync_folder(path.parent)
        except OSError as error:
            raise UserError(f"{one_line(path)}: cannot be written ({error.strerror})") from None

    def append(self, event: Event) -> None:
        """Returns when the event is on disk; OSError, and nothing is changed, if that fails."""
        end = self._file.tell()
        try:
            self._file.write(json.dumps(event).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            raise
        self.events.append(event)

    def close(self) -> None:
        self._file.close()


def _event(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        event = dict(json.loads(line))
        event["do"]
    except (ValueError, TypeError, KeyError):
        raise UserError(
            f"{one_line(path)}: line {number} is damaged; remove it, or name another folder with --state"
        ) from None
    return event
