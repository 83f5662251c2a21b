"""Checkpoints: what made them, what they fit, and how they are read."""

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mtl.config import Config, read_config, to_dict
from mtl.errors import UserError
from mtl.runtime import tensor_files
from mtl.runtime.progress import tell

FORMAT = 1
#: Sections and keys of the config that decide what a stage computes: it goes on only with the same values.
DECIDING = {
    "pretrain": ("seed", "data", "backbone", "pretrain"),
    "meta-train": ("seed", "data", "backbone", "pretrain", "meta", "hard_tasks"),
}
#: Keys that say where images are, not what they show: a set may move.
_PLACES = frozenset({"data.root", "data.download", "data.cache"})

write = tensor_files.write


def read(path: Path, hint: str = "") -> dict[str, Any]:
    """A checkpoint; `hint` says what makes it. UserError if it is missing, damaged or of another format."""
    try:
        payload: dict[str, Any] = tensor_files.read(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such checkpoint{'; ' + hint if hint else ''}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except tensor_files.Damaged as error:
        raise UserError(
            f"{path}: is damaged or no checkpoint of this program ({error}); put a good copy in its "
            "place, or remove it, and the command that wrote it writes it anew"
        ) from None
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        found = payload.get("format") if isinstance(payload, dict) else None
        raise UserError(f"{path}: has format {found}, this version reads format {FORMAT}")
    return payload


def header(config: Config, stage: str, classes: tuple[str, ...]) -> dict[str, Any]:
    """What every checkpoint holds: config, classes it was trained on, and versions."""
    return {
        "format": FORMAT,
        "stage": stage,
        "config": to_dict(config),
        "classes": list(classes),
        "made_in": _working_folder(),
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
    }


def _working_folder() -> str:
    """The folder that relative paths of the config start from; "" if it has been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """To be used around loading a state: what a checkpoint lacks, or does not fit, becomes a UserError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else type(error).__name__
        raise UserError(
            f"{path}: is of another version or was changed ({what}); remove it, and the stage begins anew"
        ) from None


def require_fit(path: Path, payload: Mapping[str, Any], config: Config, keys: tuple[str, ...]) -> None:
    """UserError if a checkpoint's config differs in one of these top-level keys; names the first one."""
    for name, old, new in differences(path, payload, config, keys):
        raise UserError(
            f"{path}: was made with {name} = {old}, but the config now says {new}; "
            f"give {name}={old}, or choose another name for the run (run=NAME)"
        )


def differences(
    path: Path, payload: Mapping[str, Any], config: Config, keys: Sequence[str]
) -> list[tuple[str, str, str]]:
    """The keys below `keys` in which a checkpoint's config and another differ, each with both values."""
    # Read like any config, so that keys which came later have their defaults.
    before, now = to_dict(read_config(payload["config"], f"{path}: its config")), to_dict(config)
    different = [one for key in keys for one in _differences(key, before[key], now[key])]
    return [(name, _as_yaml(was), _as_yaml(given)) for name, was, given in different]


def token(payload: Mapping[str, Any]) -> str:
    """What a checkpoint and the record saved with it share: stage, step, and a digest of the config.

    The digest covers the keys that decide what is computed, so that only equal computations share a token.
    """
    stage, config = payload["stage"], payload["config"]
    tree = {key: config[key] for key in DECIDING[stage]}
    tree["data"] = {k: v for k, v in tree["data"].items() if f"data.{k}" not in _PLACES}
    digest = hashlib.blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{stage} {payload['step']} {digest}"


def tell_other_rounding(payload: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Says so if a stage goes on with another `Device.computed_on` than before."""
    before = payload.get("computed_on", {})
    changed = [f"{k} {now[k]} (before: {v})" for k, v in before.items() if k in now and now[k] != v]
    if changed:
        tell(
            f"{payload['stage']}: goes on with {', '.join(changed)}: its numbers will differ in their last "
            "bits from those of a run that never stopped"
        )


def _as_yaml(value: Any) -> str:
    """A value as it can be given on the command line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _differences(name: str, was: Any, now: Any) -> list[tuple[str, Any, Any]]:
    if name in _PLACES:
        return []
    if isinstance(was, dict) and isinstance(now, dict):
        return [d for key in now for d in _differences(f"{name}.{key}", was.get(key), now[key])]
    return [] if was == now else [(name, was, now)]
