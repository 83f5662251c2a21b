"""Image sets: what they hold, where they come from, how their images are changed for training."""

from importlib import import_module

from mtl.config import Data
from mtl.data.batch_schedule import BatchScheduleSampler
from mtl.data.image_set import ImageSet, Splits, hold_out, require_episodes, require_group
from mtl.data.index_orders import ImbalancedSampler

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

_SOURCES = {
    "glyphs": "glyphs",
    "omniglot": "omniglot",
    "cifar_fs": "cifar",
    "fc100": "cifar",
    "mini_imagenet": "mini_imagenet",
    "tiered_imagenet": "mini_imagenet",
    "image_folder": "image_folder",
    "several": "multi_dataset",
}


def load_splits(config: Data, seed: int) -> Splits:
    """The image set that a config names.

    Raises:
        UserError: it is not available, or part of it cannot be read.
    """
    splits: Splits = import_module(f"mtl.data.sources.{_SOURCES[config.name]}").load(config, seed)
    return splits
