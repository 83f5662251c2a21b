"""Image sets: what they hold, where they come from, how their images are changed for training."""

from dataclasses import replace
from importlib import import_module

from mtl.config import Data, Log
from mtl.data.batch_schedule import BatchScheduleSampler
from mtl.data.catalogue import SOURCES
from mtl.data.image_set import ImageSet, Splits, hold_out, require_episodes, require_group
from mtl.data.index_orders import ImbalancedSampler
from mtl.data.turned_classes import with_turned_classes

__all__ = [
    "BatchScheduleSampler",
    "ImageSet",
    "ImbalancedSampler",
    "Splits",
    "hold_out",
    "load_splits",
    "require_episodes",
    "require_group",
]


def load_splits(config: Data, seed: int, log: Log | None = None) -> Splits:
    """The image set that a config names; `log` says how progress is shown.

    Raises:
        UserError: it is not available, or part of it cannot be read.
    """
    splits: Splits = import_module(f"mtl.data.sources.{SOURCES[config.name].module}").load(config, seed, log)
    if config.rotations and config.name not in {"omniglot", "several"}:  # which have turned their own
        splits = replace(splits, train=with_turned_classes(splits.train))
    return splits
