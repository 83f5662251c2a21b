"""Errors that a command reports in a sentence, and how sentences show names."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can correct.

    The message names the file or key, what is wrong and what is allowed. The command line prints it
    without a traceback and exits with code 2; raise it before anything has been written.
    """


class RunStopped(Exception):
    """A run that cannot go on because of its numbers, not because of what the user wrote.

    The command line prints the message without a traceback and exits with code 1.
    """


def one_line(name: object) -> str:
    """The name of a file or class on one line, for a sentence.

    Line ends, control characters, marks of writing direction, and bytes that are not text become �.
    """
    return "".join(c if c.isprintable() else "�" for c in str(name))


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6, prefix: str = "") -> str:
    """The end of a sentence that names the known name nearest to `name`; empty if none is near."""
    near = difflib.get_close_matches(name, list(known), 1, cutoff)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def counted(count: int, noun: str) -> str:
    """`1 class`, `2 classes`, `1,300 pictures`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"
