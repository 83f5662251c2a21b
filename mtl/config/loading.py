"""YAML and `key.sub=value` to a checked Config; all mistakes are reported at once, each with its full key."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import TypeAdapter, ValidationError

from mtl.config.checks import Config, unread_keys
from mtl.config.hard_tasks import drop_other_samplers, moved
from mtl.config.yaml_text import NotYaml, parse, read_text
from mtl.errors import UserError, did_you_mean, one_line

_LETTERS = 100  # of a value in a message
_MOST_SENTENCES = 20

#: Shipped configs are beside the package in a checkout, inside it when installed.
_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "configs", _PACKAGE.parent / "configs")

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
    "too_long": "must have {max_length} values, not {actual_length}",  # or, from `_distinct`, too few
    "too_short": "must have at least {min_length} value",
    "tuple_type": "must be a list, as in [1, 2]",
    "value_error": "{error}",
}


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """The config of a YAML file (None: all defaults) with `key.sub=value` applied to it.

    Raises:
        UserError: the file cannot be read, or with one line for every mistake in it.
    """
    tree = {} if path is None else _read_yaml(Path(path))
    factors = [text for text in overrides if text.partition("=")[0].endswith("*")]
    wrong = [sentence for text in overrides if text not in factors for sentence in _override(tree, text)]
    if "compare" not in tree:
        drop_other_samplers(tree, _keys_below("hard_tasks", overrides))
    origin = f"{path} and the command line" if path and overrides else str(path or "the overrides")
    config = read_config(tree, origin, wrong)
    return with_overrides(config, factors, origin) if factors else config


def read_config(tree: Mapping[str, Any], origin: str, wrong: Sequence[str] = ()) -> Config:
    """A Config from nested mappings; UserError with one line for every mistake.

    Args:
        tree: sections, keys and values.
        origin: says in messages where they came from.
        wrong: mistakes found before.
    """
    sentences = list(wrong)
    try:
        config = TypeAdapter(Config).validate_python(dict(tree))
    except ValidationError as error:
        for e in islice(_distinct(error.errors(include_url=False)), _MOST_SENTENCES):
            sentences += _sentences(e)
    else:
        sentences += unread_keys(config, tree)
    if sentences:
        raise _mistakes(origin, sentences)
    return config


def _mistakes(origin: str, sentences: Sequence[str]) -> UserError:
    count = "1 mistake" if len(sentences) == 1 else f"{len(sentences)} mistakes"
    lines = [f"  {one_line(s)}" for s in sentences[:_MOST_SENTENCES]]
    return UserError("\n".join([f"{origin}: {count}", *lines]))


def with_overrides(config: Config, overrides: Sequence[str], origin: str) -> Config:
    """A config with `key.sub=value` or `key.sub*=factor` applied to it; UserError as of `read_config`."""
    tree = to_dict(config)
    wrong = [sentence for text in overrides for sentence in _override(tree, text)]
    made = read_config(tree, origin, wrong)
    given = dict.fromkeys(_keys_below("hard_tasks", overrides))
    if unread := unread_keys(made, {"hard_tasks": given}):
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


def find_config(name: str | Path) -> Path:
    """The file that `--config` names: a path, or else a shipped config, e.g. `quickstart`, `compare/glyphs`.

    Raises:
        UserError: there is neither; names the nearest.
    """
    path = Path(name)
    if path.exists():
        return path
    shipped = shipped_configs()
    wanted = path.with_suffix("").as_posix().removeprefix("configs/")
    if wanted in shipped:
        return shipped[wanted]
    beside = [str(path.parent / p.name) for p in path.parent.glob("*.yaml")]
    hint = did_you_mean(str(path), beside) or did_you_mean(wanted, shipped)
    raise UserError(f"{path}: there is no such config{hint} (shipped: {', '.join(shipped)})")


def shipped_configs() -> dict[str, Path]:
    """Every shipped config by its name, sorted: the path below `configs` without its ending."""
    place = next((p for p in _PLACES if p.is_dir()), _PLACES[0])
    return {f.relative_to(place).with_suffix("").as_posix(): f for f in sorted(place.rglob("*.yaml"))}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = parse(read_text(path))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such config") from None
    except OSError as error:
        raise UserError(f"{one_line(path)[:300]}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # NotYaml, or a path with a NUL
        raise UserError(f"{one_line(path)[:300]}: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: must hold keys and values at its top level, not a {type(tree).__name__}")
    return tree


def _override(tree: dict[str, Any], text: str) -> list[str]:
    """Applies one override to the tree; what is wrong with it."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        return [f"{_shown(text)}: an override is written key.sub=value, for example meta.way=5"]
    times = key.endswith("*")
    *parents, last = key.rstrip("*").strip().split(".")
    for parent in parents:
        below = tree.setdefault(parent, {})
        if not isinstance(below, dict):
            return [f"{key[:100]}: {parent[:100]} is a single value and has no keys below it"]
        tree = below
    try:
        tree[last] = _product(tree.get(last), value) if times else _value([*parents, last], value)
    except NotYaml as error:
        why = f"; {error}" if " is there twice" in str(error) else ""
        return [f"{key[:100]}: {_shown(value)} is not a YAML value (numbers, true, words, [lists]){why}"]
    except (ValueError, OverflowError):
        return [f"{text[:100]}: *= multiplies a number of the config by a number"]
    return []


