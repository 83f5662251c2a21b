"""What a run gives to those who classify their own images: its network, without its image set."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from mtl.config import Config, Runtime
from mtl.data import load_splits
from mtl.data.ink import Ink, from_plain, ink_of_set
from mtl.data.known_ink import known_ink
from mtl.data.levels import top_of
from mtl.errors import UserError
from mtl.fewshot.embedder import Embedder, Origin, Preparation
from mtl.learners import MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.json_files import read_json
from mtl.runtime.precision import recorded_precision, settle_precision
from mtl.runtime.progress import tell
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator


class _Calibration(BaseModel):
    """calibration.json; `evaluate` finds temperatures from 0.02 to 55."""

    temperatures: dict[
        Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}$")],  # shots
        Annotated[float, Field(gt=1e-3, lt=1e3)],
    ]
    network: str


def embedder_of_run(path: Path, runtime: Runtime | None = None) -> Embedder:
    """The meta-trained network of a run, or its pretrained one where nothing is meta-trained yet.

    Args:
        path: the folder of the run, wherever it has been moved to.
        runtime: where the network is to run; None: on the best device there is. The precision is the run's.

    Raises:
        UserError: it is no run, nothing is pretrained, files of it do not fit each other, or its learner
            needs to be asked in episodes.
    """
    folder = RunFolder(path)
    config = folder.read_config()
    _require_plain(folder, config)
    pretrained = checkpoints.read(folder.pretrain, f"run_meta.py pretrain makes it, run={config.run}")
    folder.require_recorded(pretrained)
    meta = checkpoints.read(folder.meta) if folder.meta.exists() else None
    if meta is not None:
        folder.require_recorded(meta)
    temperatures = _temperatures(folder, "pretrained" if meta is None else "meta-trained")
    size, channels = _shape(folder, config, pretrained)
    network = build_backbone(config.backbone, channels, size, generator(config.seed, "backbone"))
    network.load_state_dict(pretrained["backbone"])
    here = replace(config, runtime=replace(runtime or Runtime(), precision=config.runtime.precision))
    device = choose_device(settle_precision(here, recorded_precision(meta or pretrained)).runtime)
    learner = MetaTransfer(network, config.meta, device)
    if meta is not None:
        learner.load_state_dict(meta["learner"])
    mean, std = (tuple(pretrained["normalise"][name]) for name in ("mean", "std"))
    images = pretrained.get("images", {})
    ink = from_plain(images["ink"]) if "ink" in images else _ink_of_older(folder, config, size)
    levels = images.get("levels") or top_of([], config.data.levels)
    preparation = Preparation(size, channels, mean, std, config.evaluate.mirror, ink, levels)
    origin = Origin(config.run, config.backbone, config.meta.head, config.meta.way)
    return Embedder.of(learner, preparation, origin, temperatures)


def _require_plain(folder: RunFolder, config: Config) -> None:
    """Checks that an image has one feature, whatever else is asked with it."""
    for key, value, served in (
        ("meta.algorithm", config.meta.algorithm, ("mtl",)),
        ("meta.batch_norm", config.meta.batch_norm, ("frozen", "update")),
    ):
        if value not in served:
            raise UserError(
                f"{folder.path}: was trained with {key} = {value}, whose answers depend on whole episodes; "
                f"own images are answered by runs with {key} = {' or '.join(served)}"
            )


def _shape(folder: RunFolder, config: Config, pretrained: dict[str, Any]) -> tuple[int, int]:
    """Side and channels of the images; older checkpoints leave them to the image set."""
    if "images" in pretrained:
        return int(pretrained["images"]["size"]), int(pretrained["images"]["channels"])
    try:
        train = load_splits(config.data, config.data.split_seed).train
    except UserError as error:
        raise UserError(
            f"{folder.pretrain}: comes from a version that did not note the size of images, so that the set "
            f"itself is needed once more: {error}"
        ) from None
    return train.size, train.channels


def _ink_of_older(folder: RunFolder, config: Config, size: int) -> Ink | None:
    """The ink of the training images, which older checkpoints do not note; known sets have a known one."""
    if (known := known_ink(config.data, size)) is not None or config.data.name not in {
        "image_folder",
        "several",
    }:
        return known
    try:
        train = load_splits(replace(config.data, download=False), config.data.split_seed).train
    except UserError:
        tell(
            f"{folder.pretrain}: comes from a version that did not note whether the training images are ink "
            "on a plain ground, and they are not at data.root; pictures with the opposite ink are not noticed"
        )
        return None
    return ink_of_set(train.images)


def _temperatures(folder: RunFolder, network: str) -> list[tuple[int, float]]:
    """(shot, temperature) that evaluation measured on validation tasks of this network; none before it."""
    if not folder.calibration.exists():
        return []
    found = read_json(folder.calibration, _Calibration, "run evaluate again")
    known = [(int(shot), float(t)) for shot, t in found["temperatures"].items()]
    return known if found["network"] == network else []
