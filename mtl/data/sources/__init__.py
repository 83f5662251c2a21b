"""Where image sets come from: one file each, with `load(config, seed) -> Splits`; and published splits."""

import json
from importlib.resources import files
from typing import Any

import yaml


def class_lists(name: str) -> dict[str, list[str]]:
    """Class names of train, val and test, from `mtl/data/splits/<name>.yaml`."""
    text = files("mtl.data").joinpath("splits", f"{name}.yaml").read_text(encoding="utf-8")
    lists: dict[str, list[str]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return lists


def superclass_of() -> dict[str, str]:
    """Superclass of each of CIFAR-100's classes."""
    text = files("mtl.data").joinpath("splits", "cifar100_superclasses.json").read_text(encoding="utf-8")
    tree: dict[str, Any] = json.loads(text)
    return {fine: coarse for coarse, fines in tree.items() for fine in fines}
