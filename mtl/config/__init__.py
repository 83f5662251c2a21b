"""What a run is: frozen dataclasses, read from YAML and `key.sub=value`, checked before anything starts."""

from mtl.config.compare import Compare
from mtl.config.hard_tasks import HardTasks
from mtl.config.loading import load_config, read_config, to_dict, to_yaml, with_overrides
from mtl.config.schema import (
    Augment,
    Backbone,
    Config,
    Data,
    Evaluate,
    Head,
    Meta,
    Pretrain,
    Resample,
    Runtime,
)

__all__ = [
    "Augment",
    "Backbone",
    "Compare",
    "Config",
    "Data",
    "Evaluate",
    "HardTasks",
    "Head",
    "Meta",
    "Pretrain",
    "Resample",
    "Runtime",
    "load_config",
    "read_config",
    "to_dict",
    "to_yaml",
    "with_overrides",
]
