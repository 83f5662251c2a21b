"""Checkpoints: tensors and plain containers, written so that a file that exists always loads."""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mtl.config import Config, read_config, to_dict
from mtl.errors import UserError
from mtl.runtime.outputs import replacing
from mtl.runtime.torch_files import why_unreadable

FORMAT = 1
#: Keys that say where images lie, not what they are: a set may move.
_ANYWHERE = frozenset({"data.root", "data.download", "data.cache"})


def write(path: Path, payload: Mapping[str, Any]) -> None:
    """Writes beside `path`, flushes, then renames: a kill at any moment leaves old or new, whole."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(dict(payload), file)


def read(path: Path, hint: str = "") -> dict[str, Any]:
    """A checkpoint as it was written.

    Raises:
        UserError: there is no such file (`hint` says what makes it), it is damaged, or of another format.
    """
    try:
        payload: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such checkpoint{'; ' + hint if hint else ''}") from None
    except Exception as error:  # torch names no common class for what a damaged file raises
        why = why_unreadable(path, error)
        raise UserError(f"{path}: is damaged or no checkpoint of this program ({why})") from None
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        found = payload.get("format") if isinstance(payload, dict) else None
        raise UserError(f"{path}: has format {found}, this version reads format {FORMAT}")
    return payload


def header(config: Config, stage: str, classes: tuple[str, ...]) -> dict[str, Any]:
    """What every checkpoint says of itself: config, classes it was trained on, and versions."""
    return {
        "format": FORMAT,
        "stage": stage,
        "config": to_dict(config),
        "classes": list(classes),
        "made_in": _working_folder(),
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
    }


def _working_folder() -> str:
    """Where relative paths of the config start; "" in a folder that has been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def require_fit(path: Path, payload: Mapping[str, Any], config: Config, keys: tuple[str, ...]) -> None:
    """Refuses a checkpoint whose config differs in one of these top-level keys.

    Raises:
        UserError: names the first key that differs, with both values.
    """
    # Read like any config, so that keys which came later stand at their defaults.
    before, now = to_dict(read_config(payload["config"], f"{path}: its config")), to_dict(config)
    for key in keys:
        for name, was, given in _differences(key, before[key], now[key]):
            old, new = _as_yaml(was), _as_yaml(given)
            raise UserError(
                f"{path}: was made with {name} = {old}, but the config now says {new}; "
                f"give {name}={old}, or choose another name for the run (run=NAME)"
            )


def _as_yaml(value: Any) -> str:
    """A value as it can be given on the command line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _differences(name: str, was: Any, now: Any) -> list[tuple[str, Any, Any]]:
    if name in _ANYWHERE:
        return []
    if isinstance(was, dict) and isinstance(now, dict):
        return [d for key in now for d in _differences(f"{name}.{key}", was.get(key), now[key])]
    return [] if was == now else [(name, was, now)]
