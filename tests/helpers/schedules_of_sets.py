"""Samplers of several sets, made and read for the tests of batches."""

import math
from itertools import chain

from hypothesis import strategies as st

from mtl.data.batch_schedule import BatchScheduleSampler

P_VALUE = 1e-4  # seeds are fixed: a test that passes once passes always

sizes_of_sets = st.lists(st.integers(1, 40), min_size=1, max_size=4)
batch_sizes = st.integers(1, 9)
seeds = st.integers(0, 2**40)
schedules = st.sampled_from(
    [
        {"schedule": "round_robin"},
        {"schedule": "proportional"},
        {"schedule": "temperature", "temperature": 3.0},
        {"schedule": "temperature", "temperature": math.inf},
        {"schedule": "temperature", "temperature": 0.001},
        {"samples": True},
    ]
)


def scheduled(sizes, batch_size, how, **others):
    """`how` of `schedules`; with samples, set i gives i + 1 of a batch."""
    if "samples" in how:
        samples = [i + 1 for i in range(len(sizes))]
        return BatchScheduleSampler(sizes, sum(samples), samples_per_set=samples, **others)
    return BatchScheduleSampler(sizes, batch_size, **how, **others)


def flattened(lists):
    return list(chain.from_iterable(lists))


def epochs_of_set(sampler, i, epochs):
    """For each epoch what each of its batches has of set i."""
    return [
        [sampler.batch(e, p)[sampler.set_of(e, p) == i].tolist() for p in range(len(sampler))]
        for e in range(epochs)
    ]


def batches_of_sets(sampler, sets, epoch=0):
    """Batches of each set in an epoch of batches of one set."""
    found = [int(sampler.set_of(epoch, place)[0]) for place in range(len(sampler))]
    return [found.count(i) for i in range(sets)]
