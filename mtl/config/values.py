"""Kinds of values that keys of a config share."""

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid")

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
#: Where the classes of image_folder lie; see `data.layout`.
Layout = Literal["auto", "merge", "nested"]


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
