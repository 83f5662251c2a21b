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
from rich.live import Live
from rich.text import Text

from mtl.errors import UserError
from mtl.ledger.show import latest_tables, render
from mtl.ledger.store import Ledger
from mtl.runtime.process import reader_gone
from mtl.runtime.progress import tell

_WIDTH = 80  # columns, where the output is no terminal
_RULE = "─" * _WIDTH + "\n"
_LIVELY, _CALM = 2.0, 30.0  # seconds from look to look; whole tables fill a file quickly
_PATIENCE = 1.0  # seconds in which a ledger may look blank or damaged: it is being made
_SETTLED = 1.0  # seconds after which a file's time of change tells a further change from this one


def follow(
    path: Path,
    top: int = 20,
    format: Literal["table", "json"] = "table",
    every: float | None = None,
    out: TextIO | None = None,
) -> None:
    """Shows the views of the ledger at `path` until Ctrl-C, or until nobody reads; waits for it at first.

    A terminal shows the phase that was begun last, as many rows as fit, and refreshes them in place.
    Elsewhere all views are printed again after a line; as JSON, one object a line.

    Args:
        top: rows of each view, at most.
        every: seconds from one look to the next; None: 2, or 30 where every look prints whole tables.
        out: standard output where it is None.

    Raises:
        UserError: the file is no ledger that this program reads.
    """
    out = out or sys.stdout
    calm = format == "table" and not out.isatty()
    every = every or (_CALM if calm else _LIVELY)
    if format == "json":
        for text in changes(path, lambda ledger: render(ledger, top, format="json line"), every):
            print(text, end="", file=out, flush=True)
            if reader_gone(out):
                return
    elif calm:
        before = ""
        for text in changes(path, lambda ledger: render(ledger, top, width=_WIDTH), every):
            print(before + text, end="", file=out, flush=True)
            if reader_gone(out):
                return
            before = _RULE
    else:
        console = Console(file=out)

        def fitting(ledger: Ledger) -> str:
            width, height = console.size
            if _being_written(path):
                return latest_tables(ledger, top, width, height)
            return f"{latest_tables(ledger, top, width, height - 1)}No stage is writing it now.\n"

        with Live(console=console, auto_refresh=False) as live:
            for text in changes(path, fitting, every):
                live.update(Text(text.rstrip("\n")), refresh=True)
                if reader_gone(out):
                    return


def changes(path: Path, views: Callable[[Ledger], str], every: float) -> Iterator[str]:
    """What `views` says of the ledger, each time that it is something new. Never ends of itself."""
    looked: object = None  # how the files stood when they were read last, if that can be told
    shown, waits, refused = "", False, math.inf
    while True:
        stands = _state(path)
        if stands is None:
            if not waits:
                tell(
                    f"{path}: there is no ledger yet; waiting for a stage that solves episodes{_known(path)}"
                )
            waits, looked, refused = True, None, math.inf
        elif stands != looked:
            try:
                ledger = Ledger.read(path)
            except UserError:
                now = time.monotonic()
                refused = min(refused, now)
                if now - refused > _PATIENCE:
                    raise
            else:
                with ledger:
                    text = views(ledger)
                waits, looked, refused = False, stands if _settled(path) else None, math.inf
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
    """Is another one when the ledger has changed, or the terminal's size; None where there is no ledger."""
    stats = _stats(path)
    if not stats or not stats[0].st_size:
        return None
    return shutil.get_terminal_size(), [(s.st_ino, s.st_size, s.st_mtime_ns) for s in stats]


def _being_written(path: Path) -> bool:
    """Whether a stage has the ledger open: the write-ahead log of a mere reader is empty."""
    return any(stats.st_size for stats in _stats(path)[1:])


def _settled(path: Path) -> bool:
    """Whether the files' times are so old that a change to come will show in them."""
    return all(time.time() - s.st_mtime > _SETTLED for s in _stats(path))


def _stats(path: Path) -> list[os.stat_result]:
    """Of the ledger and its write-ahead log, as far as they are there: a writer that ends removes the log."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError):
        found.append(path.stat())
        found.append(path.with_name(path.name + "-wal").stat())
    return found
