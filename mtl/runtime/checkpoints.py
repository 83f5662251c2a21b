"""Checkpoints: tensors and plain containers, written so that a file that exists always loads."""

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
#: Sections and keys of the config that decide what a stage computes: it goes on only under the same.
DECIDING = {
    "pretrain": ("seed", "data", "backbone", "pretrain"),
    "meta-train": ("seed", "data", "backbone", "pretrain", "meta", "hard_tasks"),
}
#: Keys that say where images lie, not what they are: a set may move.
_ANYWHERE = frozenset({"data.root", "data.download", "data.cache"})


def write(path: Path, payload: Mapping[str, Any]) -> None:
    """Writes a checkpoint: a kill at any moment leaves old or new, whole."""
    tensor_files.write(path, payload)


def read(path: Path, hint: str = "") -> dict[str, Any]:
    """A checkpoint as it was written, to the bit.

    Raises:
        UserError: there is no such file (`hint` says what makes it), it is damaged, or of another format.
    """
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


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Within it, what a checkpoint holds is taken over by what it was saved from.

    Raises:
        UserError: it lacks something, or holds what does not fit.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else type(error).__name__
        raise UserError(
            f"{path}: is of another version or was changed ({what}); remove it, and the stage begins anew"
        ) from None


def require_fit(path: Path, payload: Mapping[str, Any], config: Config, keys: tuple[str, ...]) -> None:
    """Refuses a checkpoint whose config differs in one of these top-level keys.

    Raises:
        UserError: names the first key that differs, with both values.
    """
    for name, old, new in differences(path, payload, config, keys):
        raise UserError(
            f"{path}: was made with {name} = {old}, but the config now says {new}; "
            f"give {name}={old}, or choose another name for the run (run=NAME)"
        )


def differences(
    path: Path, payload: Mapping[str, Any], config: Config, keys: Sequence[str]
) -> list[tuple[str, str, str]]:
    """The keys below `keys` in which a checkpoint's config and another differ, each with both values."""
    # Read like any config, so that keys which came later stand at their defaults.
    before, now = to_dict(read_config(payload["config"], f"{path}: its config")), to_dict(config)
    found = [one for key in keys for one in _differences(key, before[key], now[key])]
    return [(name, _as_yaml(was), _as_yaml(given)) for name, was, given in found]


def token(payload: Mapping[str, Any]) -> str:
    """What a checkpoint and the record saved with it have in common: stage, step, and a digest of the config.

    Of the config those keys count that decide what is computed, so that two runs have the same token only
    where they have computed the same.
    """
    stage, config = payload["stage"], payload["config"]
    tree = {key: config[key] for key in DECIDING[stage]}
    tree["data"] = {k: v for k, v in tree["data"].items() if f"data.{k}" not in _ANYWHERE}
    digest = hashlib.blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=4).hexdigest()
    return f"{stage} {payload['step']} {digest}"


def tell_other_rounding(payload: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Says so where a stage goes on under other circumstances (`Device.computed_on`) than before."""
    before = payload.get("computed_on", {"precision": payload["config"]["runtime"]["precision"]})
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
    if name in _ANYWHERE:
        return []
    if isinstance(was, dict) and isinstance(now, dict):
        return [d for key in now for d in _differences(f"{name}.{key}", was.get(key), now[key])]
    return [] if was == now else [(name, was, now)]
