"""YAML of configs, read in one place: plain values, or a sentence that says what is wrong.

Fewer forms are numbers than in YAML 1.1, so that no text becomes a number by surprise: 010, 0x10, 1:30 and
dates are text, and so are yes and no. The other forms are read as by PyYAML, which writes our configs.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 250_000  # of a file; larger ones take seconds
_MOST_VALUES = 50_000  # of a document, aliases counted in full
_DEEPEST = 50
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class NotYaml(ValueError):
    """Text that is not the YAML of a config; the message, which follows the name of the file, says why."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML copies them when one is added
    yaml_constructors = {
        f"tag:yaml.org,2002:{name}": getattr(yaml.SafeLoader, f"construct_yaml_{name}")
        for name in ("null", "bool", "int", "float", "str", "seq", "map")
    } | {None: yaml.SafeLoader.construct_undefined}


for _name, _form, _first in (
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:(?:(?:0|[1-9][0-9_]*)\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?|\.(?:inf|Inf|INF))"
        r"|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_form})$"), _first)


def parse(text: str, all_texts: bool = False) -> Any:
    """The value of a YAML document; None where it is empty.

    Args:
        text: the document.
        all_texts: plain values are text, numbers too.

    Raises:
        NotYaml: it cannot be read, has a key twice, nests too deep or grows without bound by aliases.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if all_texts:
            _as_texts(node)
        _weigh(node, {}, [])
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise NotYaml(f"is not YAML: {' '.join(str(error).split())[:300]}") from None
    except RecursionError:
        raise NotYaml("it nests too deep") from None
    except NotYaml:
        raise
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        raise NotYaml(f"is not YAML: it holds an invalid value ({str(error)[:100]})") from None
    finally:
        loader.dispose()


def read_text(path: Path) -> str:
    """The text of a YAML file; OSError if it cannot be read, NotYaml if it is not UTF-8 text or too long."""
    with path.open("rb") as file:  # may be a pipe, as of `--config <(...)`
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise NotYaml(f"is longer than {MOST_BYTES:,} bytes, which no config needs")
    if content.startswith(_UTF16):
        raise NotYaml("cannot be read: it is UTF-16 text; save it as UTF-8")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotYaml(f"cannot be read: it is not UTF-8 text (byte {error.start + 1:,})") from None


def _weigh(node: yaml.Node, weights: dict[int, int], above: list[yaml.Node], key: str = "") -> int:
    """How many values a node holds, aliases counted in full.

    Args:
        node: of the document.
        weights: of known nodes, by id: an alias is the node it refers to.
        above: the nodes that this one is in.
        key: the full key of this node.

    Raises:
        NotYaml: it nests too deep or in itself, has a key twice, or holds too many values.
    """
    if node in above:
        raise NotYaml(f"{key[:100]} holds itself, by an alias")
    if len(above) > _DEEPEST:
        raise NotYaml(f"it nests deeper than {_DEEPEST} levels")
    if id(node) not in weights:
        below = [*above, node]
        children = _children(node, key)
        weights[id(node)] = 1 + sum(_weigh(child, weights, below, full) for child, full in children)
    if weights[id(node)] > _MOST_VALUES:
        raise NotYaml(f"it holds more than {_MOST_VALUES:,} values, aliases counted in full")
    return weights[id(node)]


def _children(node: yaml.Node, key: str) -> Iterator[tuple[yaml.Node, str]]:
    if isinstance(node, yaml.SequenceNode):
        yield from ((child, key) for child in node.value)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for name, value in node.value:
            full = f"{key}.{name.value}".removeprefix(".") if isinstance(name, yaml.ScalarNode) else key
            if isinstance(name, yaml.ScalarNode):
                same, line = (name.tag, name.value), name.start_mark.line + 1
                if same in lines:
                    raise NotYaml(
                        f"{full[:100]} is there twice, in lines {lines[same]} and {line}; keep one of them"
                    )
                lines[same] = line
            yield name, full
            yield value, full


def _as_texts(node: yaml.Node) -> None:
    if isinstance(node, yaml.ScalarNode):
        node.tag = "tag:yaml.org,2002:str"
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            if isinstance(child, yaml.ScalarNode):
                child.tag = "tag:yaml.org,2002:str"
