"""Ctrl-C as a wish to stop after the step in hand."""

import signal
from types import FrameType, TracebackType


class Interrupted(KeyboardInterrupt):
    """A stage was asked to stop; it has written its checkpoint."""


class StopRequest:
    """Within it, SIGINT and SIGTERM set `wanted`; a second one interrupts at once, as usual."""

    def __init__(self) -> None:
        self.wanted = False

    def __enter__(self) -> "StopRequest":
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def here(self, stage: str, step: int, steps: int) -> None:
        """Raises Interrupted where a stop is wanted; to be called when the checkpoint is written."""
        if self.wanted:
            raise Interrupted(f"{stage}: stopped after step {step} of {steps}; --resume goes on from there")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
