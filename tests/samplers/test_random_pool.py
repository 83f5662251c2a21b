"""The controls of the hard-task meta-batch: pools of random classes, and of easy ones."""

from collections import Counter

import pytest
import torch
from sampler_options import sampler_of
from scipy.stats import chisquare

from mtl.episodes import EpisodeShape
from mtl.episodes.episode import Outcome

WAY, QUERIES = 3, 5


def _sampler(kind, index, seed=0, **config):
    config = {"collect": 2, "hard": 4, **config}
    return sampler_of(kind, index, EpisodeShape(WAY, 1, QUERIES), seed, **config)


def _pools(sampler, outcome_of, rounds):
    """The pool of each round, and the tasks drawn out of it."""
    pools, drawn = [], []
    while len(pools) < rounds:
        batch = sampler.draw(4)
        for task, origin in zip(batch.classes.tolist(), batch.origin, strict=True):
            drawn += [] if origin == "uniform" else [(len(pools), task)]
        if sampler.update(batch, outcome_of(batch, int(batch.index[0]))) is not None:
            pools.append(list(sampler.hard_classes))
    return pools, drawn


def test_pools_of_random_classes_have_the_sizes_and_mentions_of_those_that_failed(index, random_outcome):
    hard, _ = _pools(_sampler("meta_batch", index), random_outcome, 60)
    random, _ = _pools(_sampler("random_pool", index), random_outcome, 60)
    assert len({len(pool) for pool in map(set, hard)}) > 1
    for failed, other in zip(hard, random, strict=True):
        assert len(set(zip(failed, other, strict=True))) == len(set(failed)) == len(set(other))
        assert sorted(Counter(failed).values()) == sorted(Counter(other).values())
    assert sum(set(failed) == set(other) for failed, other in zip(hard, random, strict=True)) < 5


def test_a_class_that_fails_is_in_random_pools_no_more_often_than_others(index, solved):
    def outcome_of(batch, _):
        return solved(batch, {3: 0.0}, otherwise=0.8)

    hard, _ = _pools(_sampler("meta_batch", index), outcome_of, 250)
    random, drawn = _pools(_sampler("random_pool", index), outcome_of, 250)
    failed = Counter(c for pool in hard for c in set(pool))
    others = Counter(c for pool in random for c in set(pool))
    assert failed[3] > 2 * max(failed[c] for c in range(20) if c != 3)
    assert chisquare([others[c] for c in range(20)]).pvalue > 1e-4
    assert chisquare([sum(c in task for _, task in drawn) for c in range(20)]).pvalue > 1e-4


def test_tasks_of_a_random_pool_are_drawn_out_of_it(index, random_outcome):
    pools, drawn = _pools(_sampler("random_pool", index), random_outcome, 40)
    assert len(drawn) > 100
    for number, task in drawn:
        pool = set(pools[number - 1])
        assert set(task) <= pool or pool <= set(task)


def test_pools_of_two_rounds_and_of_two_seeds_hold_other_classes(index):
    sampler, other = (_sampler("random_pool", index, seed) for seed in (0, 1))
    failed = list(range(8))
    first = sampler.pool_of(failed)
    assert first == sampler.pool_of(failed) != other.pool_of(failed)
    sampler.rounds += 1
    assert first != sampler.pool_of(failed)


@pytest.mark.parametrize(("kind", "reason"), [("random_pool", "random"), ("easy", "easy")])
def test_the_ledger_is_told_why_a_task_was_drawn(index, random_outcome, kind, reason):
    sampler, origins = _sampler(kind, index), set()
    for step in range(12):
        batch = sampler.draw(4)
        sampler.update(batch, random_outcome(batch, step))
        origins |= set(batch.origin)
    assert origins == {"uniform", reason}


def test_easy_pools_hold_the_class_of_the_highest_recall_of_every_task(index, random_outcome):
    sampler, expected = _sampler("easy", index, collect=3), []
    for step in range(30):
        batch = sampler.draw(4)
        outcome = random_outcome(batch, step)
        for t, origin in enumerate(batch.origin):
            if origin == "uniform":
                own = outcome.confusion[t].diagonal()
                order = zip(outcome.recall[t].tolist(), own.tolist(), batch.classes[t].tolist(), strict=True)
                expected.append(max(order)[2])
        if sampler.update(batch, outcome) is not None:
            assert sampler.hard_classes == expected
            expected = []
    assert sampler.rounds > 3


def test_ties_of_easy_classes_go_to_the_greatest_probability_of_its_own(index):
    sampler = _sampler("easy", index, collect=1, hard=1)
    batch = sampler.draw(1)
    confusion = torch.tensor([[[0.9, 0.05, 0.05], [0.4, 0.4, 0.2], [0.25, 0.25, 0.5]]])
    recall = torch.tensor([[0.5, 0.75, 0.75]])
    sampler.update(batch, Outcome(torch.ones(1), recall.mean(1), recall, confusion))
    assert sampler.hard_classes == [int(batch.classes[0, 2])]


def test_easy_tasks_hold_classes_that_never_fail_more_often_than_others(index, solved):
    def outcome_of(batch, _):
        return solved(batch, {3: 1.0, 7: 1.0}, otherwise=0.3)

    _, drawn = _pools(_sampler("easy", index), outcome_of, 100)
    often = Counter(c for _, task in drawn for c in task)
    assert min(often[3], often[7]) > 1.5 * max(often[c] for c in range(20) if c not in {3, 7})
