"""What a run gives to those who classify their own images: its network, without its image set."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mtl.config import Config, Runtime
from mtl.data import load_splits
from mtl.errors import UserError
from mtl.fewshot.embedder import Embedder, Origin, Preparation
from mtl.learners import MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator


def embedder_of_run(path: Path, runtime: Runtime | None = None) -> Embedder:
    """The meta-trained network of a run, or its pretrained one where nothing is meta-trained yet.

    Args:
        path: the folder of the run.
        runtime: where it is to run; None: as the run did.

    Raises:
        UserError: it is no run, nothing is pretrained, or its learner needs to be asked in episodes.
    """
    folder = RunFolder(path)
    config = folder.read_config()
    _require_plain(folder, config)
    pretrained = checkpoints.read(folder.pretrain, f"run_meta.py pretrain makes it, run={config.run}")
    meta = checkpoints.read(folder.meta) if folder.meta.exists() else None
    normalise = pretrained["normalise"]
    size, channels = _shape(config, pretrained)
    network = build_backbone(config.backbone, channels, size, generator(config.seed, "backbone"))
    network.load_state_dict(pretrained["backbone"])
    runtime = config.runtime if runtime is None else replace(runtime, precision=config.runtime.precision)
    learner = MetaTransfer(network, config.meta, choose_device(runtime))
    if meta is not None:
        learner.load_state_dict(meta["learner"])
    mean, std = tuple(normalise["mean"]), tuple(normalise["std"])
    preparation = Preparation(size, channels, mean, std, config.evaluate.mirror)
    origin = Origin(config.run, config.backbone, config.meta.head, config.meta.way)
    return Embedder.of(learner, preparation, origin, _temperatures(folder))


def _require_plain(folder: RunFolder, config: Config) -> None:
    """Checks that an image has one feature, whatever else is asked with it."""
    found = {
        "meta.algorithm": (config.meta.algorithm, "mtl"),
        "meta.batch_norm": (config.meta.batch_norm, "frozen or update"),
    }
    if config.meta.algorithm != "mtl":
        key = "meta.algorithm"
    elif config.meta.batch_norm == "episode":
        key = "meta.batch_norm"
    else:
        return
    value, allowed = found[key]
    raise UserError(
        f"{folder.path}: was trained with {key} = {value}, whose answers depend on whole episodes; own images "
        f"are answered by runs with {key} = {allowed}"
    )


def _shape(config: Config, pretrained: dict[str, Any]) -> tuple[int, int]:
    """Side and channels of the images; older checkpoints leave them to the image set."""
    if "images" in pretrained:
        return int(pretrained["images"]["size"]), int(pretrained["images"]["channels"])
    train = load_splits(config.data, config.data.split_seed).train
    return train.size, train.channels


def _temperatures(folder: RunFolder) -> list[tuple[int, float]]:
    """(shot, temperature) that evaluation measured on validation tasks; none before it."""
    if not folder.calibration.exists():
        return []
    try:
        found = json.loads(folder.calibration.read_text(encoding="utf-8"))
        return [(int(shot), float(t)) for shot, t in found["temperatures"].items()]
    except (ValueError, KeyError, AttributeError, OSError) as error:
        raise UserError(f"{folder.calibration}: cannot be read ({error}); run evaluate again") from None
