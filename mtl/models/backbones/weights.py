"""Weights from files, into a network."""

import difflib
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mtl.errors import UserError, one_line
from mtl.runtime.tensor_files import why_unreadable

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")  # norm.1 has become norm1
_SHAPES = re.compile(r"size mismatch for (\S+): .*?Size\((\[.*?\])\).*?Size\((\[.*?\])\)")

#: Where training scripts put the weights, the likeliest first; averages of weights only as a last resort.
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "module", "backbone", "encoder"),
    *("weights", "params", "state_dict_ema", "model_ema", "ema", "params_ema"),
)
#: What training scripts call the classifier on a backbone, which stays behind.
HEADS = ("fc", "head", "heads", "classifier", "linear", "logits")
_DEEPEST = 4  # wrappers in wrappers
_OF_TWO = ("encoder_q", "base_encoder", "teacher")  # of two networks in a file, the one to use
_NAMED = 4  # entries or prefixes that a sentence names
#: Of a tensor in its layer, by the end of its name, as several libraries call them.
_ROLES = {
    **{name: name for name in ("weight", "bias", "running_mean", "running_var")},
    **{"gamma": "weight", "scale": "weight", "beta": "bias", "offset": "bias"},
    **{"moving_mean": "running_mean", "moving_var": "running_var", "moving_variance": "running_var"},
}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Weights by name, from a .safetensors file or one of torch.save, wrapped in other mappings or not.

    Raises:
        UserError: there is no such file, it is damaged, or it holds something else.
    """
    shown = f"backbone.weights: {one_line(path)}"
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.*")], 1)
        hint = f"; did you mean {one_line(path.parent / near[0])}?" if near else ""
        raise UserError(f"{shown}: there is no such file{hint}")
    content: Any
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            content = load_file(path)
        except Exception:  # safetensors has no common class for what a damaged file raises
            raise UserError(f"{shown}: is damaged, or not a file of safetensors") from None
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # nor does torch
            raise UserError(f"{shown}: {why_unreadable(path, error)}") from None
    return _opened(content, shown)


def _opened(content: Any, shown: str) -> dict[str, Tensor]:
    """The mapping of tensors in a checkpoint: itself, the only one in it, or the usual one of several.

    Raises:
        UserError: there is none, or it is unclear which of several is meant.
    """
    if _is_state(content):
        state: dict[str, Tensor] = content
        return state
    states = _states(content) if isinstance(content, Mapping) else {}
    usual = [key for key in _WRAPPERS if key in states]
    if len(states) == 1 or usual:
        return states[usual[0] if usual else next(iter(states))]
    if states:
        raise UserError(
            f"{shown}: holds several state_dicts ({_first([*states], _NAMED)}); save only the one you mean"
        )
    entries = content if isinstance(content, Mapping) else {}
    loose = {key: value for key, value in entries.items() if isinstance(value, Tensor)}
    if any(isinstance(key, str) and "." in key for key in loose):  # beside an epoch, say
        return loose
    holds = f" (it holds: {_first([*map(str, entries)], _NAMED)})" if entries else ""
    raise UserError(f"{shown}: holds no state_dict, which has tensors by their names{holds}")


def _states(content: Mapping[Any, Any], depth: int = 0) -> dict[str, dict[str, Tensor]]:
    """The mappings of tensors in a mapping, by the key that leads to each; not those of optimizers."""
    states: dict[str, dict[str, Tensor]] = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Mapping) or "optim" in key.lower():
            continue
        if _is_state(value):
            states[key] = value  # type: ignore[assignment]
        elif depth < _DEEPEST and (inner := _states(value, depth + 1)):
            usual = [name for name in _WRAPPERS if name in inner] or [*inner]
            if len(inner) == 1 or usual[0] in _WRAPPERS:
                states[key] = inner[usual[0]]
            else:
                states |= {f"{key}.{name}": state for name, state in inner.items()}
    return states


def _is_state(content: Any) -> bool:
    """True if it holds tensors by name and nothing else."""
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )


def put_weights(
    network: nn.Module, state: Mapping[str, Tensor], name: str, origin: str, removed: Sequence[str] = ()
) -> str:
    """Loads weights into a network.

    A prefix of the names that the network does not have, such as `module.` of DataParallel, is removed;
    weights of other parts, such as a training wrapper's, are then ignored. A file with other names for the
    same layers is taken by order and shape (`_by_order`).

    Args:
        network: that takes them.
        state: weights by name.
        name: what messages call the network.
        origin: what messages call the weights.
        removed: layers that `state` may have and `network` does not.

    Returns:
        What was removed and ignored, or matched, in a sentence; "" if nothing was.

    Raises:
        UserError: they are of another network, or not all finite; names the first that is wrong.
    """
    wrong = f"backbone.weights: {origin}: does not fit {name}"
    expected, note = network.state_dict(), ""
    if 2 * len(expected.keys() & _inner_names(state)) < len(expected):
        state, note = _by_order(state, expected, wrong)
    prefix = _prefix({_OLD_DENSENET.sub(r"\1\2", key) for key in state}, expected, wrong)
    inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    taken = OrderedDict(
        (_OLD_DENSENET.sub(r"\1\2", key), weight)
        for key, weight in inside.items()
        if not any(key.startswith(f"{layer}.") for layer in removed)
    )
    # A state_dict states the version of its layers; safetensors drop that.
    versions = getattr(state, "_metadata", None)
    if versions is not None:
        of = ((f"{key}.", version) for key, version in versions.items())  # of "module." the network itself
        versions = {key.removeprefix(prefix)[:-1]: v for key, v in of if key.startswith(prefix)}
    taken._metadata = expected._metadata if versions is None else versions  # type: ignore[attr-defined]
    try:
        lacking, unknown = network.load_state_dict(taken, strict=False)
    except RuntimeError as error:
        shapes = _SHAPES.search(str(error))
        why = "{} is {}, and must be {}".format(*shapes.groups()) if shapes else str(error).split("\n")[1]
        raise UserError(f"{wrong}: {why}") from None
    lacking = [key for key in lacking if not key.endswith("num_batches_tracked")]  # which older files lack
    if lacking:
        raise UserError(f"{wrong}: it lacks {_first(lacking)}")
    if unknown:
        raise UserError(f"{wrong}, which has no {_first(unknown)}")
    for key, weight in expected.items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise UserError(f"backbone.weights: {origin}: {key} holds values that are not finite")
    if not prefix:
        return note and f"backbone.weights: {origin}: {note}"
    aside = [key for key in state if not key.startswith(prefix)]
    rest = f", and {_first(aside)} ignored" if aside else ""
    return f"backbone.weights: {origin}: the prefix {one_line(prefix)} was removed from the names{rest}"


def _inner_names(names: Iterable[str]) -> set[str]:
    """Names, and what is left of them after each dot: those that a network may know."""
    parts = [_OLD_DENSENET.sub(r"\1\2", key).split(".") for key in names]
    return {".".join(of[cut:]) for of in parts for cut in range(len(of))}


def _by_order(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], wrong: str
) -> tuple[dict[str, Tensor], str]:
    """Weights under the names of a network that holds the same layers in the same order.

    Each tensor must have the shape of the one in its place. Equal shapes in another order would go unseen, so
    what the end of a name says (`weight`, `running_var`) must agree as well, where both say it, and no
    variance may be negative. Whole numbers, such as `num_batches_tracked`, are left as the network has them.
    After the network's own tensors only a last linear layer may follow, its classifier.

    Returns:
        The weights of the network, and what was matched, in a sentence.

    Raises:
        UserError: they do not match; names the first two that do not.
    """
    found, own = (
        [(key, value) for key, value in of.items() if value.is_floating_point()] for of in (state, expected)
    )
    names = [key for key, _ in found]
    hint = "; its names are sorted, as .safetensors have them, a .pth keeps the order"
    hint = hint if names == sorted(names) else ""
    for place, ((key, value), (name, like)) in enumerate(zip(found, own, strict=False), 1):
        end, needed = key.rpartition(".")[2], name.rpartition(".")[2]
        other = end != needed and end in _ROLES and needed in _ROLES and _ROLES[end] != _ROLES[needed]
        if other or value.shape != like.shape or (needed == "running_var" and bool((value < 0).any())):
            raise UserError(
                f"{wrong}: the names are others, and in order tensor {place} is {one_line(key)} "
                f"{list(value.shape)} in the file but {name} {list(like.shape)} in the network{hint}"
            )
    rest = found[len(own) :]
    if len(found) < len(own) or len(rest) > 2 or len({value.shape[:1] for _, value in rest}) > 1:
        beyond = f"{one_line(rest[0][0])} follows" if rest else f"{own[len(found)][0]} is missing"
        raise UserError(
            f"{wrong}: the names are others, and the file has {len(found)} tensors where the network has "
            f"{len(own)}: {beyond}"
        )
    matched = {name: value for (name, _), (_, value) in zip(own, found, strict=False)}
    # as `load_state_dict` must find all of them
    matched |= {name: value for name, value in expected.items() if not value.is_floating_point()}
    return matched, f"{len(own)} tensors matched by order and shape, e.g. {one_line(names[0])} -> {own[0][0]}"


def _prefix(names: Iterable[str], expected: Mapping[str, Tensor], wrong: str) -> str:
    """The prefix of a network's names, ending in a dot: the one under which most of them are found.

    Raises:
        UserError: the file holds the network twice, under two prefixes.
    """
    counts: dict[str, int] = {"": 0}
    for key in names:
        parts = key.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in expected:
                prefix = "".join(f"{part}." for part in parts[:cut])
                counts[prefix] = counts.get(prefix, 0) + 1
    most = max(counts.values())
    best = [prefix for prefix, count in counts.items() if count == most]
    if "" in best or len(best) == 1:
        return "" if "" in best else best[0]
    usual = [prefix for prefix in best if prefix.split(".")[-2] in _OF_TWO]
    if len(usual) == 1:
        return usual[0]
    raise UserError(
        f"{wrong}: the file holds it several times ({_first(sorted(best), _NAMED)}); save only one of them"
    )


def _first(keys: Sequence[str], most: int = 1) -> str:
    rest = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(map(one_line, keys[:most])) + rest
