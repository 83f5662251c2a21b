"""Backbones: image (B, C, H, W) to feature (B, D); each states D as `out_features`."""

from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from mtl.config import Backbone
from mtl.config.values import OWN, is_file
from mtl.errors import UserError
from mtl.models.backbones import from_timm, from_torchvision
from mtl.models.backbones.conv4 import Conv4
from mtl.models.backbones.from_library import FromLibrary, InputFormat
from mtl.models.backbones.resnet12 import ResNet12
from mtl.models.backbones.weights import HEADS, put_weights, read_state_dict
from mtl.runtime.progress import tell

__all__ = [
    "Conv4",
    "FromLibrary",
    "InputFormat",
    "ResNet12",
    "build_backbone",
    "input_format",
    "load_weights",
    "require_size",
]

_LIBRARIES = {"torchvision": from_torchvision, "timm": from_timm}


def _library(config: Backbone) -> tuple[ModuleType, str]:
    """Where the network comes from, and its name there."""
    library, _, name = config.name.partition(".")
    return _LIBRARIES[library], name


def build_backbone(
    config: Backbone, in_channels: int, image_size: int, generator: torch.Generator
) -> nn.Module:
    """The network of a config with weights drawn from `generator`; torch's own generator stays as it was.

    Nothing is read or fetched, whatever `config.weights` says: a checkpoint holds the weights of its network.

    Raises:
        UserError: its library is not installed, or has no such network.
    """
    with torch.random.fork_rng(devices=[]):  # layers initialise themselves from the global generator
        torch.manual_seed(generator.initial_seed())
        if config.name not in OWN:
            library, name = _library(config)
            built: nn.Module = library.build(name, config.weights)
            return built
        network, pool = (Conv4, "flatten") if config.name == "conv4" else (ResNet12, "mean")
        widths = {} if config.channels is None else {"channels": config.channels}
        return network(in_channels, image_size=image_size, pool=config.pool or pool, **widths)


def load_weights(network: nn.Module, config: Backbone) -> None:
    """Gives a network of `build_backbone` the weights that `config.weights` names, if it names any.

    Raises:
        UserError: they cannot be had, or do not fit.
    """
    if config.weights is None:
        return
    origin = config.weights
    if is_file(origin):
        state = read_state_dict(Path(origin))
    else:
        library, name = _library(config)
        with torch.random.fork_rng(devices=[]):  # timm initialises a network before it has its weights
            state = library.published_weights(name, origin)
    if isinstance(network, FromLibrary):
        told = put_weights(network.network, state, config.name, origin, network.removed)
    else:
        told = put_weights(network, state, config.name, origin, HEADS)
    if told:
        tell(told)


def input_format(config: Backbone) -> InputFormat | None:
    """The images that the weights of a config are made for; None where that is not known.

    Raises:
        UserError: the library is not installed, or has no such network or weights.
    """
    if config.name in OWN:
        return None
    library, name = _library(config)
    library.require_known(name)
    found: InputFormat = library.input_format(name, config.weights)
    return None if config.weights is None else found


def require_size(config: Backbone, size: int) -> None:
    """Checks that a library's network makes features of images of `size`×`size` pixels.

    Transformers take one size alone, others need some pixels for all their strides.

    Raises:
        UserError: it does not; says which size it takes.
    """
    if config.name in OWN:
        return
    library, name = _library(config)
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.device("meta"):  # shapes alone: it costs no memory and little time
            network = build_backbone(config, 3, size, generator)
    except NotImplementedError:  # regnets read numbers out of tensors while they are built
        network = build_backbone(config, 3, size, generator).to("meta")
    own = library.input_format(name, config.weights).size
    features = _features(network.eval(), size)
    if features is None and _features(network, own) is not None:
        raise UserError(
            f"data.image_size: images of {size} pixels do not go through {config.name}; those of {own} do "
            f"(data.image_size={own})"
        )
    if features is not None and features != (int(network.out_features),):  # type: ignore[arg-type]
        raise UserError(
            f"backbone.name: {config.name} makes {list(features)} of an image, and not one list of features"
        )


@torch.no_grad()
def _features(network: nn.Module, size: int) -> tuple[int, ...] | None:
    """The shape of what becomes of one image; None where it does not go through."""
    try:
        features: torch.Tensor = network(torch.empty(1, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError, ValueError):  # libraries refuse a size each in its own way
        return None
    return tuple(features.shape[1:])
