"""What the schema says of a key: the section it is in, and whether it takes text."""

import dataclasses
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from mtl.config.run_config import Config


def section(path: Sequence[str]) -> Any:
    """The dataclass of a section, by the parts of its key.

    Raises:
        LookupError: there is no such section.
    """
    found: Any = Config
    for name in path:
        in_a_list = name.isdigit()
        found = get_args(found)[0] if in_a_list else _plain(_types(found)[name])
    return found


def text_kind(key: Sequence[str]) -> tuple[Literal["text", "texts", "other"], bool]:
    """Whether a key takes text, a list of texts or anything else; and whether it may be null."""
    try:
        kind = _plain(_types(section(key[:-1]))[key[-1]])
    except LookupError:
        return "other", False
    options = [_plain(one) for one in get_args(kind)] if get_origin(kind) in {Union, UnionType} else [kind]
    optional = NoneType in options
    options = [one for one in options if one is not NoneType]
    if all(_is_text(one) for one in options):
        return "text", optional
    if all(get_origin(one) is tuple and all(_is_text(of) for of in get_args(one)) for one in options):
        return "texts", optional
    return "other", optional


def _types(of: Any) -> dict[str, Any]:
    return {f.name: f.type for f in dataclasses.fields(of)} if dataclasses.is_dataclass(of) else {}


def _plain(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _is_text(kind: Any) -> bool:
    kind = _plain(kind)
    if get_origin(kind) is Literal:
        return all(_is_literal_text(one) for one in get_args(kind))
    return kind is str or kind is Ellipsis


def _is_literal_text(one: Any) -> bool:
    return isinstance(one, str) or _is_text(one)
