"""A comparison that is small enough to run in tests, and what they read off it."""

import json
from pathlib import Path

import pytest

from mtl.compare import runs as cells
from mtl.compare.study import compare
from mtl.config import Config, read_config
from mtl.errors import UserError
from mtl.evaluation.task_answers import load
from mtl.training import meta_train

STEPS, TASKS, WAY, SHOT, QUERIES, TRAIN_IMAGES = 8, 2, 3, 1, 3, 12 * 12
FIRST, SECOND = 7, 8
TRIAL_SEEDS = (9, 10)  # the first two after those that are compared
SETTINGS = ("3-way 1-shot", "3-way 2-shot")
OHEM = ["hard_tasks.sampler=uniform", "hard_tasks.objective=ohem"]
ARMS = [
    {
        "name": "uniform",
        "change": ["hard_tasks.sampler=uniform"],
        "trials": [["meta.lr*=0.000001"], ["meta.lr*=1"]],
    },
    {
        "name": "boosted pairs",
        "change": ["hard_tasks.sampler=boosted_pool", "hard_tasks.boosted_pool.unit=pair"],
        "trials": [["meta.lr*=1"], ["meta.lr*=0.000001", "hard_tasks.share=1.0"]],
    },
    {"name": "ohem", "change": OHEM, "trials": [["hard_tasks.tail=0.4"], ["meta.lr*=0.000001"]]},
]
UNTRIED = [{"name": "uniform", "change": ["hard_tasks.sampler=uniform"]}, {"name": "ohem", "change": OHEM}]


def small_comparison(image_root: Path, below: Path, **sections) -> Config:
    """Its config; its folder is `<below>/study`. Sections are laid over those that are given here."""
    tree = {
        "run": "study",
        "checkpoints": str(below),
        "seed": FIRST,
        "data": {"name": "image_folder", "root": str(image_root), "image_size": 16, "grayscale": True},
        "backbone": {"channels": [4, 4, 8, 8]},
        "pretrain": {"epochs": 2, "batch_size": 48, "validate_tasks": 10},
        "meta": {
            "way": WAY,
            "shot": SHOT,
            "queries": QUERIES,
            "tasks": TASKS,
            "steps": STEPS,
            "lr": 0.03,
            "train": "all",
            "validate_every": 2,
            "validate_tasks": 40,
            "head": {"name": "prototype"},
        },
        "hard_tasks": {"every": 3, "boosted_pool": {"pool": 4}, "warm_up": 0.0, "fade": 0.0, "snapshots": 2},
        "evaluate": {"settings": [[3, 1], [3, 2]], "queries": 4, "tasks": 40},
        "compare": {"arms": ARMS, "seeds": 2, "judged_tasks": 20, "trial_seeds": 2, "trial_tasks": 40},
        "runtime": {"device": "cpu", "threads": 1},
    }
    for name, section in sections.items():
        tree[name] = {**tree[name], **section} if isinstance(section, dict) else section
    return read_config(tree, "test")


def answered(home):
    """Every cell that is there."""
    return [load(path) for path in sorted(home.glob("**/answers*.pt"))]


def run_of(home, name, seed):
    """The folder of an arm with a seed: of the trial that was chosen."""
    told = json.loads((home / "trials.json").read_text())[name]
    number = told["trials"].index(told["chosen"])
    return home / f"seed-{seed}" / name.replace(" ", "-") / str(number)


def timeless(value):
    """The numbers of a study without how long things took."""
    if isinstance(value, dict):
        return {
            k: timeless(v) for k, v in value.items() if not k.startswith("seconds_per") and k != "seconds"
        }
    return [timeless(v) for v in value] if isinstance(value, list) else value


def trial_runs(home, name):
    """The folders of an arm's trials, those of one trial together."""
    return [
        [home / "trials" / f"seed-{seed}" / name.replace(" ", "-") / str(number) for seed in TRIAL_SEEDS]
        for number in range(2)
    ]


def mistake(*given, **more):
    """What the comparison is refused with."""
    with pytest.raises(UserError) as caught:
        compare(*given, **more)
    return str(caught.value)


def spy_on_updates(patch, seen):
    """Adds to `seen` the run folder of each update of meta-training."""
    current = []
    plain_train, plain_step = cells.meta_train, meta_train.meta_step

    def train(config, **more):
        current[:] = [Path(config.checkpoints) / config.run]
        return plain_train(config, **more)

    def step(*given, **more):
        seen.append(current[0])
        return plain_step(*given, **more)

    patch.setattr(cells, "meta_train", train)
    patch.setattr(meta_train, "meta_step", step)
