"""The sampler that a config names, and how long a training is."""

import pytest
from sampler_options import hard_tasks

from mtl.config import Config, HardTasks, Meta, load_config
from mtl.episodes.categories import CategoriesSampler
from mtl.samplers import build_sampler, meta_steps
from mtl.samplers.boosted_pool import BoostedPoolSampler
from mtl.samplers.meta_batch import MetaBatchSampler


@pytest.mark.parametrize(
    ("keys", "steps"),
    [
        ({}, 100),
        ({"sampler": "uniform"}, 100),
        ({"sampler": "meta_batch", "budget": "inside"}, 100),
        ({"sampler": "meta_batch"}, 150),  # after each of 10 × 10 meta-batches 10 tasks, 2 a step
        ({"sampler": "easy"}, 150),
        ({"sampler": "meta_batch", "hard": 5}, 130),  # 5 tasks need 3 steps of 2
        ({"sampler": "meta_batch", "collect": 30}, 115),  # 3 whole times 30
        ({"sampler": "meta_batch", "collect": 101}, 100),
    ],
)
def test_steps_in_all(keys, steps):
    hard = hard_tasks(**{"budget": "extra", **keys})
    assert meta_steps(Config(meta=Meta(steps=100, tasks=2), hard_tasks=hard)) == steps


@pytest.mark.parametrize(
    ("name", "kind"),
    [("uniform", CategoriesSampler), ("boosted_pool", BoostedPoolSampler), ("meta_batch", MetaBatchSampler)],
)
def test_a_config_names_its_sampler(index, name, kind):
    config = Config(meta=Meta(way=3, shot=2, queries=4), hard_tasks=HardTasks(sampler=name))
    sampler = build_sampler(config, index)
    assert type(sampler) is kind
    batch = sampler.draw(2)
    assert (batch.way, batch.shot, batch.queries) == (3, 2, 4)


def test_all_samplers_share_one_stream_of_uniform_episodes(index, assert_same):
    uniform, boosted, meta_batch = (
        build_sampler(Config(meta=Meta(queries=5), hard_tasks=HardTasks(sampler=name)), index).draw(5)
        for name in ("uniform", "boosted_pool", "meta_batch")
    )
    assert_same(uniform, boosted)
    assert_same(uniform, meta_batch)


def test_runs_of_other_seeds_draw_other_episodes(index):
    one, other = (build_sampler(Config(seed=s, meta=Meta(queries=5)), index).draw(5) for s in (0, 1))
    assert not (one.image_indices() == other.image_indices()).all(1).any()


def test_the_share_is_measured_on_the_whole_training(index):
    config = load_config(None, ["meta.steps=50", "meta.tasks=4", "hard_tasks.boosted.look=5"])
    assert build_sampler(config, index).schedule.episodes == 200
