"""Ctrl-C as a wish to stop after the step in hand."""

import signal
from types import FrameType, TracebackType


class Interrupted(KeyboardInterrupt):
    """A stage was asked to stop; it has written its checkpoint."""


_HANG_UP = getattr(signal, "SIGHUP", None)  # a terminal or ssh session that ends; Windows has none


class StopRequest:
    """Within it, SIGINT, SIGTERM and SIGHUP set `wanted`; a second one interrupts at once, as usual.

    Under nohup, which has SIGHUP ignored, it stays ignored.
    """

    def __init__(self) -> None:
        self.wanted = False

    def __enter__(self) -> "StopRequest":
        signals = [signal.SIGINT, signal.SIGTERM]
        if _HANG_UP is not None and signal.getsignal(_HANG_UP) != signal.SIG_IGN:
            signals.append(_HANG_UP)
        self._before = {s: signal.signal(s, self._note) for s in signals}
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
