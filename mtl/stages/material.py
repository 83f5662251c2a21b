"""What every stage works on: the image set of a config, ready for the backbone and for episodes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mtl.config import Config
from mtl.data import ImageSet, Splits, hold_out, load_splits, require_episodes, require_group
from mtl.data.augment import Normalise
from mtl.episodes.categories import UniformSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.grouped import grouped_episodes
from mtl.episodes.types import EpisodeBatch
from mtl.runtime.devices import Device
from mtl.runtime.seeds import derive_seed
from mtl.stages.solving import Pictures


@dataclass(frozen=True)
class Material:
    """The three splits with everything that is derived from them once."""

    splits: Splits
    normalise: Normalise
    pretrain_images: Tensor  # (M',) indices into the train split: all, or without the held-out ones
    episode_images: Tensor  # (M'',) indices into the train split that meta-training draws from

    def split(self, name: str) -> ImageSet:
        return {"train": self.splits.train, "val": self.splits.val, "test": self.splits.test}[name]

    def pictures(self, split: str, device: Device) -> Pictures:
        images = self.split(split)
        return Pictures(device.hold(images.images), self.normalise, device.images_at_once(images.size))

    def index(self, split: str) -> ClassIndex:
        """The images of each class that episodes may use."""
        among = self.episode_images if split == "train" else None
        return ClassIndex.of(self.split(split).labels, among)

    def fixed_episodes(
        self,
        split: str,
        way: int,
        shot: int,
        queries: int,
        tasks: int,
        seed: int,
        purpose: str,
        within_group: bool = False,
    ) -> EpisodeBatch:
        """The same `tasks` episodes at every call: a pure function of the arguments."""
        stream = derive_seed(seed, purpose, split, way, shot)
        groups = self.split(split).groups
        if within_group and groups is not None:
            return grouped_episodes(self.index(split), groups, way, shot, queries, tasks, stream)
        return UniformSampler(self.index(split), way, shot, queries, stream).draw(tasks)


def load_material(config: Config) -> Material:
    """Loads (or downloads, or renders) the image set of a config.

    Raises:
        UserError: the set cannot be had, or a split is too small for what the config asks of it; told before
            any training starts.
    """
    splits = load_splits(config.data, config.data.split_seed)
    train = splits.train
    everything = torch.arange(len(train.labels))
    kept, probe = everything, everything
    if config.data.probe_fraction:
        kept, probe = hold_out(train, config.data.probe_fraction, config.data.split_seed)
    require_served(config, splits, probe)
    mean, std = train.mean_std()
    return Material(splits, Normalise(tuple(mean), tuple(std)), kept, probe)


def require_served(config: Config, splits: Splits, probe: Tensor | None = None) -> None:
    """Checks that the splits can give the episodes that a config asks for.

    Args:
        config: of a run, or of an arm of a comparison.
        splits: of its image set.
        probe: the images of the train split that episodes may use, where not all.

    Raises:
        UserError: a split is too small, or its classes are in no groups.
    """
    meta = config.meta
    require_episodes(splits.train, "train", meta.way, meta.shot, meta.queries, among=probe)
    require_episodes(splits.val, "val", meta.way, meta.shot, meta.queries)
    if meta.validate_within_group:
        require_group(splits.val, "val", meta.way, "meta.validate_within_group")
    for way, shot in config.evaluate.settings:
        held = splits.test if config.evaluate.split == "test" else splits.val
        require_episodes(held, config.evaluate.split, way, shot, config.evaluate.queries)
        if config.evaluate.within_group:
            require_group(held, config.evaluate.split, way, "evaluate.within_group")
