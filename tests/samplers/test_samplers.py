"""The sampler that a config names, and how long a training is."""

import pytest

from mtl.config import Config, HardTasks, Meta, load_config
from mtl.episodes.categories import CategoriesSampler
from mtl.samplers import build_sampler, meta_steps
from mtl.samplers.boosted import BoostedSampler
from mtl.samplers.meta_batch import MetaBatchSampler


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ([], 100),
        (["hard_tasks.sampler=boosted"], 100),
        (["hard_tasks.sampler=meta_batch", "hard_tasks.budget=inside"], 100),
        (["hard_tasks.sampler=uniform"], 100),
        (["hard_tasks.sampler=meta_batch"], 150),  # after each of 10 × 10 meta-batches 10 tasks, 2 a step
        (["hard_tasks.sampler=meta_batch", "hard_tasks.hard=5"], 130),  # 5 tasks need 3 steps of 2
        (["hard_tasks.sampler=meta_batch", "hard_tasks.collect=30"], 115),  # 3 whole times 30
        (["hard_tasks.sampler=meta_batch", "hard_tasks.collect=101"], 100),
    ],
)
def test_steps_in_all(overrides, steps):
    config = load_config(None, ["meta.steps=100", "meta.tasks=2", "hard_tasks.budget=extra", *overrides])
    assert meta_steps(config) == steps


@pytest.mark.parametrize(
    ("name", "kind"),
    [("uniform", CategoriesSampler), ("boosted", BoostedSampler), ("meta_batch", MetaBatchSampler)],
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
        for name in ("uniform", "boosted", "meta_batch")
    )
    assert_same(uniform, boosted)
    assert_same(uniform, meta_batch)


def test_runs_of_other_seeds_draw_other_episodes(index):
    one, other = (build_sampler(Config(seed=s, meta=Meta(queries=5)), index).draw(5) for s in (0, 1))
    assert not (one.image_indices() == other.image_indices()).all(1).any()


def test_the_share_is_measured_on_the_whole_training(index):
    config = load_config(None, ["meta.steps=50", "meta.tasks=4", "hard_tasks.unit=class"])
    assert build_sampler(config, index).episodes == 200
