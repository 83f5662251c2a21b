"""YAML and `key.sub=value` to a checked Config; every mistake told at once, each with its full key."""

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from mtl.config.checks import unread_keys
from mtl.config.hard_tasks import drop_other_samplers, moved
from mtl.config.keys import section, text_kind
from mtl.config.run_config import Config
from mtl.config.yaml_text import NotYaml, parse, read_text
from mtl.errors import UserError, one_line

_LETTERS = 100  # of a value in a message
_MOST = 20  # mistakes that are told

#: What pydantic's errors say to a user.
_WORDS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number, written in digits",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_unicode": "must be text without halves of letters (surrogates)",
    "string_type": "must be text; put quotes around a number or a date",
    "too_long": "must have {max_length} values, not {actual_length}",  # or, as `_distinct` has it, too few
    "too_short": "must have at least {min_length} value",
    "tuple_type": "must be a list, as in [1, 2]",
    "value_error": "{error}",
}


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """The config of a YAML file with `key.sub=value` laid over it; `None` stands for all defaults.

    Raises:
        UserError: the file cannot be read, or with one line for every mistake in it.
    """
    tree = {} if path is None else _read_yaml(Path(path))
    wrong: list[str] = []
    factors = [text for text in overrides if text.partition("=")[0].endswith("*")]
    for text in overrides:
        if text not in factors:
            wrong += _lay_over(tree, text)
    if "compare" not in tree:
        drop_other_samplers(tree, _keys_below("hard_tasks", overrides))
    origin = str(path or "the overrides")
    config = read_config(tree, origin, wrong)
    return with_overrides(config, factors, origin) if factors else config


def read_config(tree: Mapping[str, Any], origin: str, wrong: Sequence[str] = ()) -> Config:
    """A Config from nested mappings. `origin` says in messages where they came from."""
    sentences = list(wrong)
    try:
        config = TypeAdapter(Config).validate_python(dict(tree))
    except ValidationError as error:
        for e in islice(_distinct(error.errors(include_url=False)), _MOST):
            sentences += _sentences(e)
    else:
        sentences += unread_keys(config, tree)
    if sentences:
        raise _mistakes(origin, sentences)
    return config


def _mistakes(origin: str, sentences: Sequence[str]) -> UserError:
    told = [f"  {one_line(s)}" for s in sentences[:_MOST]]
    return UserError("\n".join([f"{origin}: {len(sentences)} mistake(s)", *told]))


def with_overrides(config: Config, overrides: Sequence[str], origin: str) -> Config:
    """A config with `key.sub=value` or `key.sub*=factor` laid over it; `origin` says where they came from.

    Raises:
        UserError: with one line for every mistake in them.
    """
    tree = to_dict(config)
    wrong = [sentence for text in overrides for sentence in _lay_over(tree, text)]
    made = read_config(tree, origin, wrong)
    given = dict.fromkeys(_keys_below("hard_tasks", overrides))
    unread = unread_keys(made, {"hard_tasks": given})
    if unread:
        raise _mistakes(origin, unread)
    return made


