"""Backbones: image (B, C, H, W) to feature (B, D); each states D as `out_features`."""

from pathlib import Path

import torch
from torch import nn

from mtl.config import Backbone
from mtl.config.values import OWN, is_file
from mtl.errors import UserError
from mtl.models.backbones.convolutional import Conv4, Ensemble, ResNet12
from mtl.models.backbones.last_block import last_block, maps_before
from mtl.models.backbones.libraries import FromLibrary, InputFormat, library_of
from mtl.models.backbones.weights import HEADS, put_weights, read_state_dict
from mtl.runtime.progress import tell

__all__ = [
    "Conv4",
    "Ensemble",
    "FromLibrary",
    "InputFormat",
    "ResNet12",
    "build_backbone",
    "input_format",
    "last_block",
    "load_weights",
    "maps_before",
    "require_size",
]


def build_backbone(
    config: Backbone, in_channels: int, image_size: int, generator: torch.Generator
) -> nn.Module:
    """The network of a config with weights drawn from `generator`; torch's global generator is not touched.

    Nothing is read or downloaded, whatever `config.weights` says: a checkpoint holds its network's weights.

    Raises:
        UserError: its library is not installed, or has no such network.
    """
    with torch.random.fork_rng(devices=[]):  # layers initialise themselves from the global generator
        torch.manual_seed(generator.initial_seed())
        if config.name not in OWN:
            library, name = library_of(config)
            return library.build(name, config.weights)
        network, pool = (Conv4, "flatten") if config.name == "conv4" else (ResNet12, "mean")
        widths = {} if config.channels is None else {"channels": config.channels}
        each = [
            network(in_channels, image_size=image_size, pool=config.pool or pool, **widths)
            for _ in range(config.networks)
        ]
        return each[0] if config.networks == 1 else Ensemble(each)


def load_weights(network: nn.Module, config: Backbone) -> None:
    """Gives a network of `build_backbone` the weights that `config.weights` names, if it names any.

    Raises:
        UserError: they are not available, or do not fit.
    """
    if config.weights is None:
        return
    origin = config.weights
    if is_file(origin):
        state = read_state_dict(Path(origin))
    else:
        library, name = library_of(config)
        with torch.random.fork_rng(devices=[]):  # timm initialises a network before it has its weights
            state = library.published_weights(name, origin)
    if isinstance(network, FromLibrary):
        note = put_weights(network.network, state, config.name, origin, network.removed)
    else:
        note = put_weights(network, state, config.name, origin, HEADS)
    if note:
        tell(note)


def input_format(config: Backbone) -> InputFormat | None:
    """The images that the weights of a config are made for; None if that is not known.

    Raises:
        UserError: the library is not installed, or has no such network or weights.
    """
    if config.name in OWN:
        return None
    library, name = library_of(config)
    library.require_known(name)
    images = library.input_format(name, config.weights)
    return None if config.weights is None else images


def require_size(config: Backbone, size: int, network: nn.Module | None = None) -> None:
    """Checks that a library's network makes features of images of `size`×`size` pixels.

    Transformers take one size only, others need some pixels for all their strides. `network`: if it is built.

    Raises:
        UserError: it does not; says which size it takes.
    """
    if config.name in OWN:
        return
    library, name = library_of(config)
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.device("meta"):  # only shapes: it costs no memory and little time
            network = network or build_backbone(config, 3, size, generator)
    except NotImplementedError:  # regnets read numbers out of tensors while they are built
        network = build_backbone(config, 3, size, generator).to("meta")
    native = library.input_format(name, config.weights).size
    features = _feature_shape(network.eval(), size)
    if features is None and _feature_shape(network, native) is not None:
        raise UserError(
            f"data.image_size: images of {size} pixels do not go through {config.name}; those of {native} do "
            f"(data.image_size={native})"
        )
    if features is not None and features != (int(network.out_features),):  # type: ignore[arg-type]
        raise UserError(
            f"backbone.name: {config.name} makes {list(features)} of an image, and not one list of features"
        )


@torch.no_grad()
def _feature_shape(network: nn.Module, size: int) -> tuple[int, ...] | None:
    """The shape of what becomes of one image; None if it does not go through."""
    try:
        features: torch.Tensor = network(
            torch.zeros(1, 3, size, size, device=next(network.parameters()).device)
        )
    except (RuntimeError, AssertionError, ValueError):  # libraries refuse a size each in its own way
        return None
    return tuple(features.shape[1:])
