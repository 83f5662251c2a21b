"""Kinds of values that keys of a config share."""

import os
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

STRICT = ConfigDict(extra="forbid")
LARGEST = 10**9  # no count that a run can live with is larger

_LEADING_ZERO = re.compile(r"\s*[-+]?0[0-9_]")


def _as_written(value: Any) -> Any:
    """
    Raises:
        ValueError: digits that different programs read as different numbers, or a truth value.
    """
    if isinstance(value, bool):
        raise ValueError("must be a number")
    if isinstance(value, str) and _LEADING_ZERO.match(value):
        raise ValueError("must be a number without leading zeros")
    return value


def _path(text: str) -> str:
    """A path with ~ for the home folder, as shells have it.

    Raises:
        ValueError: it can be no path here.
    """
    if not text:
        raise ValueError("must not be empty; . is the working folder")
    if "\0" in text or len(text) > 4000:
        raise ValueError("must be a path: fewer than 4,000 letters, none of them NUL")
    home = os.path.expanduser(text)
    if home.startswith("~"):
        raise ValueError(f"must name a user of this machine after ~; ./{text[:80]} is a folder here")
    return home


def folder_name(name: str) -> str:
    """
    Raises:
        ValueError: no folder can have the name on every system, or commands would take it for an option.
    """
    if not name or name != name.strip() or name in {".", ".."} or any(c in name for c in '/\\:*?"<>|'):
        raise ValueError('must be a name that a folder can bear: no / \\ : * ? " < > |, not empty')
    if name[0] in "-." or not name.isprintable() or len(name.encode()) > 200:
        raise ValueError(
            "must be a name that a folder can bear: of at most 200 bytes, no control characters, not "
            "beginning with - or ."
        )
    return name


def regular_expression(pattern: str) -> str:
    """The pattern as it was given.

    Raises:
        ValueError: it is no regular expression, or names nothing.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"must be a regular expression ({error})") from None
    if not pattern:
        raise ValueError("must be a regular expression, or null for no groups")
    if compiled.groups > 1:
        raise ValueError("must have one group in parentheses at most; write others as (?:...)")
    return pattern


NUMBER = BeforeValidator(_as_written)
PathText = Annotated[str, AfterValidator(_path)]
Count = Annotated[int, Field(ge=0, le=LARGEST), NUMBER]
Positive = Annotated[int, Field(ge=1, le=LARGEST), NUMBER]
#: For what would ask for all memory at once if it were absurd.
Size = Annotated[int, Field(ge=1, le=10_000), NUMBER]
Several = Annotated[int, Field(ge=2, le=10_000), NUMBER]
UpTo10000 = Annotated[int, Field(ge=0, le=10_000), NUMBER]
UpToAMillion = Annotated[int, Field(ge=0, le=10**6), NUMBER]
Tasks = Annotated[int, Field(ge=1, le=10**6), NUMBER]
Seed = Annotated[int, Field(ge=0, lt=2**63), NUMBER]
Share = Annotated[float, Field(ge=0, le=1), NUMBER]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False), NUMBER]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), NUMBER]
#: Where the classes of image_folder lie; see `data.layout`.
Layout = Literal["auto", "merge", "nested"]