def to_dict(config: Any) -> dict[str, Any]:
    """Plain containers, tuples as lists: what YAML and checkpoints hold."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, list | tuple) else value

    result: dict[str, Any] = plain(dataclasses.asdict(config))
    return result


def to_yaml(config: Config) -> str:
    """The resolved config: every key, in the order of the schema."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, default_flow_style=None, width=110)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = read_text(path)
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], 1, 0.4)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise UserError(f"{path}: there is no such config{hint}") from None
    except OSError as error:
        raise UserError(f"{one_line(path)[:300]}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # NotYaml, or a path with a NUL
        raise UserError(f"{one_line(path)[:300]}: {error}") from None
    try:
        tree = parse(text)
    except NotYaml as error:
        raise UserError(f"{one_line(path)[:300]}: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: must hold keys and values at its top level, not a {type(tree).__name__}")
    return tree


def _lay_over(tree: dict[str, Any], text: str) -> list[str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        return [f"{shown(text)}: an override is written key.sub=value, for example meta.way=5"]
    times = key.endswith("*")
    *parents, last = key.rstrip("*").strip().split(".")
    for parent in parents:
        below = tree.setdefault(parent, {})
        if not isinstance(below, dict):
            return [f"{key[:100]}: {parent[:100]} is a single value and has no keys below it"]
        tree = below
    try:
        tree[last] = _times(tree.get(last), value) if times else _value([*parents, last], value)
    except NotYaml as error:
        why = f"; {error}" if " is there twice" in str(error) else ""
        return [f"{key[:100]}: {shown(value)} is not a YAML value (numbers, true, words, [lists]){why}"]
    except (ValueError, OverflowError):
        return [f"{text[:100]}: *= multiplies a number of the config by a number"]
    return []


def _keys_below(section: str, overrides: Sequence[str]) -> list[str]:
    """The keys of a section that overrides give."""
    keys = [text.partition("=")[0].rstrip("*").strip().split(".") for text in overrides]
    return [key[1] for key in keys if key[0] == section and len(key) > 1]


def _times(before: Any, factor: str) -> float:
    if isinstance(before, bool) or not isinstance(before, int | float):
        raise ValueError
    return before * float(factor)


def _value(key: Sequence[str], text: str) -> Any:
    """What an override gives to a key: where that takes text, the text as it stands.

    Raises:
        NotYaml: the key takes other values, and the text is no YAML.
    """
    kind, optional = text_kind(key)
    if kind == "text":
        return None if optional and text in {"null", "~"} else text
    if kind == "texts" and not text.lstrip().startswith("["):
        return None if optional and text in {"null", "~"} else text
    return parse(text, all_texts=kind == "texts")


def _sentences(error: Any) -> Iterator[str]:
    """One pydantic error in the words of a user: full key, value, what is allowed, the nearest match."""
    location = [str(part)[:_LETTERS] for part in error["loc"]]
    kind, value = error["type"], error["input"]
    if kind == "value_error" and not location:  # checks across sections name their keys themselves
        yield from str(error["ctx"]["error"]).split("\n")
        return
    if kind == "unexpected_keyword_argument":
        place = moved(location[-1]) if location[:-1] == ["hard_tasks"] else None
        if place:
            yield f"{'.'.join(location)}: has moved to {place}"
            return
        known = [f.name for f in dataclasses.fields(section(location[:-1]))]
        near = difflib.get_close_matches(location[-1], known, 1, 0.5)
        prefix = ".".join([*location[:-1], ""])
        hint = f"did you mean {prefix}{near[0]}? " if near else ""
        yield f"{'.'.join(location)}: no such key; {hint}(known here: {', '.join(known)})"
        return
    key = _full_key(error["loc"])
    if kind == "missing":
        yield f"{key}: is missing"
    elif kind == "invalid_key":
        yield f"{key}: no such key; keys are words"
    elif kind == "dataclass_type":
        found = "is empty" if value is None else f"{shown(value)} is a single value"
        place = moved("neighbours") if key == "hard_tasks.neighbours" else None
        hint = f"; the number of nearest classes has moved to {place}" if place else ""
        yield f"{key}: {found}, but {key} is a section with keys of its own{hint}"
    elif kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        near = difflib.get_close_matches(str(value)[:_LETTERS], allowed, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        hint = "; one of them, they do not go together" if isinstance(value, list | tuple) else hint
        yield f"{key}: {shown(value)} is not allowed; allowed are {error['ctx']['expected']}{hint}"
    else:
        bounds = {name: _bound(of) for name, of in error.get("ctx", {}).items()}
        words = _WORDS.get(kind, "is refused: " + error["msg"]).format(**bounds)
        yield f"{key}: {shown(value)} is not allowed; it {words}"


def _bound(value: Any) -> Any:
    """A bound as messages have it: 1,000,000 and not 1e+06, 1 and not 1.0."""
    if not isinstance(value, int | float):
        return value
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:g}"


def shown(value: Any) -> str:
    """A value as messages have it: as Python writes it, cut to 100 letters."""
    text = repr(value[: 2 * _LETTERS] if isinstance(value, str) else value)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 4]} ..."


def _distinct(errors: Sequence[Any]) -> Iterator[Any]:
    """All values that a list lacks as one error; none for a list too short because its values are wrong."""
    lacking = Counter(e["loc"][:-1] for e in errors if e["type"] == "missing")
    for e in errors:
        loc = e["loc"]
        if e["type"] == "missing" and isinstance(loc[-1], str):  # a key, not a place in a list
            yield e
        elif e["type"] == "missing":
            have, missing = len(e["input"]), lacking.pop(loc[:-1], 0)
            if missing:
                lengths = {"actual_length": have, "max_length": have + missing}
                yield {**e, "type": "too_long", "loc": loc[:-1], "ctx": lengths}
        elif e["type"] != "too_short" or not any(o is not e and o["loc"][: len(loc)] == loc for o in errors):
            yield e


def _full_key(location: Sequence[str | int]) -> str:
    return "".join(
        f"[{p}]" if isinstance(p, int) else f".{str(p)[:_LETTERS]}" for p in location
    ).removeprefix(".")
