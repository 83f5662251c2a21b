"""The process and its surroundings: signals that ask it to stop, and readers of its output that leave."""

import errno
import gc
import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

_HANG_UP = getattr(signal, "SIGHUP", None)  # a terminal or ssh session that ends; Windows has none
#: Seconds in which torchrun ends the other processes of a training that has failed in one.
GRACE = 30.0
_READER_GONE = frozenset({errno.EPIPE, errno.EIO})  # `| head` has had enough; the terminal was closed


class Interrupted(KeyboardInterrupt):
    """A stage stopped on request, after writing its checkpoint."""


def started_by_torchrun() -> bool:
    """True in a process that torchrun has started, even if it is the only one."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def processes() -> int:
    """How many processes torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if started_by_torchrun() else 1


def wait_for_first() -> None:
    """To be called before all processes of a training are connected, in one that has met a mistake.

    The first process has met the same, and says so; torchrun then ends this one.
    """
    if is_silent():
        time.sleep(GRACE)


def is_silent() -> bool:
    """True in all processes but the first."""
    return started_by_torchrun() and os.environ.get("RANK", "0") != "0"


@contextmanager
def collection_paused() -> Iterator[None]:
    """For imports of large libraries: what they make stays, and searching it for garbage takes 1 s in 6."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


class StopRequest:
    """Within it, SIGINT, SIGTERM and SIGHUP set `wanted`; a second one interrupts at once, as usual.

    torchrun passes a signal on more than once and then waits: under it, a second one changes nothing.
    Under nohup, which ignores SIGHUP, it stays ignored.
    """

    def __init__(self) -> None:
        self.wanted = False

    def __enter__(self) -> "StopRequest":
        signals = [signal.SIGINT, signal.SIGTERM]
        if _HANG_UP is not None and signal.getsignal(_HANG_UP) != signal.SIG_IGN:
            signals.append(_HANG_UP)
        self._before = {s: signal.signal(s, self._note) for s in signals}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def here(self, stopping: bool, stage: str, step: int, steps: int) -> None:
        """Raises Interrupted if a stop was wanted when a checkpoint was written, as the caller knows."""
        if stopping:
            raise Interrupted(f"{stage}: stopped after step {step} of {steps}; --resume goes on from there")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted and not started_by_torchrun():
            raise KeyboardInterrupt
        self.wanted = True


class _Outlet(io.FileIO):
    """A file descriptor that accepts everything; after the first failure it drops what is written."""

    failure: OSError | None = None

    def write(self, content: Any, /) -> int:
        if self.failure is None:
            try:
                return super().write(content) or 0
            except OSError as error:
                self.failure = error
        return memoryview(content).nbytes


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Within it, a failing write to standard output or error is dropped and the work goes on.

    The reader of `fit ... | true` is gone before the first line. Every writer (print, rich, tqdm, argparse,
    warnings) goes through `sys.stdout` or `sys.stderr`, so both are replaced. Characters that their encoding
    lacks are shown as escapes. Streams that are neither files nor pipes (of tests or notebooks) stay.
    """
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def reader_gone(stream: TextIO) -> bool:
    """True if a write to the stream has failed, so that nobody will see what is still to come."""
    return _failure(stream) is not None


def lost_output() -> str | None:
    """Why standard output is incomplete, in a word or two; None if it is whole, or its reader left."""
    sys.stdout.flush()
    failure = _failure(sys.stdout)
    return None if failure is None or failure.errno in _READER_GONE else failure.strerror


def _failure(stream: TextIO) -> OSError | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Outlet) else None


def _fill_descriptors() -> None:
    """Opens 0 to 2 if they were closed (`>&-`): the next file opened would be taken for the stream."""
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(lowest, True)
    os.close(lowest)


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # it was closed when Python began
        outlet = _Outlet(descriptor, "w", closefd=False)
        outlet.failure = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return _text(outlet, "utf-8")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # `python -u` has no buffer in between
    if type(stream) is not io.TextIOWrapper or type(raw) is not io.FileIO:
        return stream
    stream.flush()
    outlet = _Outlet(raw.fileno(), "w", closefd=False)
    return _text(outlet, stream.encoding, stream.line_buffering or stream.write_through)


def _text(outlet: _Outlet, encoding: str, by_line: bool = False) -> TextIO:
    buffer = io.BufferedWriter(outlet)
    return io.TextIOWrapper(buffer, encoding, errors="backslashreplace", line_buffering=by_line)
