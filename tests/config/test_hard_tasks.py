"""The section `hard_tasks`: options nested by sampler, and none that the sampler does not read."""

from typing import get_args

import pytest
import yaml

from mtl.compare.runs import arm_config
from mtl.config import Config, HardTasks, load_config, read_config, to_dict
from mtl.config.comparison import Arm
from mtl.config.hard_tasks import Boosting, moved
from mtl.errors import UserError

SAMPLERS = get_args(HardTasks.__annotations__["sampler"])
UNIFORM = Arm("uniform", ("hard_tasks.sampler=uniform",))


def _file(tmp_path, **tree):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def _refused(read, *given):
    with pytest.raises(UserError) as caught:
        read(*given)
    (sentence,) = str(caught.value).split("\n  ")[1:]
    return sentence


@pytest.mark.parametrize(
    ("sampler", "override"),
    [
        ("uniform", "share=0.5"),
        ("uniform", "every=5"),
        ("uniform_difficulty", "fade=0.1"),
        ("meta_batch", "warm_up=0.1"),
        ("easy", "every=100"),
        ("neighbours", "boosted_pool.rate=0.5"),
        ("uniform", "neighbours.nearest=3"),
        ("meta_batch", "easy.hard=3"),
        ("boosted", "boosted_pool.cap=3"),
    ],
)
def test_what_the_sampler_does_not_read_is_refused(sampler, override):
    told = _refused(load_config, None, [f"hard_tasks.sampler={sampler}", f"hard_tasks.{override}"])
    key = override.partition("=")[0].partition(".")[0]
    assert told.startswith(f"hard_tasks.{key}: hard_tasks.sampler = {sampler} does not read it")
    assert ("or choose hard_tasks.sampler" in told) == ("." in override.partition("=")[0])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_config_that_the_program_wrote_is_read_whatever_its_sampler(sampler):
    config = load_config(None, [f"hard_tasks.sampler={sampler}"])
    assert read_config(to_dict(config), "here") == config


def test_sets_that_are_boosted_read_how_long_a_round_is():
    keys = ["hard_tasks.sampler=uniform", "hard_tasks.every=5", "meta.sets=boosted"]
    assert load_config(None, keys).hard_tasks.every == 5


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("pool=3", "hard_tasks.boosted_pool.pool"),
        ("rate=1", "hard_tasks.boosted.rate or hard_tasks.boosted_pool.rate or hard_tasks.class_pair.rate"),
        ("boosted.unit=class", "hard_tasks.boosted_pool.unit"),
        ("all_pairs=1", "hard_tasks.boosted.errors"),
        ("hard_batches=5", "hard_tasks.meta_batch.hard_batches or hard_tasks.random_pool.hard_batches"),
        ("neighbours=60", "hard_tasks.neighbours.nearest"),
    ],
)
def test_a_key_that_has_moved_says_where_to(override, place):
    told = _refused(load_config, None, [f"hard_tasks.{override}"])
    assert told.startswith(f"hard_tasks.{override.partition('=')[0]}: ")
    assert place in told


def test_only_what_was_a_key_has_moved():
    assert (moved("poool"), moved("share")) == (None, None)


def test_another_sampler_on_the_command_line_leaves_the_options_of_the_file_behind(tmp_path):
    path = _file(tmp_path, hard_tasks={"sampler": "neighbours", "every": 7, "neighbours": {"nearest": 3}})
    other = load_config(path, ["hard_tasks.sampler=fisher"]).hard_tasks
    assert (other.every, other.neighbours.nearest) == (7, None)
    assert load_config(path, ["hard_tasks.sampler=uniform"]).hard_tasks == HardTasks("uniform")
    told = _refused(load_config, path, ["hard_tasks.sampler=uniform", "hard_tasks.share=0.5"])
    assert told.startswith("hard_tasks.share: hard_tasks.sampler = uniform")
    told = _refused(load_config, path, ["hard_tasks.fisher.look=5"])
    assert told.startswith("hard_tasks.fisher: hard_tasks.sampler = neighbours")


def test_a_comparison_holds_options_for_the_samplers_of_its_arms(tmp_path):
    arms = [{"name": "uniform", "change": list(UNIFORM.change)}, {"name": "n", "change": ["meta.shot=1"]}]
    arms[1]["trials"] = [["hard_tasks.sampler=neighbours"]]
    arms[0]["trials"] = [[]]
    hard = {"share": 0.3, "neighbours": {"nearest": 3}}
    config = load_config(_file(tmp_path, hard_tasks=hard, compare={"arms": arms}))
    assert (
        arm_config(
            config, config.compare.arms[1], 0, ["hard_tasks.sampler=neighbours"]
        ).hard_tasks.options.nearest
        == 3
    )
    assert arm_config(config, UNIFORM, 0).hard_tasks.sampler == "uniform"


@pytest.mark.parametrize("override", ["hard_tasks.share=0.2", "hard_tasks.boosted_pool.rate=2"])
def test_an_arm_is_refused_what_its_own_sampler_does_not_read(override):
    told = _refused(arm_config, Config(), Arm("odd", (*UNIFORM.change, override)), 0)
    assert "hard_tasks.sampler = uniform does not read it" in told


def test_what_boosts_beside_the_sampler_has_its_constants_where_it_boosts():
    own = load_config(None, ["hard_tasks.sampler=boosted_pool", "hard_tasks.boosted_pool.cap=7"]).hard_tasks
    assert own.boosting.cap == 7
    assert HardTasks("class_pair").boosting == Boosting()
