"""Names of classes that a person cannot tell apart, or hardly."""

import unicodedata
from collections.abc import Callable, Iterable

from mtl.errors import UserError, one_line


def composed(name: str) -> str:
    """A name in the Unicode form NFC: an é is one character there, two in the form NFD."""
    return unicodedata.normalize("NFC", name)


def require_told_apart(names: Iterable[str], where: object) -> None:
    """Refuses two names that are the same text in two Unicode forms: they look the same everywhere.

    Raises:
        UserError: there are such names; says which, and where they were found.
    """
    if same := _groups(names, composed):
        shown = " and ".join(ascii(name) for name in same[0])
        raise UserError(
            f"{one_line(where)}: class {one_line(same[0][0])} is there {len(same[0])} times, in different "
            f"Unicode forms ({shown}), which look the same; put them into one, or rename one of them"
        )


def nearly_same(names: Iterable[str], among: Iterable[str] | None = None) -> list[str]:
    """A sentence for each group of classes whose names differ in case or outer spaces alone.

    Args:
        names: of all classes.
        among: only groups that have one of these; None: all.
    """
    wanted = None if among is None else set(among)
    groups = _groups(names, lambda name: composed(name).strip().casefold())
    return [
        f"{', '.join(_quoted(name) for name in group)}: are different classes, whose names differ only in "
        "upper and lower case or outer spaces; if they are meant to be one, put them together"
        for group in groups
        if wanted is None or wanted & set(group)
    ]


def _groups(names: Iterable[str], plain: Callable[[str], str]) -> list[list[str]]:
    by: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        by.setdefault(plain(name), []).append(name)
    return [group for group in by.values() if len(group) > 1]


def _quoted(name: str) -> str:
    return f'"{one_line(name)}"'
