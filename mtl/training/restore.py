"""What earlier stages left: the pretrained backbone and the meta-trained learner, out of their files."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from mtl.config import Config
from mtl.data import ImageSet
from mtl.errors import UserError
from mtl.learners import build_learner
from mtl.learners.learner import Learner
from mtl.models.backbones import build_backbone
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator


def read_pretrained(
    folder: RunFolder, config: Config, keys: tuple[str, ...] = ("data", "backbone")
) -> dict[str, Any]:
    """pretrain.pt of a run.

    Args:
        folder: of the run.
        config: that goes on with it.
        keys: of the config, which must be as they were in pretraining.

    Raises:
        UserError: it is not there, is damaged, or was made with other values of these keys.
    """
    payload = checkpoints.read(
        folder.pretrain, f"pretrain comes first: run_meta.py pretrain, run={config.run}"
    )
    checkpoints.require_fit(folder.pretrain, payload, config, keys)
    return payload


def fresh_backbone(config: Config, train: ImageSet) -> nn.Module:
    """The backbone of a config with random weights, without those that `backbone.weights` names."""
    return build_backbone(config.backbone, train.channels, train.size, generator(config.seed, "backbone"))


def pretrained_backbone(payload: Mapping[str, Any], config: Config, train: ImageSet) -> nn.Module:
    """The backbone that pretraining chose.

    Raises:
        UserError: it was trained on other classes than the image set now holds.
    """
    if payload["classes"] != list(train.class_names):
        raise UserError(
            f"the {payload['stage']} checkpoint of run {config.run} was trained on {len(payload['classes'])} "
            f"classes, not the {len(train.class_names)} training classes that {config.data.name} has; bring "
            "those back, or pretrain another run with run=NAME"
        )
    backbone = fresh_backbone(config, train)
    backbone.load_state_dict(payload["backbone"])
    return backbone


def learner_from_pretrained(
    payload: Mapping[str, Any], config: Config, train: ImageSet, device: Device
) -> Learner:
    """The learner as meta-training starts with it."""
    backbone = pretrained_backbone(payload, config, train)
    return build_learner(config, backbone, device, generator(config.seed, "learner"))


def meta_trained_learner(
    payload: Mapping[str, Any], pretrained: Mapping[str, Any], config: Config, train: ImageSet, device: Device
) -> Learner:
    """The learner that meta-training chose."""
    learner = learner_from_pretrained(pretrained, config, train, device)
    learner.load_state_dict(payload["learner"])
    return learner
