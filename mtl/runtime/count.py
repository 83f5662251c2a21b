"""How many of a known number of things are done: a bar in a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

from mtl.config import Log
from mtl.runtime.progress import duration, tell


class Count:
    """Counts what is done. Where the output is no terminal, a line is written every `log.every_seconds`.

    Args:
        what: is counted, in a word.
        total: how many there are.
        log: `quiet`: nothing is shown.
        stream: where; None: standard error.
    """

    def __init__(self, what: str, total: int, log: Log | None = None, stream: TextIO | None = None) -> None:
        self.what, self.total, self.done = what, total, 0
        self.log, self.stream = log or Log(), stream or sys.stderr
        self.bar = tqdm(
            total=total,
            desc=what,
            file=self.stream,
            disable=self.log.quiet or not self.stream.isatty(),
            dynamic_ncols=True,
            leave=False,
            bar_format="{desc} |{bar}| {n_fmt}/{total_fmt}, {remaining} left",
        )
        self.begun = self.told = time.monotonic()

    def __enter__(self) -> "Count":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def add(self, number: int) -> None:
        """So many more are done."""
        self.done += number
        now = time.monotonic()
        if not self.bar.disable:
            self.bar.update(number)
        elif now - self.told >= self.log.every_seconds and self.done < self.total:
            self.told = now
            left = (now - self.begun) / self.done * (self.total - self.done)
            tell(f"{self.what}: {self.done:,}/{self.total:,}, {duration(left)} left", self.log, self.stream)
