"""Arms as configs of runs: what they may change, and that their budgets are the same."""

from pathlib import Path
from typing import get_args

import pytest

from mtl.compare.runs import arm_config, episode_images, images_passed, require_same_budget
from mtl.config import Config, HardTasks, load_config, read_config, to_dict
from mtl.config.comparison import ARMS, Arm, slug
from mtl.errors import UserError
from mtl.samplers import meta_steps

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "compare").glob("*.yaml"))
UNIFORM = Arm("uniform", ("hard_tasks.sampler=uniform",))
POOLED = ("hard_tasks.sampler=meta_batch", "hard_tasks.meta_batch.collect=10")


def _config(*arms, **sections):
    return read_config({**sections, "compare": {"arms": [to_dict(arm) for arm in arms]}}, "test")


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_every_default_arm_is_a_config_in_each_of_its_trials(arm):
    config = Config()
    made = [arm_config(config, arm, 3, trial) for trial in ((), *arm.trials)]
    assert len({(one.meta, one.hard_tasks) for one in made[1:]}) == len(arm.trials) == 3
    for one in made:
        assert (one.seed, one.data, one.backbone, one.pretrain) == (
            3, config.data, config.backbone, config.pretrain
        )  # fmt: skip


@pytest.mark.parametrize("key", ["sampler", "objective"])
def test_every_sampler_and_objective_is_among_the_default_arms(key):
    made = {getattr(arm_config(Config(), arm, 0).hard_tasks, key) for arm in ARMS}
    assert made == set(get_args(HardTasks.__annotations__[key]))


def test_every_unit_of_boosting_is_among_the_default_arms_and_no_two_share_a_folder():
    made = [arm_config(Config(), arm, 0).hard_tasks for arm in ARMS]
    assert {h.boosted_pool.unit for h in made if h.sampler == "boosted_pool"} == {"task", "class", "pair"}
    folders = {slug(arm.name) for arm in ARMS}
    assert len(folders) == len(ARMS)
    assert not any(" " in folder for folder in folders)


def test_the_default_arms_have_the_same_budget():
    assert Config().compare.arms == ARMS
    require_same_budget(Config())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_comparison_loads_and_its_arms_have_the_same_budget(path):
    config = load_config(path)
    require_same_budget(config)
    for arm in config.compare.arms:
        for trial in arm.trials:
            assert arm_config(config, arm, 0, trial).hard_tasks.snapshots == config.hard_tasks.snapshots


def test_there_are_shipped_comparisons():
    assert {p.stem for p in SHIPPED} >= {"cifar_fs", "fc100", "glyphs", "omniglot", "omniglot_lake"}


def test_a_trial_overrides_the_arm_and_the_arm_the_config():
    config = _config(
        UNIFORM, meta={"lr": 0.1}, hard_tasks={"share": 0.1, "boosted_pool": {"floor": 0.3, "rate": 0.7}}
    )
    arm = Arm(
        "x",
        (
            "hard_tasks.sampler=boosted_pool",
            "hard_tasks.share=0.2",
            "hard_tasks.boosted_pool.floor=0.4",
            "meta.lr*=3",
        ),
    )
    found = arm_config(config, arm, 5, ("hard_tasks.share=0.9", "meta.lr*=0.5"))
    hard = found.hard_tasks
    assert (found.seed, hard.share, hard.boosted_pool.floor, hard.boosted_pool.rate) == (5, 0.9, 0.4, 0.7)
    assert found.meta.lr == pytest.approx(0.15, rel=1e-12)
    assert config.hard_tasks.share == 0.1


@pytest.mark.parametrize("as_trial", [False, True])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("meta.wya=5", "meta.wya: no such key; did you mean meta.way?"),
        ("hard_tasks.share=2", "hard_tasks.share: 2 is not allowed"),
        ("meta.head*=2", "meta.head*=2: *= multiplies a number"),
        ("pretrain.epochs=3", "pretrain.epochs=3: an arm may change keys of meta and hard_tasks alone"),
        ("data.augment.flip=true", "data.augment.flip=true: an arm may change keys of"),
        ("seed=4", "seed=4: an arm may change keys of"),
        (" pretrain.lr=1", " pretrain.lr=1: an arm may change keys of"),
        ("metta.lr=1", "metta.lr=1: an arm may change keys of"),
    ],
)
def test_a_wrong_change_is_refused_with_the_name_of_the_arm(change, words, as_trial):
    arm = Arm("odd one", () if as_trial else (change,))
    with pytest.raises(UserError) as caught:
        arm_config(_config(UNIFORM), arm, 0, (change,) if as_trial else ())
    assert str(caught.value).startswith("compare.arms: odd one: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "updates", "images"),
    [
        (("meta.steps=101",), 101, 101 * 4 * 5 * 16),
        (("meta.tasks=8",), 100, 100 * 8 * 5 * 16),
        (("meta.steps=50", "meta.tasks=8"), 50, 100 * 4 * 5 * 16),
        (("meta.way=4",), 100, 100 * 4 * 4 * 16),
        (("meta.shot=5",), 100, 100 * 4 * 5 * 20),
        (
            (*POOLED, "hard_tasks.meta_batch.hard=10", "hard_tasks.meta_batch.budget=extra"),
            130,
            130 * 4 * 5 * 16,
        ),
    ],
    ids=lambda x: x[-1] if isinstance(x, tuple) else str(x),
)
@pytest.mark.parametrize("as_trial", [False, True])
def test_an_arm_with_other_updates_or_images_is_refused_by_name(changes, updates, images, as_trial):
    odd = Arm("odd one", trials=(changes,)) if as_trial else Arm("odd one", changes)
    uniform = Arm("uniform", UNIFORM.change, (("meta.lr*=1",),)) if as_trial else UNIFORM
    with pytest.raises(UserError) as caught:
        require_same_budget(_config(uniform, odd, meta={"steps": 100, "tasks": 4}))
    name = f"odd one ({', '.join(changes)})" if as_trial else "odd one"
    expected = f"{name} makes {updates} updates on {images} images, uniform 100 on {100 * 4 * 5 * 16}"
    assert str(caught.value).startswith(f"compare.arms: {expected};")


def test_arms_may_divide_the_images_otherwise():
    """As many images and updates, of fewer ways and more queries."""
    require_same_budget(_config(UNIFORM, Arm("narrow", ("meta.way=4", "meta.queries=19"))))


def test_every_image_of_every_episode_is_counted():
    meta = {"steps": 100, "tasks": 4, "way": 5, "shot": 2, "queries": 3}
    assert episode_images(_config(UNIFORM, meta=meta)) == 100 * 4 * 5 * 5
    extra = {"sampler": "meta_batch", "meta_batch": {"collect": 10, "hard": 10, "budget": "extra"}}
    config = _config(UNIFORM, meta=meta, hard_tasks=extra)
    assert meta_steps(config) == 130
    assert episode_images(config) == 130 * 4 * 5 * 5


@pytest.mark.parametrize(
    ("meta", "flip", "once"),
    [
        ({"train": "head", "augment": False}, True, True),
        ({"train": "head", "augment": True}, True, False),
        ({"train": "head", "augment": True}, False, True),  # `data.augment` has nothing that changes an image
        ({"train": "head", "augment": False, "batch_norm": "update"}, True, False),
        ({"train": "ss", "augment": False}, True, False),
    ],
    ids=str,
)
def test_images_whose_features_are_cached_pass_the_backbone_once(meta, flip, once):
    config = _config(UNIFORM, meta={"steps": 100, **meta}, data={"augment": {"flip": flip}})
    assert images_passed(config, 640) == (640 if once else 100 * 4 * 5 * 16)
