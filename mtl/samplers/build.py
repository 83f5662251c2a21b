"""The sampler that a config names."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from mtl.config import Config
from mtl.config.hard_tasks import MetaBatch
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape, TaskSampler
from mtl.errors import UserError
from mtl.runtime.seeds import derive_seed
from mtl.samplers.boosted import BoostedSampler
from mtl.samplers.boosted_pool import BoostedPoolSampler
from mtl.samplers.class_pair import ClassPairSampler
from mtl.samplers.feature_based import FisherSampler, NeighboursSampler
from mtl.samplers.meta_batch import EasySampler, MetaBatchSampler, RandomPoolSampler
from mtl.samplers.mixed import MixedSampler, Schedule
from mtl.samplers.multi_dataset_sampler import Part, SeveralSetsSampler
from mtl.samplers.objectives import UniformDifficultySampler
from mtl.samplers.recall_based import (
    LearningProgressSampler,
    PosteriorSampler,
    SelfPacedSampler,
    WithinGroupSampler,
)

MIXED: dict[str, type[MixedSampler]] = {
    "boosted": BoostedSampler,
    "boosted_pool": BoostedPoolSampler,
    "class_pair": ClassPairSampler,
    "fisher": FisherSampler,
    "learning_progress": LearningProgressSampler,
    "neighbours": NeighboursSampler,
    "posterior": PosteriorSampler,
    "self_paced": SelfPacedSampler,
}
POOLED: dict[str, type[MetaBatchSampler]] = {
    "meta_batch": MetaBatchSampler,
    "random_pool": RandomPoolSampler,
    "easy": EasySampler,
}


def meta_steps(config: Config) -> int:
    """Training steps in all, of every learner."""
    return config.meta.learners * learner_steps(config)


def learner_steps(config: Config) -> int:
    """Training steps of one learner: hard meta-batches on top of `meta.steps` are counted in.

    `budget: extra` adds K' tasks for every `collect` meta-batches, whether or not a pool turns out too small:
    the rounds then come the sooner, and the training ends after as many updates.
    """
    options, meta = config.hard_tasks.options, config.meta
    if not isinstance(options, MetaBatch) or options.budget == "inside":
        return meta.steps
    return meta.steps + meta.steps // options.collect * -(-_hard_tasks(options, meta.tasks) // meta.tasks)


def _hard_tasks(options: MetaBatch, tasks: int) -> int:
    """K': hard tasks of a round, where meta-batches have `tasks`."""
    return options.hard if options.hard_batches is None else options.hard_batches * tasks


def build_sampler(
    config: Config,
    index: ClassIndex,
    groups: Sequence[str] | None = None,
    domains: Tensor | None = None,
) -> TaskSampler:
    """The sampler of meta-training; all of them share one stream of uniform episodes.

    Args:
        config: of the run.
        index: the base images that episodes may use.
        groups: of the base classes (C,), where the image set has them.
        domains: the image set of each base class (C,) int64, where there are several.

    Raises:
        UserError: the sampler needs groups, and the image set has none.
    """
    meta, seed = config.meta, derive_seed(config.seed, "meta-train")
    if domains is None or int(domains.max()) == 0:
        return _of_one_set(config, index, groups, seed)
    parts = []
    for number in range(int(domains.max()) + 1):
        classes = (domains == number).nonzero().flatten()
        within = index.select(classes)
        named = None if groups is None else [groups[c] for c in classes.tolist()]
        sampler = _of_one_set(config, within, named, derive_seed(seed, "set", number))
        parts.append(Part(sampler, classes, int(within.counts.sum())))
    hard = config.hard_tasks
    every = hard.every if meta.learners == 1 else learner_steps(config)
    return SeveralSetsSampler(parts, meta.sets, hard.boosting, every, seed)


def _of_one_set(config: Config, index: ClassIndex, groups: Sequence[str] | None, seed: int) -> TaskSampler:
    hard, meta, options = config.hard_tasks, config.meta, config.hard_tasks.options
    shape = EpisodeShape(meta.way, meta.shot, meta.queries)
    steps = learner_steps(config)
    every = hard.every if meta.learners == 1 else steps  # a round is what comes between two learners
    schedule = Schedule(hard.share, hard.warm_up, hard.fade, every, steps * meta.tasks, meta.learners)
    if hard.sampler == "within_group":
        if groups is None:
            raise UserError(
                f"hard_tasks.sampler: within_group needs classes that are sorted into groups; the image set "
                f"{config.data.name} has none"
            )
        return WithinGroupSampler(index, options, shape, seed, schedule, groups)
    if hard.sampler in MIXED:
        return MIXED[hard.sampler](index, options, shape, seed, schedule)
    if hard.sampler in POOLED:
        options = replace(options, hard=_hard_tasks(options, meta.tasks))
        return POOLED[hard.sampler](index, options, shape, seed)
    if hard.sampler == "uniform_difficulty":
        return UniformDifficultySampler(index, shape, seed)
    return CategoriesSampler.of(index, shape, seed)
