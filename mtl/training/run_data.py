"""The image set of a run, ready for the backbone and for episodes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mtl.config import Config
from mtl.data import ImageSet, Splits, load_splits, require_episodes, require_group
from mtl.data.augment import Normalise
from mtl.data.class_imbalance import share_out
from mtl.episodes.categories import CategoriesSampler, grouped_episodes
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape
from mtl.errors import UserError, counted
from mtl.models.backbones import input_format, require_size
from mtl.runtime.devices import Device
from mtl.runtime.seeds import derive_seed
from mtl.runtime.world import ALONE, World
from mtl.training.solve import SplitImages


@dataclass(frozen=True)
class RunData:
    """The three splits, and what is derived from them once."""

    splits: Splits
    normalise: Normalise  # by the images that pretraining sees, or as published weights were trained
    pretrain_images: Tensor  # (P,) indices into the train split: all, or without those held or left out
    episode_images: Tensor  # (E,) indices into the train split that meta-training draws from
    held_out: Tensor  # (H,) indices into the train split that pretraining never sees; may be empty
    mislabelled: Tensor  # (M,) bool, of the train split: labels that `data.label_noise` made wrong

    def split(self, name: str) -> ImageSet:
        return {"train": self.splits.train, "val": self.splits.val, "test": self.splits.test}[name]

    def split_images(self, split: str, device: Device) -> SplitImages:
        images = self.split(split)
        pixels = device.hold(images.images)
        if images.channels < len(self.normalise.mean):  # grey images for weights that take colours
            pixels = pixels.expand(-1, len(self.normalise.mean), -1, -1)
        at_once = device.images_at_once(images.size)
        return SplitImages(pixels, self.normalise, at_once, world=device.world)

    def index(self, split: str) -> ClassIndex:
        """The images of each class that episodes may use."""
        among = self.episode_images if split == "train" else None
        images = self.split(split)
        return ClassIndex.of(images.labels, among, images.group_ids())

    def fixed_episodes(
        self, split: str, shape: EpisodeShape, tasks: int, seed: int, purpose: str, within_group: bool = False
    ) -> EpisodeBatch:
        """The same `tasks` episodes at every call: a pure function of the arguments."""
        stream = derive_seed(seed, purpose, split, shape.way, shape.shot)
        images = self.split(split)
        together = images.groups if within_group else images.domains  # a task is never of several sets
        if together is not None:
            return grouped_episodes(self.index(split), together, shape, tasks, stream)
        return CategoriesSampler.of(self.index(split), shape, stream).draw(tasks)


def load_run_data(config: Config, world: World = ALONE) -> RunData:
    """Loads (or downloads, or renders) the image set of a config.

    Of a machine's processes one does so before the others, which find it in the cache. With
    `backbone.weights` the images get the size and the normalisation of those weights.

    Raises:
        UserError: the set or the network is not available, the network does not take images of this size, or
            a split is too small for the episodes of the config.
    """
    data, wanted = config.data, input_format(config.backbone)
    if wanted is not None and data.image_size is None:
        data = replace(data, image_size=wanted.size)
    if data.image_size is not None:
        require_size(config.backbone, data.image_size)  # before anything is downloaded
    with world.after_first_here():
        splits = load_splits(data, data.split_seed, config.log)
    train = splits.train
    if data.image_size is None:
        require_size(config.backbone, train.size)
    shares = share_out(train, data)
    mean, std = train.mean_std(shares.seen) if wanted is None else (wanted.mean, wanted.std)
    splits = replace(splits, train=replace(train, labels=shares.labels)) if data.label_noise else splits
    episodes = shares.held_out if data.probe_fraction else shares.seen
    if len(episodes) < len(train) and not data.probe_fraction:
        _require_large_enough(config, shares.labels[episodes], train.class_names)
    require_served(config, splits, episodes)
    normalise = Normalise(tuple(mean), tuple(std))
    return RunData(splits, normalise, shares.seen, episodes, shares.held_out, shares.mislabelled)


def _require_large_enough(config: Config, labels: Tensor, class_names: Sequence[str]) -> None:
    """Checks that `data.imbalance` leaves every class enough images for an episode."""
    counts = torch.bincount(labels, minlength=len(class_names))
    wanted = config.meta.shot + config.meta.queries
    if int(counts.min()) < wanted:
        name = class_names[int(counts.argmin())]
        raise UserError(
            f"data.imbalance: leaves {counted(int(counts.min()), 'image')} of class {name}, fewer than "
            f"meta.shot + meta.queries = {wanted}; with data.probe_fraction episodes are drawn from held-out "
            "images, equally many of each class"
        )


def require_served(config: Config, splits: Splits, probe: Tensor | None = None) -> None:
    """Checks that the splits can give the episodes of a config.

    Args:
        config: of a run, or of an arm of a comparison.
        splits: of its image set.
        probe: the images of the train split that episodes may use, where not all.

    Raises:
        UserError: a split is too small, or its classes have no groups.
    """
    meta = config.meta
    require_episodes(splits.train, "train", meta.way, meta.shot, meta.queries, among=probe)
    require_episodes(splits.val, "val", meta.way, meta.shot, meta.queries)
    for images, split in ((splits.train, "train"), (splits.val, "val")):
        require_each_set(images, split, meta.way, "meta.way")
    if meta.validate_within_group:
        require_group(splits.val, "val", meta.way, "meta.validate_within_group")
    if not config.evaluate.sets:  # else those are scored
        require_scored(config, splits)


def require_scored(config: Config, splits: Splits) -> None:
    """The same for the split that `evaluate` scores."""
    cfg = config.evaluate
    scored = splits.test if cfg.split == "test" else splits.val
    for way, shot in cfg.settings:
        require_episodes(scored, cfg.split, way, shot, cfg.queries)
        require_each_set(scored, cfg.split, way, "evaluate.settings", cfg.within_group)
        if cfg.within_group:
            require_group(scored, cfg.split, way, "evaluate.within_group")


def require_each_set(images: ImageSet, split: str, way: int, key: str, within_group: bool = False) -> None:
    """Checks that each of several image sets has N classes, or a group of N; else raises UserError."""
    classes = replace(images, images=images.images[:0], labels=images.labels[:0], files=(), image_groups=())
    for name, part in classes.by_domain().items():
        if part.num_classes < way:
            raise UserError(
                f"{key}: {way} ways, but {name} has {counted(part.num_classes, 'class')} in its {split} "
                "split, and a task is of one image set"
            )
        if within_group:
            require_group(part, f"{name} {split}", way, "evaluate.within_group")
