"""Learners, which solve meta-batches of episodes: meta-transfer learning, and those of learn2learn."""

import torch
from torch import nn

from mtl.config import Config
from mtl.learners.committee import Committee
from mtl.learners.learner import Learner
from mtl.learners.meta_transfer import MetaTransfer
from mtl.runtime.devices import Device

__all__ = ["Committee", "Learner", "MetaTransfer", "build_learner"]


def build_learner(config: Config, backbone: nn.Module, device: Device, generator: torch.Generator) -> Learner:
    """The learner of `meta.algorithm` around a pretrained backbone, which becomes part of it.

    `generator` initialises what is not pretrained. UserError where learn2learn is needed and not installed.
    """
    if config.meta.algorithm == "mtl":
        return MetaTransfer(backbone, config.meta, device)
    from mtl.learners.gradient_methods import GradientMethod  # needs learn2learn

    return GradientMethod(backbone, config.meta, device, generator)
