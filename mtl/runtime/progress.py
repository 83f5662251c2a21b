"""What a person watches while a stage runs: a bar in a terminal, plain lines elsewhere, nothing if quiet."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Self, TextIO

from tqdm import tqdm

from mtl.config import Log
from mtl.runtime.process import is_silent

if TYPE_CHECKING:
    from rich.console import Console

_FIRST_LINE = 1.0  # seconds after which the first line is due: whoever waits knows that it works
_SMOOTHING = 0.98  # of a number at each step: it speaks of the last 50 steps or so


class Smoothed:
    """The exponential mean of a number. From the first value on it is a mean, with no pull towards 0.

    After t values x it is Σ keep^(t-i) xᵢ / Σ keep^(t-i), like the moments of Adam (Kingma and Ba, 2015).
    """

    def __init__(self, keep: float) -> None:
        self.keep, self.total, self.weight = keep, 0.0, 0.0

    def add(self, value: float) -> float:
        """Adds a value; returns the mean with it."""
        self.total = self.keep * self.total + value
        self.weight = self.keep * self.weight + 1
        return self.total / self.weight


class Means:
    """The mean of each number over the steps since a line was last written; checkpoints hold it."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        """`state`: of a checkpoint, from which the means go on."""
        self.steps: int = state["steps"] if state else 0
        self.sums: dict[str, float] = dict(state["sums"]) if state else {}

    def add(self, **numbers: float) -> None:
        """Adds the numbers of one step, of the same names at each."""
        self.steps += 1
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in numbers.items()}

    def take(self) -> dict[str, float]:
        """The means; later numbers are for the next line. Empty if there was no step."""
        means = {name: total / self.steps for name, total in self.sums.items()}
        self.steps, self.sums = 0, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "sums": dict(self.sums)}


class Count:
    """Counts what is done: a bar in a terminal, elsewhere lines: after a second, then by `every_seconds`."""

    _bar_format = "{desc} |{bar}| {n_fmt}/{total_fmt}, {remaining} left"
    _bar_stays = False

    def __init__(
        self, what: str, total: int, log: Log | None = None, stream: TextIO | None = None, start: int = 0
    ) -> None:
        self.what, self.total, self.done, self.first = what, total, start, start
        self.log, self.stream = log or Log(), stream or sys.stderr
        self.bar = tqdm(
            total=total,
            initial=start,
            desc=what,
            file=self.stream,
            disable=self.log.quiet or not self.stream.isatty(),
            dynamic_ncols=True,
            leave=self._bar_stays,
            bar_format=self._bar_format,
        )
        self.begun = time.monotonic()
        self.next_line = self.begun + min(_FIRST_LINE, self.log.every_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def add(self, number: int) -> None:
        """Counts `number` more."""
        self.done += number
        if not self.bar.disable:
            self.bar.update(number)
        elif self._line_due() and self.done < self.total:
            self.say(f"{self.done:,}/{self.total:,}, {self._left()}")

    def say(self, line: str) -> None:
        """Writes a separate line, above the bar."""
        if self.bar.disable:
            tell(f"{self.what}: {line}", self.log, self.stream)
        else:
            self.bar.write(f"{self.what}: {line}", file=self.stream)

    def _line_due(self) -> bool:
        if (now := time.monotonic()) < self.next_line and self.done < self.total:
            return False
        self.next_line = now + self.log.every_seconds
        return True

    def _left(self) -> str:
        seconds = time.monotonic() - self.begun
        return f"{duration(seconds / (self.done - self.first) * (self.total - self.done))} left"


class Progress(Count):
    """Counts the steps of a stage, and shows how it fares and how long it will take.

    Speed and time left are by the wall clock of this sitting, validation and rounds included, from the end
    of its first step on: what precedes that is done once, and the first round may take minutes.
    """

    _bar_format = "{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}"
    _bar_stays = True

    def __init__(
        self, stage: str, total: int, start: int = 0, log: Log | None = None, stream: TextIO | None = None
    ) -> None:
        super().__init__(stage, total, log, stream, start)
        self.stage, self.images, self.counting = stage, 0, False
        self.loss, self.accuracy = Smoothed(_SMOOTHING), Smoothed(_SMOOTHING)

    def step(self, *, images: int, loss: float, accuracy: float, **more: int | str) -> None:
        """Counts one step.

        Args:
            images: that training passed through the network in it.
            loss, accuracy: of these; shown as means over the last steps.
            more: what else is shown beside them, as it is.
        """
        self.done += 1
        self.images += images
        smooth = {"loss": self.loss.add(loss), "accuracy": self.accuracy.add(accuracy)}
        if not self.bar.disable:
            self.bar.set_postfix_str(self._fitting(self._parts(smooth, more)), refresh=False)
            self.bar.update()
        elif self._line_due():
            self.say(", ".join([f"{self.done}/{self.total}", *self._parts(smooth, more)]))
        if not self.counting:
            self.counting, self.begun, self.first, self.images = True, time.monotonic(), self.done, 0

    def _parts(self, smooth: Mapping[str, float], more: Mapping[str, int | str]) -> list[str]:
        """What is shown of a step, the most important first."""
        seconds = time.monotonic() - self.begun if self.counting else 0.0
        parts = [f"{name} {value:.3f}" for name, value in smooth.items()]
        if seconds > 0 and self.done < self.total:
            parts.append(self._left())
        parts += [f"{name} {value}" for name, value in more.items()]
        return [*parts, f"{self.images / seconds:,.0f} images/s"] if seconds > 0 else parts

    def _fitting(self, parts: Sequence[str]) -> str:
        """As many of the parts as the terminal has room for, beside a short bar."""
        columns = self.bar.format_dict["ncols"] or math.inf
        before = len(f"{self.what} |█| {self.total}/{self.total}")
        widths = accumulate(len(part) + len(", ") for part in parts)
        return ", ".join(part for part, width in zip(parts, widths, strict=True) if before + width <= columns)


def duration(seconds: float) -> str:
    """3:07, or 1:03:07 from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def tell(line: str, log: Log | None = None, stream: TextIO | None = None) -> None:
    """Writes a line for the person who waits, on standard error by default; nothing if `log.quiet`.

    Of several processes of one training only the first does.
    """
    if not ((log or Log()).quiet or is_silent()):
        print(line, file=stream or sys.stderr, flush=True)


def console(columns: int = 110) -> "Console":
    """rich's view of standard output: as wide as the terminal, or else `columns`."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else columns)
