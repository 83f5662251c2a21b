"""Backbones: image (B, C, H, W) to feature (B, D); each states D as `out_features`."""

import torch
from torch import nn

from mtl.config import Backbone
from mtl.models.backbones.conv4 import Conv4
from mtl.models.backbones.from_torchvision import FromTorchvision
from mtl.models.backbones.resnet12 import ResNet12

__all__ = ["Conv4", "FromTorchvision", "ResNet12", "build_backbone"]


def build_backbone(
    config: Backbone, in_channels: int, image_size: int, generator: torch.Generator
) -> nn.Module:
    """The network of a config with weights drawn from `generator`; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):  # layers initialise themselves from the global generator
        torch.manual_seed(generator.initial_seed())
        own = {"conv4": (Conv4, "flatten"), "resnet12": (ResNet12, "mean")}
        if config.name not in own:
            return FromTorchvision(config.name, in_channels)
        network, pool = own[config.name]
        widths = {} if config.channels is None else {"channels": config.channels}
        return network(in_channels, image_size=image_size, pool=config.pool or pool, **widths)
