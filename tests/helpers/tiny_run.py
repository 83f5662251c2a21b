"""The config of a tiny run on the images that tests/conftest.py draws."""

from pathlib import Path

from mtl.config import Config, read_config
from mtl.config.hard_tasks import drop_other_samplers

SIDE = 16


def tiny_config(image_root: Path, below: Path, **sections) -> Config:
    tree = {
        "run": "tiny",
        "checkpoints": str(below / "checkpoints"),
        "data": {
            "name": "image_folder",
            "root": str(image_root),
            "image_size": SIDE,
            "grayscale": True,
            "augment": {"flip": True, "rotate": 5},
        },
        "backbone": {"channels": [4, 4, 8, 8]},
        "pretrain": {"epochs": 2, "batch_size": 32, "validate_tasks": 10},
        "meta": {
            "way": 3,
            "queries": 3,
            "tasks": 2,
            "steps": 8,
            "validate_every": 4,
            "validate_tasks": 10,
            "batch_norm": "update",
            "head": {"inner_steps": 3},
        },
        "hard_tasks": {
            "sampler": "boosted_pool",
            "every": 3,
            "warm_up": 0.0,
            "fade": 0.1,
            "share": 0.8,
        },
        "evaluate": {
            "settings": [[3, 1], [3, 2]],
            "queries": 4,
            "tasks": 30,
            "resample": {"rounds": 3, "tasks": 5},
        },
        "runtime": {"device": "cpu", "threads": 1},
    }
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
    drop_other_samplers(tree, sections.get("hard_tasks", {}))
    if tree["hard_tasks"]["sampler"] == "boosted_pool":
        tree["hard_tasks"]["boosted_pool"] = {"pool": 4, **tree["hard_tasks"].get("boosted_pool", {})}
    return read_config(tree, "test")
