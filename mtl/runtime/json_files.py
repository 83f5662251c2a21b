"""JSON that a run has left, read with its contents checked: a damaged file is one sentence."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mtl.errors import UserError, one_line

_adapter = cache(TypeAdapter[Any])


def read_json(path: Path, kind: Any, way_out: str) -> Any:
    """The tree of a JSON file that has the shape of `kind`.

    Args:
        kind: a type that pydantic checks without converting values, e.g. a model.
        way_out: what a person can do about a damaged file.

    Raises:
        UserError: the file cannot be read, or has another shape.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise UserError(f"{one_line(path)}: cannot be read (nested too deep); {way_out}") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{one_line(path)}: cannot be read ({str(error)[:100]}); {way_out}") from None
    if wrong := misshapen(tree, kind):
        raise UserError(f"{one_line(path)}: is damaged ({wrong}); {way_out}")
    return tree


def misshapen(tree: Any, kind: Any) -> str:
    """The first thing in which a tree differs from the type, in a few words; empty if it does not."""
    try:
        _adapter(kind).validate_python(tree, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "model_type":
            first["msg"] = f"it holds a {type(first['input']).__name__}"
        place = ".".join(map(str, first["loc"]))[:100]
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return ""
