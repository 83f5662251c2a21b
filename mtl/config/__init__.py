"""What a run is: frozen dataclasses, read from YAML and `key.sub=value`, checked before anything starts."""

from mtl.config.checks import Config
from mtl.config.comparison import Compare
from mtl.config.hard_tasks import HardTasks
from mtl.config.loading import load_config, read_config, to_dict, to_yaml, with_overrides
from mtl.config.schema import (
    Augment,
    Backbone,
    Balance,
    Data,
    Distillation,
    Evaluate,
    Examples,
    Head,
    Imbalance,
    Log,
    Meta,
    Pretrain,
    Resample,
    Runtime,
    SetName,
    Sets,
)

__all__ = [
    "Augment",
    "Backbone",
    "Balance",
    "Compare",
    "Config",
    "Data",
    "Distillation",
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
