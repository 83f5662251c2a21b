"""Weights out of files, into a network."""

import difflib
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mtl.errors import UserError

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")  # norm.1 has become norm1
_SHAPES = re.compile(r"size mismatch for (\S+): .*?Size\((\[.*?\])\).*?Size\((\[.*?\])\)")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Weights by their names, out of a .safetensors file or one of torch.save.

    Raises:
        UserError: there is no such file, it is damaged, or it holds something else.
    """
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.*")], 1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise UserError(f"backbone.weights: {path}: there is no such file{hint}")
    content: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # neither library names a common class for what a damaged file raises
        cause = str(error).split("\n", maxsplit=1)[0][:200]
        raise UserError(
            f"backbone.weights: {path}: is damaged, or holds other things than weights ({cause})"
        ) from None
    for key in ("state_dict", "model"):  # as training scripts have it
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(
            f"backbone.weights: {path}: is no state_dict, which holds tensors by their names and nothing else"
        )
    state: dict[str, Tensor] = content
    return state


def put_weights(
    network: nn.Module, state: Mapping[str, Tensor], name: str, origin: str, removed: Sequence[str] = ()
) -> None:
    """Loads weights into a network.

    Args:
        network: that takes them.
        state: weights by their names.
        name: what messages call the network.
        origin: what messages call the weights.
        removed: layers that `state` may have and `network` has not.

    Raises:
        UserError: they are of another network, or not all of them finite; names the first that is wrong.
    """
    taken = OrderedDict(
        (_OLD_DENSENET.sub(r"\1\2", key), weight)
        for key, weight in state.items()
        if not any(key.startswith(f"{layer}.") for layer in removed)
    )
    own = network.state_dict()
    # Which version of its layers a state_dict is of, it says itself; safetensors drop that.
    taken._metadata = getattr(state, "_metadata", own._metadata)  # type: ignore[attr-defined]
    wrong = f"backbone.weights: {origin}: does not fit {name}"
    try:
        lacking, unknown = network.load_state_dict(taken, strict=False)
    except RuntimeError as error:
        found = _SHAPES.search(str(error))
        told = "{} is {}, and must be {}".format(*found.groups()) if found else str(error).split("\n")[1]
        raise UserError(f"{wrong}: {told}") from None
    lacking = [key for key in lacking if not key.endswith("num_batches_tracked")]  # which older files lack
    if lacking:
        raise UserError(f"{wrong}: it lacks {_first(lacking)}")
    if unknown:
        raise UserError(f"{wrong}, which has no {_first(unknown)}")
    for key, weight in own.items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise UserError(f"backbone.weights: {origin}: {key} holds values that are not finite")


def _first(keys: Sequence[str]) -> str:
    return keys[0] + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
