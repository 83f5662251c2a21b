"""Standard output and error that never end a command: what cannot be shown is dropped, the work goes on.

The reader of `fit ... | true` is gone before the first line. Every writer (print, rich, tqdm, argparse,
warnings) goes through `sys.stdout` or `sys.stderr`, so both are replaced while a command runs.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_READER_GONE = frozenset({errno.EPIPE, errno.EIO})  # `| head` has had enough; the terminal was closed


class _Outlet(io.FileIO):
    """A file descriptor that takes all that is written; after the first failure it drops it."""

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
    """Within it, `sys.stdout` and `sys.stderr` are such streams; letters that they lack are shown as escapes.

    Streams that are no plain files or pipes (those that tests or notebooks put there) stay as they are.
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
    """Whether a write to the stream has failed, so that nobody will see what is still to come."""
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
    """Opens 0 to 2 where they were closed (`>&-`): the next file opened would be taken for the stream."""
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
