"""Arms as configs of runs: what they may change, and that they are alike in updates and images."""

from pathlib import Path
from typing import get_args

import pytest

from mtl.compare.runs import arm_config, episode_images, images_passed, require_alike
from mtl.config import Compare, Config, HardTasks, load_config, read_config, to_dict
from mtl.config.comparison import ARMS, Arm, slug
from mtl.errors import UserError
from mtl.samplers import meta_steps

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "compare").glob("*.yaml"))
UNIFORM = Arm("uniform", ("hard_tasks.sampler=uniform",))
POOLED = ("hard_tasks.sampler=meta_batch", "hard_tasks.meta_batch.collect=10")


def _config(*arms, **sections):
    return read_config({**sections, "compare": {"arms": [to_dict(arm) for arm in arms]}}, "test")


def _mistake(*changes, trial=(), **sections):
    """What the arm `odd one` is refused with, without the words that name it."""
    with pytest.raises(UserError) as caught:
        arm_config(_config(UNIFORM, **sections), Arm("odd one", changes), 0, trial)
    told = str(caught.value)
    assert told.startswith("compare.arms: odd one: ")
    return told.removeprefix("compare.arms: odd one: ")


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_every_default_arm_is_a_config_in_each_of_its_trials(arm):
    config = Config()
    made = [arm_config(config, arm, 3, trial) for trial in ((), *arm.trials)]
    assert all(one.seed == 3 for one in made)
    assert len({(one.meta, one.hard_tasks) for one in made[1:]}) == len(arm.trials) == 3
    assert all(
        (one.data, one.backbone, one.pretrain) == (config.data, config.backbone, config.pretrain)
        for one in made
    )


@pytest.mark.parametrize("key", ["sampler", "objective"])
def test_every_sampler_and_objective_is_among_the_default_arms(key):
    made = {getattr(arm_config(Config(), arm, 0).hard_tasks, key) for arm in ARMS}
    assert made == set(get_args(HardTasks.__annotations__[key]))


def test_every_unit_of_boosting_is_among_the_default_arms():
    made = [arm_config(Config(), arm, 0).hard_tasks for arm in ARMS]
    assert {h.boosted.unit for h in made if h.sampler == "boosted"} == {"task", "class", "pair"}


def test_the_default_arms_are_alike():
    assert Config().compare.arms == ARMS
    require_alike(Config())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_comparison_loads_and_its_arms_are_alike(path):
    config = load_config(path)
    require_alike(config)
    for arm in config.compare.arms:
        for trial in arm.trials:
            assert arm_config(config, arm, 0, trial).hard_tasks.snapshots == config.hard_tasks.snapshots


def test_there_are_shipped_comparisons():
    assert {p.stem for p in SHIPPED} >= {"cifar_fs", "fc100", "glyphs", "omniglot", "omniglot_lake"}


def test_a_trial_lies_over_the_arm_and_the_arm_over_the_config():
    config = _config(UNIFORM, hard_tasks={"share": 0.1, "boosted": {"floor": 0.3, "rate": 0.7}})
    arm = Arm("x", ("hard_tasks.share=0.2", "hard_tasks.boosted.floor=0.4"), (("hard_tasks.share=0.9",),))
    found = arm_config(config, arm, 5, arm.trials[0])
    assert (
        found.seed,
        found.hard_tasks.share,
        found.hard_tasks.boosted.floor,
        found.hard_tasks.boosted.rate,
    ) == (
        5,
        0.9,
        0.4,
        0.7,
    )
    assert config.hard_tasks.share == 0.1


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        (("meta.lr*=0.5",), 0.02),
        (("meta.lr*=2",), 0.08),
        (("meta.lr *= 0.5",), 0.02),
        (("meta.lr*=0.5", "meta.lr*=0.5"), 0.01),
        (("meta.lr=0.1", "meta.lr*=3"), 0.3),
        (("meta.lr*=3", "meta.lr=0.1"), 0.1),
    ],
    ids=str,
)
def test_a_factor_multiplies_what_the_config_and_earlier_changes_say(changes, rate):
    config = _config(UNIFORM, meta={"lr": 0.04})
    assert arm_config(config, Arm("x", changes), 0).meta.lr == pytest.approx(rate, rel=1e-12)
    assert arm_config(config, Arm("x"), 0, changes).meta.lr == pytest.approx(rate, rel=1e-12)


def test_a_factor_may_give_a_whole_number_or_stand_deeper():
    config = _config(UNIFORM, meta={"tasks": 6, "head": {"scale": 8.0}})
    found = arm_config(config, Arm("x", ("meta.tasks*=0.5", "meta.head.scale*=2")), 0)
    assert (found.meta.tasks, found.meta.head.scale) == (3, 16.0)


@pytest.mark.parametrize("factor", ["5e-1", "1.0e-3", "1e-3"])
def test_a_factor_may_be_written_in_every_way_that_a_value_may(factor):
    found = arm_config(_config(UNIFORM, meta={"lr": 0.1}), Arm("x", (f"meta.lr*={factor}",)), 0)
    assert found.meta.lr == pytest.approx(0.1 * float(factor))


