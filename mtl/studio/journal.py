"""Events on disk, a JSON object a line, each of them safe before anything is answered."""

import errno
import json
import os
from pathlib import Path
from typing import Any

from mtl.errors import UserError, one_line
from mtl.runtime.outputs import sync_folder
from mtl.studio.board import Event, board_of


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
            self._file = path.open("ab", buffering=0)  # so that nothing that failed is written later
            self._file.truncate(len(whole))
            sync_folder(path.parent)
        except OSError as error:
            raise UserError(f"{one_line(path)}: cannot be written ({error.strerror})") from None

    def append(self, event: Event) -> None:
        """Returns when the event is on disk; OSError, and nothing is changed, if that fails."""
        line, end = json.dumps(event).encode() + b"\n", os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
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
        board_of([event])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(
            f"{one_line(path)}: line {number} is damaged; remove it, or name another folder with --state"
        ) from None
    return event
