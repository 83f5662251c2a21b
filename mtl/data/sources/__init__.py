"""Where image sets come from: one file each, with `load(config, seed) -> Splits`; and published splits."""

import json
from collections.abc import Container, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from mtl.errors import UserError


def class_lists(name: str) -> dict[str, list[str]]:
    """Class names of train, val and test, from `mtl/data/splits/<name>.yaml`."""
    text = files("mtl.data").joinpath("splits", f"{name}.yaml").read_text(encoding="utf-8")
    lists: dict[str, list[str]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return lists


def require_complete(
    folder: Path, lists: Mapping[str, Sequence[str]], known: Container[str], remedy: str
) -> None:
    """UserError if a class of a published split is missing in a folder; `remedy` says what to do."""
    missing = next((name for names in lists.values() for name in names if name not in known), None)
    if missing is not None:
        raise UserError(f"{folder}: class {missing} of the published split is missing; {remedy}")


def superclass_of() -> dict[str, str]:
    """Superclass of each of CIFAR-100's classes."""
    text = files("mtl.data").joinpath("splits", "cifar100_superclasses.json").read_text(encoding="utf-8")
    tree: dict[str, Any] = json.loads(text)
    return {fine: coarse for coarse, fines in tree.items() for fine in fines}
