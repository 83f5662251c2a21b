"""From images to embedded features, for any classes: the trained network of a run, with its preparation."""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from mtl.config import Backbone, Config, Head, Runtime
from mtl.data.augment import Normalise
from mtl.data.formats import FULL, top_of
from mtl.data.ink import Ink, from_plain
from mtl.data.variants import PLAIN, Variants, variants_of
from mtl.errors import UserError, one_line
from mtl.learners import MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.models.heads import BaseLearner
from mtl.models.scale_shift import fold_scale_shift
from mtl.runtime import checkpoints
from mtl.runtime.devices import Device, choose_device, recorded_precision, settle_precision
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.runtime.tensor_files import read_json
from mtl.training.restore import restored


@dataclass(frozen=True)
class Preparation:
    """What is done to an image before the backbone.

    Raises:
        ValueError: the parts do not fit each other.
    """

    size: int  # pixels a side, to which the middle square is scaled
    channels: int  # 1: grey, 3: colour
    mean: tuple[float, ...]  # of each channel, pixels in [0, 1]; three of them make a grey image one of three
    std: tuple[float, ...]
    variants: Variants = PLAIN  # of each image; their features are averaged
    ink: Ink | None = None  # of the training images; None where they share none
    levels: int | None = None  # the grey value of more than 8 bits that is white; None: not yet known

    def __post_init__(self) -> None:
        if self.size < 1 or self.channels not in {1, 3}:
            raise ValueError("images have a positive size and 1 or 3 channels")
        if len(self.mean) != len(self.std) or len(self.mean) not in {self.channels, 3}:
            raise ValueError("mean and std have a number for each channel")
        if not all(math.isfinite(x) for x in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise ValueError("mean and std must be finite, and std positive")
        if not 1 <= self.variants.zoom < math.inf:
            raise ValueError("zoom must be 1 or more")
        if self.levels is not None and self.levels < 1:
            raise ValueError("levels must be positive")

    @property
    def top(self) -> int:
        """The grey value that is white."""
        return FULL if self.levels is None else self.levels

    @property
    def grayscale(self) -> bool:
        return self.channels == 1


@dataclass(frozen=True)
class Origin:
    """Which network an embedder is, so that it can be built again."""

    run: str | None  # None: a published network, as it is
    backbone: Backbone
    head: Head
    way: int  # of meta-training: a learned start of the base learner serves exactly this many classes
    learners: int = 1  # that vote
    fine_tuned: bool = False  # to the very support set: it knows those pictures better than new ones

    @property
    def network(self) -> str:
        """What texts call it."""
        tuned = ", fine-tuned" if self.fine_tuned else ""
        return self.run or f"{self.backbone.name}, {self.backbone.weights}{tuned}"


@dataclass(frozen=True, eq=False)
class Embedder:
    """A trained backbone and base learner, and how images are prepared for them.

    Scaling and shifting is folded into the layers, so that nothing of training is left in the network.
    """

    learner: MetaTransfer
    base_learner: BaseLearner  # that of the learner, on the CPU: it adapts there
    preparation: Preparation
    origin: Origin
    device: Device
    temperatures: tuple[tuple[int, float], ...] = ()  # (shot, temperature) as validation tasks have it
    head_settled: bool = True  # False: a support set is to choose it (mtl/own_images/published.py)

    @staticmethod
    def of(
        learner: MetaTransfer,
        preparation: Preparation,
        origin: Origin,
        temperatures: Sequence[tuple[int, float]] = (),
    ) -> "Embedder":
        """Takes over a learner, and folds its scaling and shifting into the layers."""
        fold_scale_shift(learner.backbone)
        learner.requires_grad_(False)
        base_learner = deepcopy(learner.base_learner).cpu()
        return Embedder(learner, base_learner, preparation, origin, learner.device, tuple(temperatures))

    def with_levels(self, top: int | None) -> "Embedder":
        """The same, with another value that is white in pictures of more than 8 bits."""
        return replace(self, preparation=replace(self.preparation, levels=top))

    def require_way(self, way: int) -> None:
        """Checks that the base learner can adapt to a number of classes.

        Raises:
            UserError: it has a learned start, which serves one number of them.
        """
        origin = self.origin
        learned = origin.head.name == "gradient_descent" and origin.head.init == "learned"
        if learned and way != origin.way:
            raise UserError(
                f"run {one_line(origin.network)} has a learned start (meta.head.init = learned), which "
                f"serves exactly {origin.way} classes, and here are {way}; runs with meta.head.init = "
                "prototype or zero serve any number"
            )

    @property
    def images_at_once(self) -> int:
        """How many images are best passed together."""
        return self.device.images_at_once(self.preparation.size)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) uint8 to embedded features (B, D), float32 on the CPU.

        Raises:
            ValueError: the network does not take such images.
        """
        prepared = self.preparation
        shape = (prepared.channels, prepared.size, prepared.size)
        if images.dtype != torch.uint8 or images.shape[1:] != shape:
            raise ValueError(f"images must be uint8 of shape (B, {', '.join(map(str, shape))})")
        self.learner.eval()
        normalise = Normalise(prepared.mean, prepared.std)
        parts = [
            self.learner.features(normalise(part.to(self.device.torch_device)), prepared.variants).cpu()
            for part in torch.split(images, self.images_at_once)
        ]
        return torch.cat(parts)


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
        runtime: where the network runs; None: on the best device there is. The precision is the run's.

    Raises:
        UserError: it is not a run, nothing is pretrained, files of it do not fit each other, or its learner
            answers whole episodes only.
    """
    folder = RunFolder(path)
    config = folder.read_config()
    _require_one_feature_an_image(folder, config)
    pretrained = checkpoints.read(folder.pretrain, f"run_meta.py pretrain makes it, run={config.run}")
    folder.require_recorded(pretrained)
    meta = checkpoints.read(folder.meta) if folder.meta.exists() else None
    if meta is not None:
        folder.require_recorded(meta)
    images = pretrained.get("images", {})
    if not {"size", "channels", "levels", "ink"} <= images.keys():
        raise UserError(
            f"{folder.pretrain}: comes from an earlier version; train the run again with this one"
        )
    size, channels = int(images["size"]), int(images["channels"])
    here = replace(config, runtime=replace(runtime or Runtime(), precision=config.runtime.precision))
    device = choose_device(settle_precision(here, recorded_precision(meta or pretrained)).runtime)

    def start() -> MetaTransfer:
        network = build_backbone(config.backbone, channels, size, generator(config.seed, "backbone"))
        network.load_state_dict(pretrained["backbone"])
        return MetaTransfer(network, config.meta, device)

    learner = start() if meta is None else restored(meta, start)
    assert isinstance(learner, MetaTransfer)
    mean, std = (tuple(pretrained["normalise"][name]) for name in ("mean", "std"))
    levels = images["levels"] or top_of([], config.data.levels)
    preparation = Preparation(
        size,
        channels,
        mean,
        std,
        variants_of(config),
        from_plain(images["ink"]),
        levels,
    )
    learners = 1 if meta is None else config.meta.learners
    origin = Origin(config.run, config.backbone, config.meta.head, config.meta.way, learners)
    temperatures = _temperatures(folder, "pretrained" if meta is None else "meta-trained")
    return Embedder.of(learner, preparation, origin, temperatures)


def _require_one_feature_an_image(folder: RunFolder, config: Config) -> None:
    """Checks that the feature of an image does not depend on the other images of an episode."""
    for key, value, allowed in (
        ("meta.algorithm", config.meta.algorithm, ("mtl",)),
        ("meta.batch_norm", config.meta.batch_norm, ("frozen", "update")),
    ):
        if value not in allowed:
            raise UserError(
                f"{folder.path}: was trained with {key} = {value}, whose answers depend on whole episodes; "
                f"own images need a run with {key} = {' or '.join(allowed)}"
            )


def _temperatures(folder: RunFolder, network: str) -> list[tuple[int, float]]:
    """(shot, temperature) that evaluation measured on validation tasks of this network; none before it."""
    if not folder.calibration.exists():
        return []
    measured = read_json(folder.calibration, _Calibration, "run evaluate again")
    if measured["network"] != network:
        return []
    return [(int(shot), float(t)) for shot, t in measured["temperatures"].items()]
