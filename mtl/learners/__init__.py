"""Learners: what solves a meta-batch of episodes. `mtl` is this project's; the others are learn2learn's."""

import torch
from torch import nn

from mtl.config import Config
from mtl.learners.learner import Learner
from mtl.learners.meta_transfer import MetaTransfer
from mtl.runtime.devices import Device

__all__ = ["Learner", "MetaTransfer", "build_learner"]


def build_learner(config: Config, backbone: nn.Module, device: Device, generator: torch.Generator) -> Learner:
    """The learner of `meta.algorithm` around a pretrained backbone, which becomes part of it.

    `generator` initialises what is not pretrained.

    Raises:
        UserError: the algorithm is learn2learn's, which is not installed.
    """
    if config.meta.algorithm == "mtl":
        return MetaTransfer(backbone, config.meta, device)
    from mtl.learners.gradient_methods import GradientMethod

    return GradientMethod(backbone, config.meta, device, generator)
