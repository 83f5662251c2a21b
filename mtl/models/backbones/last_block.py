"""The last block of a network as a network of its own: it can be trained while the layers before it rest."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_LEAST = 2  # convolutions and linear layers that make a module a block


class _Call(NamedTuple):
    """What a module was given in a pass, and what it returned."""

    given: Tensor
    returned: Tensor


@torch.no_grad()
def last_block(network: nn.Module, images: Tensor) -> nn.Sequential | None:
    """The layers from the last block of `network` on, which share its weights: maps to features (B, D).

    A block is a module of two convolutions or linear layers that is not just a sequence of others, as those
    of residual networks are. Looks at a pass of `images`, a small batch.

    Returns:
        None where the layers behind the last block are not a plain sequence, as in vision transformers: then
        they do not give what the network does.
    """
    calls: dict[nn.Module, _Call] = {}
    handles = list(_recorded(network, calls))
    try:
        features = network(images)
    finally:
        for handle in handles:
            handle.remove()
    layers = [layer for layer in _flat(network) if layer in calls]
    blocks = [place for place, layer in enumerate(layers) if _weighted(layer) >= _LEAST]
    if not blocks:
        return None
    block = nn.Sequential(*_joined(layers[blocks[-1] :], calls), nn.Flatten())
    try:
        same = torch.equal(block(calls[layers[blocks[-1]]].given), features)
    except RuntimeError:  # shapes that only what happens between the layers makes fit
        return None
    return block if same else None


@torch.no_grad()
def maps_before(network: nn.Module, block: nn.Sequential, images: Tensor) -> Tensor:
    """What `last_block` gets from the layers before it, for images (B, C, H, W)."""
    given: list[Tensor] = []
    handle = block[0].register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        network(images)
    finally:
        handle.remove()
    return given[0]


def _recorded(network: nn.Module, calls: dict[nn.Module, _Call]) -> Iterator[RemovableHandle]:
    """Hooks that note every call of a module with one tensor."""

    def note(module: nn.Module, inputs: tuple[object, ...], returned: object) -> None:
        if len(inputs) == 1 and isinstance(inputs[0], Tensor) and isinstance(returned, Tensor):
            calls[module] = _Call(inputs[0], returned)

    return (module.register_forward_hook(note) for module in network.modules())


def _joined(layers: Sequence[nn.Module], calls: Mapping[nn.Module, _Call]) -> Iterator[nn.Module]:
    """The layers, with what is flattened between two of them."""
    yield layers[0]
    for layer, following in pairwise(layers):
        if calls[following].given.ndim < calls[layer].returned.ndim:
            yield nn.Flatten()
        yield following


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a network, in the order in which it names them; sequences give theirs."""
    for child in module.children():
        if isinstance(child, nn.Sequential):
            yield from _flat(child)
        else:
            yield child


def _weighted(module: nn.Module) -> int:
    return sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in module.modules())
