"""The networks of timm (PyTorch Image Models), by their names there; the package is an extra."""

import difflib
from importlib import import_module
from typing import Any

from torch import Tensor

from mtl.config.values import is_file
from mtl.errors import UserError
from mtl.models.backbones.from_library import FromLibrary, InputFormat


def _timm(name: str) -> Any:
    try:
        return import_module("timm")
    except ImportError:
        raise UserError(
            f"backbone.name: timm.{name} needs the package timm, which is not installed: pip install timm"
        ) from None


def require_known(name: str) -> None:
    """
    Raises:
        UserError: timm is not installed, or has no network of this name.
    """
    timm = _timm(name)
    architecture, _, tag = name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        near = [f"timm.{n}" for n in difflib.get_close_matches(architecture, known, 3)]
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() has the names"
        raise UserError(f"backbone.name: timm has no network {architecture}; {hint}")
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UserError(
            f"backbone.name: timm has no weights {tag} of {architecture}; it has {', '.join(tags) or 'none'}"
        )


def build(name: str, weights: str | None) -> FromLibrary:
    """The network with random weights; `weights` makes no difference to it."""
    timm = _timm(name)
    require_known(name)
    network = timm.create_model(name, pretrained=False, num_classes=0)
    classifiers = network.pretrained_cfg.get("classifier") or ()
    removed = (classifiers,) if isinstance(classifiers, str) else classifiers
    return FromLibrary(network, int(getattr(network, "head_hidden_size", network.num_features)), removed)


def input_format(name: str, weights: str | None) -> InputFormat:
    """The images of published weights; of a file, or of none, those of the weights that the name stands for.

    Raises:
        UserError: `weights` is neither DEFAULT nor a file, or there are none.
    """
    if weights not in {None, "DEFAULT"} and not is_file(str(weights)):
        raise UserError(
            f"backbone.weights: {weights}, but timm.{name} takes DEFAULT or a file (.pth, .pt or "
            f".safetensors); other published ones go by their tag, as backbone.name=timm.{name}.{weights}"
        )
    timm = _timm(name)
    published = timm.get_pretrained_cfg(name)
    if weights == "DEFAULT" and not published.has_weights:
        raise UserError(f"backbone.weights: DEFAULT, but timm has no published weights of {name}")
    found = timm.data.resolve_data_config({}, pretrained_cfg=published.to_dict())
    return InputFormat(int(found["input_size"][-1]), tuple(found["mean"]), tuple(found["std"]))


def published_weights(name: str, weights: str) -> dict[str, Tensor]:
    """Published weights out of timm's cache, fetched first where they are not in it.

    Raises:
        UserError: they cannot be fetched; says which file to give instead.
    """
    timm = _timm(name)
    try:
        state: dict[str, Tensor] = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:  # of the hub's client, of whatever it uses, or of a damaged file
        published = timm.get_pretrained_cfg(name)
        hub = published.hf_hub_id
        where = f"model.safetensors of {hub} on the Hugging Face hub" if hub else published.url
        cause = str(error).split("\n", maxsplit=1)[0][:200]
        raise UserError(
            f"backbone.weights: {weights} of timm.{name} cannot be had ({cause}); fetch {where} elsewhere "
            "and give it as backbone.weights=FILE"
        ) from None
    return state
