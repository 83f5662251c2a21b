"""What a run is: frozen dataclasses, read from YAML and `key.sub=value`, checked before anything starts."""

from mtl.config.comparison import Compare
from mtl.config.hard_tasks import HardTasks
from mtl.config.image_losses import Balance, Examples, Sets
from mtl.config.loading import load_config, read_config, to_dict, to_yaml, with_overrides
from mtl.config.run_config import Config
from mtl.config.schema import (
    Augment,
    Backbone,
    Data,
    Evaluate,
    Head,
    Imbalance,
    Log,
    Meta,
    Pretrain,
    Resample,
    Runtime,
    SetName,
)

__all__ = [
    "Augment",
    "Backbone",
    "Balance",
    "Compare",
    "Config",
    "Data",
    "Evaluate",
    "Examples",
    "HardTasks",
    "Head",
    "Imbalance",
    "Log",
    "Meta",
    "Pretrain",
    "Resample",
    "Runtime",
    "SetName",
    "Sets",
    "load_config",
    "read_config",
    "to_dict",
    "to_yaml",
    "with_overrides",
]