@pytest.mark.parametrize(
    "change",
    [
        "meta.algorithm*=2",
        "meta.augment*=2",
        "meta.head*=2",
        "meta.lrr*=0.5",
        "meta.lr*=fast",
        "meta.lr*=true",
        "meta.lr*=",
    ],
)
def test_a_factor_needs_a_number_on_both_sides(change):
    told = _mistake(change)
    assert told == f"1 mistake(s)\n  {change}: *= multiplies a number of the config by a number"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("meta.tasks*=0.3", "meta.tasks: 1.2 is not allowed; it must be a whole number"),
        ("meta.wya=5", "meta.wya: no such key; did you mean meta.way? (known here:"),
        ("hard_tasks.smapler=uniform", "hard_tasks.smapler: no such key; did you mean hard_tasks.sampler?"),
        ("hard_tasks.sampler=unform", "hard_tasks.sampler: 'unform' is not allowed; allowed are"),
        ("hard_tasks.share=2", "hard_tasks.share: 2 is not allowed; it must be at most 1"),
        ("hard_tasks.warm_up=0.9", "hard_tasks.warm_up and hard_tasks.fade: together they may not exceed 1"),
        ("meta", "'meta': an override is written key.sub=value"),
        ("hard_tasks.share", "'hard_tasks.share': an override is written key.sub=value"),
    ],
)
@pytest.mark.parametrize("as_trial", [False, True])
def test_a_mistake_in_a_change_is_told_with_the_name_of_the_arm(change, sentence, as_trial):
    told = _mistake(trial=(change,)) if as_trial else _mistake(change)
    assert told.startswith(f"1 mistake(s)\n  {sentence}")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        "pretrain.epochs=3",
        "pretrain.lr*=2",
        "data.augment.flip=true",
        "backbone.name=resnet12",
        "evaluate.tasks=9",
        "compare.seeds=1",
        "runtime.threads=1",
        "seed=4",
        "run=x",
        " pretrain.lr=1",
        "metta.lr=1",
    ],
)
@pytest.mark.parametrize("as_trial", [False, True])
def test_what_comes_before_an_arm_is_shared_by_all(change, as_trial):
    told = _mistake(trial=(change,)) if as_trial else _mistake(change)
    assert told.startswith(f"{change}: an arm may change keys of meta and hard_tasks alone")
    assert "\n" not in told


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
def test_an_arm_with_other_updates_or_images_is_refused_by_name(changes, updates, images):
    odd = Arm("odd one", changes)
    config = _config(UNIFORM, odd, meta={"steps": 100, "tasks": 4})
    with pytest.raises(UserError) as caught:
        require_alike(config)
    expected = f"odd one makes {updates} updates on {images} images, uniform 100 on {100 * 4 * 5 * 16}"
    assert str(caught.value) == f"compare.arms: {expected}; a comparison gives all arms the same"


def test_a_trial_with_other_updates_is_refused_with_the_trial():
    one = Arm("uniform", UNIFORM.change, (("meta.lr*=1",),))
    odd = Arm("odd one", UNIFORM.change, (("meta.lr*=2", "meta.steps=7"),))
    with pytest.raises(
        UserError, match=r"compare\.arms: odd one \(meta\.lr\*=2, meta\.steps=7\) makes 7 updates"
    ):
        require_alike(_config(one, odd))


def test_arms_may_share_images_out_otherwise():
    """As many images and updates; ways and queries are an arm's own."""
    require_alike(_config(UNIFORM, Arm("narrow", ("meta.way=4", "meta.queries=19"))))


def test_every_image_of_every_episode_is_counted():
    meta = {"steps": 100, "tasks": 4, "way": 5, "shot": 2, "queries": 3}
    assert episode_images(_config(UNIFORM, meta=meta)) == 100 * 4 * 5 * 5
    extra = {"sampler": "meta_batch", "meta_batch": {"collect": 10, "hard": 10, "budget": "extra"}}
    config = _config(UNIFORM, meta=meta, hard_tasks=extra)
    assert meta_steps(config) == 130
    assert episode_images(config) == 130 * 4 * 5 * 5


@pytest.mark.parametrize(
    ("meta", "once"),
    [
        ({"train": "head", "augment": False}, True),
        ({"train": "head", "augment": True}, False),
        ({"train": "head", "augment": False, "batch_norm": "update"}, False),
        ({"train": "ss", "augment": False}, False),
    ],
    ids=str,
)
def test_images_whose_features_are_kept_pass_the_backbone_once(meta, once):
    config = _config(UNIFORM, meta={"steps": 100, **meta}, data={"augment": {"flip": True}})
    assert images_passed(config, 640) == (640 if once else 100 * 4 * 5 * 16)


def test_images_that_nothing_changes_pass_a_fixed_backbone_once():
    """`meta.augment` without a change in `data.augment` changes nothing: features are kept all the same."""
    assert images_passed(_config(UNIFORM, meta={"train": "head", "augment": True}), 640) == 640


def test_a_reference_is_found_by_its_name():
    compared = Compare(arms=(UNIFORM, Arm("other")), reference="other")
    assert compared.arm("other") == Arm("other")


def test_default_arms_have_folders_of_their_own():
    folders = [slug(arm.name) for arm in ARMS]
    assert len(set(folders)) == len(folders)
    assert all(" " not in folder for folder in folders)
