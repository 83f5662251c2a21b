"""The sampler that a config names."""

from mtl.config import Config
from mtl.episodes.boosted import BoostedSampler
from mtl.episodes.categories import UniformSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.meta_batch import MetaBatchSampler
from mtl.episodes.types import TaskSampler
from mtl.runtime.seeds import derive_seed


def meta_steps(config: Config) -> int:
    """Training steps in all: hard meta-batches on top of `meta.steps` are counted in.

    `hard_tasks.budget: extra` adds K' tasks for every `collect` meta-batches, whether or not a pool turns
    out too small; those steps are then uniform.
    """
    hard, meta = config.hard_tasks, config.meta
    if hard.sampler != "meta_batch" or hard.budget == "inside":
        return meta.steps
    return meta.steps + meta.steps // hard.collect * -(-hard.hard // meta.tasks)


def build_sampler(config: Config, index: ClassIndex) -> TaskSampler:
    """The sampler of meta-training; all of them share one stream of uniform episodes."""
    hard, meta = config.hard_tasks, config.meta
    seed = derive_seed(config.seed, "meta-train")
    shape = (meta.way, meta.shot, meta.queries, seed)
    if hard.sampler == "boosted":
        return BoostedSampler(index, hard, *shape, episodes=meta_steps(config) * meta.tasks)
    if hard.sampler == "meta_batch":
        return MetaBatchSampler(index, hard, *shape)
    return UniformSampler(index, *shape)
