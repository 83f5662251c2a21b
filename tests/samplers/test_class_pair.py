"""Class-pair sampling out of the training's own tasks."""

import pytest
import torch
from sampler_options import sampler_of

from mtl.episodes.episode import EpisodeShape
from mtl.runtime.seeds import generator
from mtl.samplers.class_pair import PairPotentials

ALWAYS = {"share": 1.0, "warm_up": 0.0, "fade": 0.0}


def _sampler(index, **config):
    return sampler_of("class_pair", index, EpisodeShape(4, 1, 3), **ALWAYS, **config)


def _confuse(batch, outcome, pair):
    """Queries of either class of the pair always get for the other."""
    for t, classes in enumerate(batch.classes.tolist()):
        if set(pair) <= set(classes):
            i, j = (classes.index(c) for c in pair)
            outcome.confusion[t, [i, j]] = 0.0
            outcome.confusion[t, [i, j], [j, i]] = 1.0
    return outcome


def test_every_task_of_every_meta_batch_updates_the_potentials(index, random_outcome):
    sampler, alone = _sampler(index, rate=0.7, forget=0.8), PairPotentials(20, 0.7, 0.8)
    for step in range(10):
        batch = sampler.draw(5)
        outcome = random_outcome(batch, step)
        sampler.update(batch, outcome)
        for classes, confusion in zip(batch.classes, outcome.confusion, strict=True):
            alone.update(classes, confusion)
    assert (sampler.potentials.logs == alone.logs).all()
    assert not torch.equal(sampler.class_weights(), torch.full((20,), 1 / 20, dtype=torch.float64))
    for number in range(20):
        chosen = sampler.choose(number, generator(number))
        assert torch.equal(chosen, alone.draw(4, generator(number)))


def test_its_first_episodes_already_go_by_the_potentials(index):
    assert set(_sampler(index).draw(20).origin) == {"hard"}


def test_a_pair_that_is_confused_is_drawn_together(index, solved):
    sampler = _sampler(index, rate=2.0, forget=1.0, every=100)
    for _ in range(100):
        batch = sampler.draw(6)
        ended = sampler.update(batch, _confuse(batch, solved(batch, {}), (3, 7)))
    tasks = [set(task) for task in sampler.draw(200).classes.tolist()]
    assert sum({3, 7} <= task for task in tasks) / 200 > 0.9  # 3 in 95 if drawn uniformly
    assert ended.unit == "class"
    assert ended.weights[[3, 7]].tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def test_without_a_rate_every_pair_is_drawn_alike(index, solved):
    sampler = _sampler(index, rate=0.0)
    batch = sampler.draw(50)
    sampler.update(batch, _confuse(batch, solved(batch, {}), (3, 7)))
    assert sampler.class_weights().tolist() == pytest.approx([1 / 20] * 20)


def test_a_pair_that_is_told_apart_again_loses_its_weight(index, solved):
    sampler = _sampler(index, rate=2.0, forget=0.8)
    seen = []
    for step in range(120):
        batch = sampler.draw(6)
        outcome = solved(batch, {})
        sampler.update(batch, _confuse(batch, outcome, (3, 7)) if step < 40 else outcome)
        seen.append(float(sampler.class_weights()[[3, 7]].sum()))
    assert seen[39] > 0.9
    assert seen[-1] == pytest.approx(0.1, abs=0.01)
