"""The classification networks of torchvision, by their names there."""

import difflib
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from mtl.config.values import is_file
from mtl.errors import UserError
from mtl.models.backbones.from_library import FromLibrary, InputFormat
from mtl.models.backbones.weights import read_state_dict

_CLASSES = 1000  # of ImageNet: outputs of the classifiers
_SIDE_CLASSIFIERS = ("aux1", "aux2", "AuxLogits")  # of googlenet and inception_v3


def require_known(name: str) -> None:
    """
    Raises:
        UserError: torchvision has no classification network of this name.
    """
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = [f"torchvision.{n}" for n in difflib.get_close_matches(name, known, 3)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known)}"
        raise UserError(f"backbone.name: torchvision has no classification network {name}; {hint}")


def build(name: str, weights: str | None) -> FromLibrary:
    """The network with random weights, as these published weights need it."""
    from torchvision.models import get_model

    require_known(name)
    options: dict[str, Any] = {}
    if name in {"googlenet", "inception_v3"}:  # their weights are of other images, which they convert to
        options = {"aux_logits": False, "init_weights": True, "transform_input": weights is not None}
    elif name.startswith("vit_") and weights is not None:
        options = {"image_size": input_format(name, weights).size}
    network = get_model(name, weights=None, **options)
    path, inputs = _classifier(network)
    network.set_submodule(path, nn.Identity())
    return FromLibrary(network, inputs, (path, *_SIDE_CLASSIFIERS))


def _classifier(network: nn.Module) -> tuple[str, int]:
    """Where the last layer with an output for each class is, and how many inputs it has."""
    found = []
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Linear) and layer.out_features == _CLASSES:
            found.append((path, layer.in_features))
        elif isinstance(layer, nn.Conv2d) and layer.out_channels == _CLASSES:  # squeezenet averages behind it
            found.append((path, layer.in_channels))
    return found[-1]


def input_format(name: str, weights: str | None) -> InputFormat:
    """The images of published weights; of a file, or of none, those of the network's default weights.

    Raises:
        UserError: the network has no such weights.
    """
    to_images = _published(name, weights).transforms()
    return InputFormat(int(to_images.crop_size[0]), tuple(to_images.mean), tuple(to_images.std))


def _published(name: str, weights: str | None) -> Any:
    """The member of torchvision's enumeration of weights."""
    from torchvision.models import get_model_weights

    known = get_model_weights(name)
    chosen = "DEFAULT" if weights is None or is_file(weights) else weights
    if chosen not in known.__members__:
        raise UserError(
            f"backbone.weights: {weights}, but torchvision.{name} takes {', '.join(known.__members__)} or a "
            "file (.pth, .pt or .safetensors)"
        )
    return known[chosen]


def published_weights(name: str, weights: str) -> dict[str, Tensor]:
    """Published weights out of the cache of torch.hub, fetched first where they are not in it.

    Raises:
        UserError: they cannot be fetched; says where to put the file.
    """
    url = _published(name, weights).url
    path = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)
    if not path.exists():
        digest = re.search(r"-([0-9a-f]+)\.", path.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(
                url, str(path), digest and digest.group(1), progress=sys.stderr.isatty()
            )
        except (OSError, RuntimeError) as error:  # no network; another file than was published
            raise UserError(
                f"backbone.weights: {weights} of torchvision.{name} cannot be fetched ({error}); put "
                f"{path.name} ({url}) into {path.parent}, or give it as backbone.weights=FILE"
            ) from None
    return read_state_dict(path)