def _keys_below(section: str, overrides: Sequence[str]) -> list[str]:
    """The keys of a section that overrides give."""
    keys = [text.partition("=")[0].rstrip("*").strip().split(".") for text in overrides]
    return [key[1] for key in keys if key[0] == section and len(key) > 1]


def _product(before: Any, factor: str) -> float:
    if isinstance(before, bool) or not isinstance(before, int | float):
        raise ValueError
    return before * float(factor)


def _value(key: Sequence[str], text: str) -> Any:
    """What an override gives to a key: the rest of the argument as it is if the key takes text.

    Raises:
        NotYaml: the key takes other values, and the text is not YAML.
    """
    kind, optional = _text_kind(key)
    if kind == "text" or (kind == "texts" and not text.lstrip().startswith("[")):
        return None if optional and text in {"null", "~"} else text
    return parse(text, all_texts=kind == "texts")


def _text_kind(key: Sequence[str]) -> tuple[Literal["text", "texts", "other"], bool]:
    """If a key takes text, a list of texts or anything else; and True if it may be null."""
    try:
        kind = _plain(_types(_section(key[:-1]))[key[-1]])
    except LookupError:
        return "other", False
    options = [_plain(one) for one in get_args(kind)] if get_origin(kind) in {Union, UnionType} else [kind]
    optional = NoneType in options
    options = [one for one in options if one is not NoneType]
    if all(_is_text(one) for one in options):
        return "text", optional
    if all(get_origin(one) is tuple and all(map(_is_text, get_args(one))) for one in options):
        return "texts", optional
    return "other", optional


def _section(path: Sequence[str]) -> Any:
    """The dataclass of a section, by the parts of its key; LookupError if there is none."""
    section: Any = Config
    for name in path:
        in_a_list = name.isdigit()
        section = _plain(get_args(section)[0]) if in_a_list else _plain(_types(section)[name])
    return section


def _types(section: Any) -> dict[str, Any]:
    return {f.name: f.type for f in dataclasses.fields(section)} if dataclasses.is_dataclass(section) else {}


def _plain(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _is_text(kind: Any) -> bool:
    kind = _plain(kind)
    if get_origin(kind) is Literal:
        return all(isinstance(choice, str) for choice in get_args(kind))
    return kind is str or kind is Ellipsis  # the latter in tuple[str, ...]


def _sentences(error: Any) -> Iterator[str]:
    """One pydantic error for a user: full key, value, what is allowed, the nearest match."""
    location = [str(part)[:_LETTERS] for part in error["loc"]]
    kind, value = error["type"], error["input"]
    if kind == "value_error" and not location:  # checks across sections name their keys themselves
        yield from str(error["ctx"]["error"]).split("\n")
        return
    if kind == "unexpected_keyword_argument":
        if location[0] == "hard_tasks" and (place := moved(location[-1])):
            yield f"{'.'.join(location)}: no such key; options are nested by sampler: {place}"
            return
        known = [f.name for f in dataclasses.fields(_section(location[:-1]))]
        hint = did_you_mean(location[-1], known, 0.5, ".".join([*location[:-1], ""]))
        yield f"{'.'.join(location)}: no such key{hint} (known here: {', '.join(known)})"
        return
    key = _full_key(error["loc"])
    if kind == "missing":
        yield f"{key}: is missing"
    elif kind == "invalid_key":
        yield f"{key}: no such key; keys are words"
    elif kind == "dataclass_type":
        what = "is empty" if value is None else f"{_shown(value)} is a single value"
        place = moved("neighbours") if key == "hard_tasks.neighbours" else None
        hint = f"; the number of nearest classes is {place}" if place else ""
        yield f"{key}: {what}, but {key} is a section that holds keys{hint}"
    elif kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        hint = did_you_mean(str(value)[:_LETTERS], allowed, 0.5)
        if isinstance(value, list | tuple):
            hint = "; one of them, they do not go together"
        yield f"{key}: {_shown(value)} is not allowed; allowed are {error['ctx']['expected']}{hint}"
    else:
        bounds = {name: _bound(of) for name, of in error.get("ctx", {}).items()}
        words = _WORDS.get(kind, "is refused: " + error["msg"]).format(**bounds)
        yield f"{key}: {_shown(value)} is not allowed; it {words}"


def _bound(value: Any) -> Any:
    """A bound as messages show it: 1,000,000 and not 1e+06, 1 and not 1.0."""
    if not isinstance(value, int | float):
        return value
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:g}"


def _shown(value: Any) -> str:
    """A value as messages show it: as Python writes it, cut to 100 letters."""
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
    parts = (f"[{p}]" if isinstance(p, int) else f".{str(p)[:_LETTERS]}" for p in location)
    return "".join(parts).removeprefix(".")
