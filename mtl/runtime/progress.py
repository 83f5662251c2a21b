"""What a person watches while a stage runs: a bar in a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import TextIO

from tqdm import tqdm


class Progress:
    """Counts steps of a stage and shows numbers beside them.

    In a terminal this is a tqdm bar; elsewhere a line every `seconds`, so that log files stay readable.
    """

    def __init__(
        self, stage: str, total: int, start: int = 0, seconds: float = 20.0, stream: TextIO | None = None
    ) -> None:
        self.stage, self.total, self.done, self.seconds = stage, total, start, seconds
        self.stream = stream or sys.stderr
        self.bar = tqdm(
            total=total,
            initial=start,
            desc=stage,
            file=self.stream,
            disable=not self.stream.isatty(),
            dynamic_ncols=True,
        )
        self.told = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def step(self, **numbers: float | str) -> None:
        """One step more, with the numbers that belong beside it."""
        self.done += 1
        shown = {k: f"{v:.3f}" if isinstance(v, float) else str(v) for k, v in numbers.items()}
        if not self.bar.disable:
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update()
        elif time.monotonic() - self.told > self.seconds or self.done == self.total:
            self.told = time.monotonic()
            self.say(f"{self.done}/{self.total} " + " ".join(f"{k} {v}" for k, v in shown.items()))

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        if self.bar.disable:
            tell(f"{self.stage}: {line}", self.stream)
        else:
            self.bar.write(f"{self.stage}: {line}", file=self.stream)


def tell(line: str, stream: TextIO | None = None) -> None:
    """A line for the person who waits, where no bar is shown."""
    print(line, file=stream or sys.stderr, flush=True)
