"""Kinds of values that keys of a config share; each refuses what it does not allow with a ValueError."""

import difflib
import os
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

STRICT = ConfigDict(extra="forbid")
LARGEST = 10**9  # no run can use a larger count

#: Networks of this project.
OWN = ("conv4", "resnet12")
#: Others are named <library>.<network>.
LIBRARIES = ("torchvision", "timm")

_LEADING_ZERO = re.compile(r"\s*[-+]?0[0-9_]")


def _as_written(value: Any) -> Any:
    """Refuses truth values, and digits that different programs read as different numbers."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    if isinstance(value, str) and _LEADING_ZERO.match(value):
        raise ValueError("must be a number without leading zeros")
    return value


def _path(text: str) -> str:
    """A path; ~ becomes the home folder, as in shells."""
    if not text:
        raise ValueError("must not be empty; . is the working folder")
    if "\0" in text or len(text) > 4000:
        raise ValueError("must be a path: fewer than 4,000 letters, none of them NUL")
    home = os.path.expanduser(text)
    if home.startswith("~"):
        raise ValueError(f"must name a user of this machine after ~; ./{text[:80]} is a folder here")
    return home


def folder_name(name: str) -> str:
    """Refuses names that are not allowed for a folder on some system, or look like an option of a command."""
    if not name or name != name.strip() or name in {".", ".."} or any(c in name for c in '/\\:*?"<>|'):
        raise ValueError('must be a name that a folder can have: no / \\ : * ? " < > |, not empty')
    if name[0] in "-." or not name.isprintable() or len(name.encode()) > 200:
        raise ValueError(
            "must be a name that a folder can have: of at most 200 bytes, no control characters, not "
            "beginning with - or ."
        )
    return name


def _pattern(pattern: str) -> str:
    """Refuses what is not a regular expression, or one that names nothing."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"must be a regular expression ({error})") from None
    if not pattern:
        raise ValueError("must be a regular expression, or null for no groups")
    if compiled.groups > 1:
        raise ValueError("must have one group in parentheses at most; write others as (?:...)")
    return pattern


def _network(name: str) -> str:
    """Refuses names of another form; only loading shows if the library has the network."""
    library, _, network = name.partition(".")
    if name in OWN or (library in LIBRARIES and network):
        return name
    near = _nearest_network(name)
    hint = f"; did you mean {near}?" if near else ""
    raise ValueError(f"must be {', '.join(OWN)}, torchvision.NAME or timm.NAME{hint}")


def _nearest_network(name: str) -> str | None:
    library, dot, network = name.partition(".")
    if dot:
        near = difflib.get_close_matches(library.lower(), LIBRARIES, 1)
        return f"{near[0]}.{network}" if near and network else None
    plain = re.sub(r"[\s_-]", "", name.lower())
    near = difflib.get_close_matches(plain, OWN, 1, 0.75)
    if near and re.findall(r"\d", near[0]) == re.findall(r"\d", plain):  # resnet18 is not a misspelt resnet12
        return near[0]
    return f"torchvision.{name}" if name.isidentifier() and name not in LIBRARIES else None


def is_file(weights: str) -> bool:
    """True if `backbone.weights` is the path of a file; names of published weights have no dot or slash."""
    return any(c in weights for c in "./\\")


PathText = Annotated[str, AfterValidator(_path)]
FolderName = Annotated[str, AfterValidator(folder_name)]
Pattern = Annotated[str, AfterValidator(_pattern)]
NetworkName = Annotated[str, AfterValidator(_network)]
NUMBER = BeforeValidator(_as_written)
Count = Annotated[int, Field(ge=0, le=LARGEST), NUMBER]
Positive = Annotated[int, Field(ge=1, le=LARGEST), NUMBER]
#: For what would take all memory at once if it were absurd.
Size = Annotated[int, Field(ge=1, le=10_000), NUMBER]
Several = Annotated[int, Field(ge=2, le=10_000), NUMBER]
UpTo10000 = Annotated[int, Field(ge=0, le=10_000), NUMBER]
UpToAMillion = Annotated[int, Field(ge=0, le=10**6), NUMBER]
Tasks = Annotated[int, Field(ge=1, le=10**6), NUMBER]
Seed = Annotated[int, Field(ge=0, lt=2**63), NUMBER]
Share = Annotated[float, Field(ge=0, le=1), NUMBER]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False), NUMBER]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), NUMBER]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
#: Where the classes of image_folder are; see `data.layout`.
Layout = Literal["auto", "merge", "nested"]
