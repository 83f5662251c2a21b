"""The views of a ledger while a run writes it: shown again whenever a commit has changed them.

    python run_meta.py hard-tasks checkpoints/omniglot --follow

The ledger is opened, read and closed at each look: the stage that writes it never waits for a reader.
"""

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, TextIO

from rich.console import Console

from mtl.errors import UserError
from mtl.ledger.show import render
from mtl.ledger.store import Ledger
from mtl.runtime.process import reader_gone
from mtl.runtime.progress import tell

_WIDTHS = 80, 140  # columns of a table: the least, also where the output is not a terminal, and the most
_RULE = "─" * _WIDTHS[0] + "\n"
_SHORT, _LONG = 2.0, 30.0  # seconds from look to look; whole tables fill a file quickly
_PATIENCE = 1.0  # seconds for which a ledger may look blank or damaged: it is being created
_SETTLED = 1.0  # seconds after which a file's time of change tells a further change from this one


def follow(
    path: Path,
    top: int = 20,
    format: Literal["table", "json"] = "table",
    every: float | None = None,
    out: TextIO | None = None,
) -> None:
    """Shows the views of the ledger at `path` until Ctrl-C, or until nobody reads; waits for it at first.

    A terminal is cleared before they are shown again; elsewhere a line separates them. As JSON, one object a
    line.

    Args:
        top: rows of each view, at most.
        every: seconds from one look to the next; None: 2, or 30 where every look prints whole tables.
        out: standard output where it is None.

    Raises:
        UserError: the file is not a ledger that this program reads.
    """
    out = out or sys.stdout
    terminal = format == "table" and out.isatty()

    def views(ledger: Ledger) -> str:
        if format == "json":
            return render(ledger, top, format="json line")
        columns = shutil.get_terminal_size().columns if terminal else 0
        text = render(ledger, top, width=min(max(_WIDTHS[0], columns), _WIDTHS[1]))
        ended = terminal and not _being_written(path)
        return text + "No stage is writing it now.\n" if ended else text

    between = ""
    for text in changes(path, views, every or (_SHORT if terminal or format == "json" else _LONG)):
        if terminal:
            Console(file=out).clear()
        print(between + text, end="", file=out, flush=True)
        if reader_gone(out):
            return
        between = _RULE if format == "table" and not terminal else ""


def changes(path: Path, views: Callable[[Ledger], str], every: float) -> Iterator[str]:
    """What `views` returns for the ledger, each time that it is something new. Endless."""
    read_state: object = None  # of the files when they were last read, if a later change would show in it
    shown, waiting, refused_since = "", False, math.inf
    while True:
        state = _state(path)
        if state is None:
            if not waiting:
                tell(
                    f"{path}: there is no ledger yet; waiting for a stage that solves episodes{_known(path)}"
                )
            waiting, read_state, refused_since = True, None, math.inf
        elif state != read_state:
            try:
                ledger = Ledger.read(path)
            except UserError:
                now = time.monotonic()
                refused_since = min(refused_since, now)
                if now - refused_since > _PATIENCE:
                    raise
            else:
                with ledger:
                    text = views(ledger)
                waiting, read_state, refused_since = False, state if _settled(path) else None, math.inf
                if text != shown:
                    yield text
                    shown = text
        time.sleep(every)


def _known(path: Path) -> str:
    """Which runs there are, for one who has misspelt theirs."""
    folder = path.parent
    names = sorted(p.parent.name for p in folder.parent.glob("*/config.yaml"))
    if folder.name in names or not names:
        return ""
    return f"; {folder.parent} has no run {folder.name}, it holds: {', '.join(names)}"


def _state(path: Path) -> object:
    """Differs after a change of the ledger or of the terminal's size; None where there is no ledger."""
    stats = _stats(path)
    if not stats or not stats[0].st_size:
        return None
    return shutil.get_terminal_size(), [(s.st_ino, s.st_size, s.st_mtime_ns) for s in stats]


def _being_written(path: Path) -> bool:
    """True if a stage has the ledger open: the write-ahead log of a mere reader is empty."""
    return any(stats.st_size for stats in _stats(path)[1:])


def _settled(path: Path) -> bool:
    """True if the files' times are so old that a change to come will show in them."""
    return all(time.time() - s.st_mtime > _SETTLED for s in _stats(path))


def _stats(path: Path) -> list[os.stat_result]:
    """Of the ledger and its write-ahead log, as far as they exist: a writer that ends removes the log."""
    stats = []
    with suppress(FileNotFoundError, NotADirectoryError):
        stats.append(path.stat())
        stats.append(path.with_name(path.name + "-wal").stat())
    return stats
