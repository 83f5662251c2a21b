"""The one exception that stands for a mistake of the user's."""


class UserError(Exception):
    """A mistake that the user can mend, told in clear sentences.

    The message names the file or key, what is wrong and what is allowed. The command line prints it
    without a traceback and exits with code 2; raise it before anything has been written.
    """


class RunStopped(Exception):
    """A run that cannot go on, for a cause in its numbers rather than in what the user wrote.

    The command line prints the message without a traceback and exits with code 1.
    """


def one_line(name: object) -> str:
    """A name, of a file or a class, as sentences have it: one line, whatever it holds.

    Line ends, control characters, signs that turn the direction of writing, and bytes of no text become �.
    """
    return "".join(c if c.isprintable() else "�" for c in str(name))


def counted(count: int, noun: str) -> str:
    """`1 class`, `2 classes`, `1,300 pictures`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"
