"""What a person watches while a stage runs: a bar in a terminal, plain lines elsewhere, nothing if quiet."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import TracebackType
from typing import Any, TextIO

from tqdm import tqdm

from mtl.config import Log

_KEPT = 0.98  # of a smoothed number at each step: it speaks of the last 50 steps or so


class Smoothed:
    """The exponential mean of a number. From the first value on it is a mean, with no pull towards 0.

    After t values x it is Σ keep^(t-i) xᵢ / Σ keep^(t-i), as Adam (Kingma and Ba, 2015) has its moments.
    """

    def __init__(self, keep: float) -> None:
        if not 0 <= keep < 1:
            raise ValueError(f"keep: {keep}; must be at least 0 and less than 1")
        self.keep, self.total, self.weight = keep, 0.0, 0.0

    def add(self, value: float) -> float:
        """Takes one value more; the mean with it."""
        self.total = self.keep * self.total + value
        self.weight = self.keep * self.weight + 1
        return self.total / self.weight


class Means:
    """The mean of each number over the steps since a line was last written; to be kept in checkpoints."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        """`state`: of a checkpoint, with which the means go on."""
        self.steps: int = state["steps"] if state else 0
        self.sums: dict[str, float] = dict(state["sums"]) if state else {}

    def add(self, **numbers: float) -> None:
        """The numbers of one step: the same names at each."""
        self.steps += 1
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in numbers.items()}

    def take(self) -> dict[str, float]:
        """The means; what is added after it is for the next line. Nothing if there was no step."""
        means = {name: total / self.steps for name, total in self.sums.items()}
        self.steps, self.sums = 0, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "sums": dict(self.sums)}


class Progress:
    """Counts the steps of a stage, and shows how it fares and how long it will take.

    In a terminal this is a tqdm bar; elsewhere a line every `log.every_seconds`, so that log files stay
    readable. Speed and time left are by the wall clock of this sitting, validation and rounds included.
    """

    def __init__(
        self, stage: str, total: int, start: int = 0, log: Log | None = None, stream: TextIO | None = None
    ) -> None:
        self.log = log or Log()
        self.stage, self.total, self.done, self.first = stage, total, start, start
        self.stream = stream or sys.stderr
        self.bar = tqdm(
            total=total,
            initial=start,
            desc=stage,
            file=self.stream,
            disable=self.log.quiet or not self.stream.isatty(),
            dynamic_ncols=True,
            bar_format="{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}",
        )
        self.loss, self.accuracy, self.images = Smoothed(_KEPT), Smoothed(_KEPT), 0
        self.begun = self.told = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def step(self, *, images: int, loss: float, accuracy: float, **more: int | str) -> None:
        """One step more.

        Args:
            images: that training passed through the network in it.
            loss, accuracy: of these; shown as means over the last steps.
            more: what else belongs beside them, shown as it is.
        """
        self.done += 1
        self.images += images
        smooth = {"loss": self.loss.add(loss), "accuracy": self.accuracy.add(accuracy)}
        if not self.bar.disable:
            self.bar.set_postfix_str(self._fitting(self._parts(smooth, more)), refresh=False)
            self.bar.update()
        elif time.monotonic() - self.told >= self.log.every_seconds or self.done == self.total:
            self.told = time.monotonic()
            self.say(", ".join([f"{self.done}/{self.total}", *self._parts(smooth, more)]))

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        if self.bar.disable:
            tell(f"{self.stage}: {line}", self.log, self.stream)
        else:
            self.bar.write(f"{self.stage}: {line}", file=self.stream)

    def _parts(self, smooth: Mapping[str, float], more: Mapping[str, int | str]) -> list[str]:
        """What is told of a step, the most important first."""
        seconds = time.monotonic() - self.begun
        parts = [f"{name} {value:.3f}" for name, value in smooth.items()]
        if self.done < self.total:
            parts.append(f"{duration(seconds / (self.done - self.first) * (self.total - self.done))} left")
        parts += [f"{name} {value}" for name, value in more.items()]
        return [*parts, f"{self.images / seconds:,.0f} images/s"] if seconds > 0 else parts

    def _fitting(self, parts: Sequence[str]) -> str:
        """As many of the parts as the terminal has room for, beside a short bar."""
        columns = self.bar.format_dict["ncols"] or math.inf
        before = len(f"{self.stage} |█| {self.total}/{self.total}")
        widths = accumulate(len(part) + len(", ") for part in parts)
        return ", ".join(part for part, width in zip(parts, widths, strict=True) if before + width <= columns)


def duration(seconds: float) -> str:
    """3:07, or 1:03:07 from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def tell(line: str, log: Log | None = None, stream: TextIO | None = None) -> None:
    """A line for the person who waits, where no bar is shown; none if they asked for quiet."""
    if not (log or Log()).quiet:
        print(line, file=stream or sys.stderr, flush=True)


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
