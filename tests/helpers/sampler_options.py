"""The section `hard_tasks`, and samplers made from it, by plain keys that go where it reads them."""

from pydantic import TypeAdapter

from mtl.config import HardTasks
from mtl.config.hard_tasks import is_read, moved
from mtl.samplers.build import MIXED, POOLED
from mtl.samplers.mixed import Schedule

COMMON = {"objective", "tail", "snapshots", "share", "warm_up", "fade", "every"}


def nested(sampler="boosted_pool", **keys):
    """The section as a mapping; keys that the sampler does not read are left out."""
    assert all(key in COMMON or moved(key) for key in keys)
    section = getattr(HardTasks(), sampler, None)
    options = {key: value for key, value in keys.items() if key not in COMMON and hasattr(section, key)}
    common = {key: value for key, value in keys.items() if key in COMMON and is_read(key, sampler)}
    return {"sampler": sampler, **common, **({sampler: options} if options else {})}


def hard_tasks(sampler="boosted_pool", **keys):
    every = {"every": keys["every"]} if "every" in keys else {}  # which meta.sets may read with any sampler
    return TypeAdapter(HardTasks).validate_python({**nested(sampler, **keys), **every})


def sampler_of(name, index, shape, seed=0, episodes=1000, **keys):
    """A sampler by its name in the config, without its groups."""
    hard = hard_tasks(name, **keys)
    if name in POOLED:
        return POOLED[name](index, hard.options, shape, seed)
    schedule = Schedule(hard.share, hard.warm_up, hard.fade, hard.every, episodes)
    return MIXED[name](index, hard.options, shape, seed, schedule)
