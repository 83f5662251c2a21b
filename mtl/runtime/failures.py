"""Failures of the system (disk, memory, limits, permissions) in one sentence.

A full disk reaches this program as an OSError, an error of SQLite or a RuntimeError of torch. Errors of the
program are not among these, and keep their tracebacks.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtl.errors import UserError, one_line
from mtl.runtime.process import started_by_torchrun

FILE_NOTE = "file: "  # opens the note that names the file

#: What helps, by the cause.
_WAYS_OUT = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space of your quota",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.EROFS: "name a folder that can be written",
    errno.EACCES: "get the permission or name another folder",
    errno.EPERM: "get the permission or name another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "check the disk",
}
_MEMORY = "memory ran out"
_LESS = "take smaller batches (pretrain.batch_size, meta.tasks), fewer queries or a smaller backbone"
_OF_MEMORY = (  # of messages by torch, its allocators and the loader of libraries
    "can't allocate memory",
    "cannot allocate memory",
    "failed to map segment",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "alloc_failed",
)
_OF_OTHERS = ("connection closed by peer", "connection reset by peer", "gloo", "nccl", "broken pipe")
_OF_SYSTEM = (RuntimeError, ImportError, OSError)
_SQLITE: dict[int, tuple[int | None, str]] = {
    sqlite3.SQLITE_FULL: (errno.ENOSPC, "the disk is full"),
    sqlite3.SQLITE_IOERR: (errno.ENOSPC, "the disk is full or fails"),
    sqlite3.SQLITE_READONLY: (errno.EACCES, "it may not be written"),
    sqlite3.SQLITE_CANTOPEN: (errno.EACCES, "it cannot be opened"),
    sqlite3.SQLITE_PERM: (errno.EACCES, "it may not be opened"),
    sqlite3.SQLITE_NOMEM: (errno.ENOMEM, _MEMORY),
    sqlite3.SQLITE_BUSY: (None, "another process is writing it"),
    sqlite3.SQLITE_LOCKED: (None, "another process is writing it"),
    sqlite3.SQLITE_CORRUPT: (None, "it is damaged"),
    sqlite3.SQLITE_NOTADB: (None, "it is damaged"),
}


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Notes on errors raised within it that they were about this file."""
    try:
        yield
    except (OSError, sqlite3.Error, RuntimeError) as error:
        error.add_note(f"{FILE_NOTE}{path}")
        raise


def require_working_folder() -> None:
    """UserError if the working folder was deleted: libraries would end the process."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the working folder is no longer there; cd to one that is") from None


def failure(error: BaseException, resumable: bool = False) -> str | None:
    """One sentence: which file, what failed, how to go on; None if `error` is not a failure of the system.

    `resumable`: the command can go on with --resume.
    """
    cause_with_number = _cause(error)
    if cause_with_number is None:
        return None
    number, cause = cause_with_number
    file = _file(error)
    way_out = _WAYS_OUT.get(number or 0, "")
    if cause == _MEMORY:
        way_out = _LESS if resumable else "close other programs"
    then = ", then go on with --resume" if resumable else ""
    if resumable and not way_out:
        then = "--resume goes on from the last checkpoint"
    return "; ".join(part for part in (f"{file}: {cause}" if file else cause, f"{way_out}{then}") if part)


def _cause(error: BaseException) -> tuple[int | None, str] | None:
    """The system's number for what failed, if it has one, and its description."""
    text = str(error).lower()
    cause: tuple[int | None, str] | None = None
    of_memory = isinstance(error, _OF_SYSTEM) and any(sign in text for sign in _OF_MEMORY)
    if of_memory or isinstance(error, MemoryError):
        cause = errno.ENOMEM, _MEMORY
    elif isinstance(error, sqlite3.Error):
        return _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    elif isinstance(error, OSError) and error.errno is not None:
        cause = error.errno, error.strerror or type(error).__name__
    elif isinstance(error, RuntimeError) and started_by_torchrun() and any(s in text for s in _OF_OTHERS):
        cause = None, "another process of this training has ended"
    elif isinstance(error, RuntimeError) and "can't start new thread" in text:
        cause = errno.EAGAIN, "the system lets this program start no further thread (ulimit -u)"
    elif isinstance(error, RuntimeError) and "inline_container" in text:  # torch's writer: a write failed
        before = error.__context__
        return _cause(before) if isinstance(before, OSError) else (errno.ENOSPC, "cannot be written")
    return cause


def _file(error: BaseException) -> str:
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    for note in getattr(error, "__notes__", ()):
        if note.startswith(FILE_NOTE):
            named = note.removeprefix(FILE_NOTE)
    return one_line(named)[:300] if named else ""
