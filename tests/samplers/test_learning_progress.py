"""Classes by how fast their recall changes: what separates it from going by how low it is."""

import pytest
import torch
from sampler_options import sampler_of

from mtl.episodes import EpisodeShape

HOPELESS, RISING, FALLING = 3, 7, 11


def _sampler(index, kind="learning_progress", queries=10, **config):
    return sampler_of(kind, index, EpisodeShape(4, 1, queries), **{"share": 0.0, "floor": 0.1, **config})


def _history(solved, *samplers, steps=200):
    """Uniform meta-batches: three classes as they are called, all others mastered."""
    for step in range(steps):
        ramp = 0.1 + 0.8 * step / steps
        for sampler in samplers:
            batch = sampler.draw(4)
            recall = {HOPELESS: 0.05, RISING: ramp, FALLING: 1 - ramp}
            sampler.update(batch, solved(batch, recall, otherwise=0.95))


def test_a_hopeless_class_loses_to_one_that_rises_and_by_level_it_is_the_other_way_round(index, solved):
    progress, level = _sampler(index), _sampler(index, "posterior")
    _history(solved, progress, level)
    by_progress, by_level = progress.class_weights(), level.class_weights()
    assert by_progress[RISING] > 5 * by_progress[HOPELESS]
    assert by_level[HOPELESS] > 5 * by_level[RISING]
    for sampler, expected in ((progress, {RISING, FALLING}), (level, {HOPELESS, FALLING})):
        assert set(sampler.class_weights().topk(2).indices.tolist()) == expected


def test_what_is_forgotten_is_practised_as_what_is_learned(index, solved):
    sampler = _sampler(index)
    _history(solved, sampler)
    weights = sampler.class_weights()
    mastered = [float(weights[c]) for c in range(20) if c not in {HOPELESS, RISING, FALLING}]
    assert min(weights[RISING], weights[FALLING]) > 5 * max(mastered)


def test_draws_follow_the_weights(index, solved):
    sampler = _sampler(index, share=1.0, warm_up=0.0, fade=0.0)
    other = _sampler(index)
    _history(solved, other)
    state = other.state_dict()
    sampler.load_state_dict(state)
    tasks = [set(task) for task in sampler.draw(300).classes.tolist()]
    often = [sum(c in task for task in tasks) / 300 for c in range(20)]
    assert min(often[RISING], often[FALLING]) > 0.8  # a fifth if drawn uniformly
    assert often[HOPELESS] < 0.4


def test_weights_by_hand(index, solved):
    """One task three times, 3 queries a class: its first class is right, right and wrong, the others half."""
    sampler = _sampler(index, queries=3, forget=0.5, slow=0.9, floor=0.2)
    batch = sampler.draw(1)
    for recall in (1.0, 1.0, 0.0):
        first = {int(c): 0.5 for c in batch.classes[0]} | {int(batch.classes[0, 0]): recall}
        sampler.update(batch, solved(batch, first))
    means = {}
    for keep in (0.5, 0.9):
        right, wrong = (3 * keep + 3) * keep, 3.0
        half = 1.5 + keep * (1.5 + keep * 1.5)
        means[keep] = (right + 1) / (right + wrong + 2), (half + 1) / (2 * half + 2)
    gain = abs(means[0.5][0] - means[0.9][0])
    assert means[0.5][1] == means[0.9][1] == 0.5
    assert gain > 0.1
    weights = sampler.class_weights()
    assert float(weights[batch.classes[0, 0]]) == pytest.approx(0.8 + 0.2 / 20)
    assert float(weights.min()) == pytest.approx(0.2 / 20)
    fast, slow = sampler.fast.mean(), sampler.slow.mean()
    assert abs(fast - slow)[batch.classes[0, 0]] == pytest.approx(gain)


def test_weights_are_shared_out_in_proportion_to_the_change(index, random_outcome):
    sampler = _sampler(index, floor=0.3)
    for step in range(60):
        batch = sampler.draw(4)
        sampler.update(batch, random_outcome(batch, step))
    gain = torch.from_numpy(abs(sampler.fast.share() - sampler.slow.share()))
    torch.testing.assert_close(sampler.class_weights(), 0.7 * gain / gain.sum() + 0.3 / 20)
    assert sampler.fast.keep == 0.9
    assert sampler.slow.keep == 0.98


def test_before_anything_is_known_and_without_a_floor_every_class_is_drawn_alike(index):
    sampler = _sampler(index, floor=0.0, share=1.0, warm_up=0.0, fade=0.0)
    assert sampler.class_weights().tolist() == pytest.approx([1 / 20] * 20)
    assert set(sampler.draw(50).classes.flatten().tolist()) == set(range(20))


def test_where_one_class_alone_has_changed_a_task_is_still_filled_without_a_floor(index, solved):
    sampler = _sampler(index, floor=0.0, share=1.0, warm_up=0.0, fade=0.0)
    batch = sampler.draw(1)
    hard = int(batch.classes[0, 0])
    for recall in (1.0, 0.0):
        outcome = solved(batch, {hard: recall}, otherwise=0.5)
        sampler.update(batch, outcome)
    weights = sampler.class_weights()
    assert float(weights[hard]) > 0.999
    tasks = sampler.draw(30).classes.tolist()
    assert all(hard in task and len(set(task)) == 4 for task in tasks)
