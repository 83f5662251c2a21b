"""What earlier stages left: the pretrained backbone and the meta-trained learner, from their files."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from mtl.config import Config
from mtl.data import ImageSet
from mtl.errors import UserError
from mtl.learners import Committee, MetaTransfer, build_learner
from mtl.learners.learner import Learner
from mtl.models.backbones import build_backbone
from mtl.models.classifiers import build_classifier
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator

Payload = Mapping[str, Any]


def read_pretrained(
    folder: RunFolder, config: Config, keys: tuple[str, ...] = ("data", "backbone")
) -> dict[str, Any]:
    """pretrain.pt of a run.

    Raises:
        UserError: it is missing or damaged, or `config` differs from its config in one of these keys.
    """
    hint = f"pretrain comes first: run_meta.py pretrain, run={config.run}"
    payload = checkpoints.read(folder.pretrain, hint)
    checkpoints.require_fit(folder.pretrain, payload, config, keys)
    return payload


def fresh_backbone(config: Config, train: ImageSet) -> nn.Module:
    """The backbone with random weights, whatever `backbone.weights` names."""
    return build_backbone(config.backbone, train.channels, train.size, generator(config.seed, "backbone"))


def pretrained_backbone(payload: Payload, config: Config, train: ImageSet) -> nn.Module:
    """The backbone of pretrain.pt; UserError where the image set has other classes now."""
    if payload["classes"] != list(train.class_names):
        raise UserError(
            f"the {payload['stage']} checkpoint of run {config.run} was trained on {len(payload['classes'])} "
            f"classes, not the {len(train.class_names)} training classes that {config.data.name} has; "
            "restore those, or pretrain another run with run=NAME"
        )
    backbone = fresh_backbone(config, train)
    backbone.load_state_dict(payload["backbone"])
    return backbone


def pretrained_network(payload: Payload, config: Config, train: ImageSet) -> nn.ModuleDict:
    """Backbone and classifier as pretraining chose them."""
    backbone = pretrained_backbone(payload, config, train)
    features = int(backbone.out_features)  # type: ignore[arg-type]
    networks, classes = config.backbone.networks, train.num_classes
    classifier = build_classifier(config.pretrain, features, classes, generator(0), networks)
    classifier.load_state_dict(payload["classifier"])
    return nn.ModuleDict({"backbone": backbone, "classifier": classifier})


def learner_from_pretrained(payload: Payload, config: Config, train: ImageSet, device: Device) -> Learner:
    """The learner at the start of meta-training."""
    backbone = pretrained_backbone(payload, config, train)
    return build_learner(config, backbone, device, generator(config.seed, "learner"))


def meta_trained_learner(
    payload: Payload, pretrained: Payload, config: Config, train: ImageSet, device: Device
) -> Learner:
    """The best learner of meta-training, or the committee of several, from meta.pt and pretrain.pt."""
    return restored(payload, partial(learner_from_pretrained, pretrained, config, train, device))


def restored(payload: Payload, start: Callable[[], Learner]) -> Learner:
    """What meta.pt holds; `start` makes the learner as it is without meta-training."""
    members = payload.get("members")  # None in files from before there were several learners
    return voting(members, start) if members else loaded(payload, start)


def loaded(saved: Payload, start: Callable[[], Learner]) -> Learner:
    """A learner as it is without meta-training, with saved weights."""
    learner = start()
    learner.load_state_dict(saved["learner"])
    return learner


def voting(saved: Sequence[Payload], start: Callable[[], Learner], by_alpha: bool = True) -> Committee:
    """The committee of saved learners: by α, or each alike; and so where their rounds had none, or all 0."""
    members = [
        learner for learner in (loaded(one, start) for one in saved) if isinstance(learner, MetaTransfer)
    ]
    alphas = [one["alpha"] for one in saved]
    known = by_alpha and None not in alphas and sum(alphas) > 0
    return Committee(members, alphas if known else [1.0] * len(alphas))
