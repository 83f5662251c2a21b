"""What holds for every sampler that a config can name: its episodes, rounds and state."""

from typing import get_args

import pytest
import torch
from driven import STEPS, TASKS, assert_states_stand_still, plain, stored, told, train
from sampler_options import hard_tasks
from scipy.stats import binomtest

from mtl.config import Config, HardTasks, Meta
from mtl.episodes.episode import EpisodeBatch
from mtl.samplers import build_sampler
from mtl.samplers.build import MIXED

SAMPLERS = get_args(HardTasks.__annotations__["sampler"])
UNIFORM_ALONE = {"uniform", "uniform_difficulty"}
WITHOUT_ROUNDS_OF_THEIR_OWN = sorted({*MIXED, "within_group"} - {"boosted", "boosted_pool", "neighbours"})
VARIANTS = [
    *((name, {}) for name in SAMPLERS),
    ("boosted_pool", {"unit": "task"}),
    ("boosted_pool", {"unit": "class", "fresh": False}),
    ("posterior", {"draw": "softmax"}),
    ("within_group", {"within": "hard"}),
    ("self_paced", {"pace": "move"}),
    ("random_pool", {"duplicates": "keep"}),
    ("easy", {"few": "skip"}),
]
NAMES = [" ".join([name, *map(str, more.values())]) for name, more in VARIANTS]
WAY, SHOT, QUERIES = 3, 1, 3
GROUPS = ["a"] * 8 + ["b"] * 6 + ["c"] * 4 + ["d"] * 2


def _sampler(index, name, seed=0, **more):
    hard = {"every": 4, "pool": 8, "share": 0.8, "warm_up": 0.1, "fade": 0.1, "collect": 2, "hard": 5} | more
    meta = Meta(way=WAY, shot=SHOT, queries=QUERIES, tasks=TASKS, steps=STEPS)
    return build_sampler(Config(seed=seed, meta=meta, hard_tasks=hard_tasks(name, **hard)), index, GROUPS)


@pytest.mark.parametrize(("name", "more"), VARIANTS, ids=NAMES)
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(index, random_outcome, name, more):
    never_stopped = _sampler(index, name, **more)
    whole = train(never_stopped, random_outcome)
    for stop in (1, 4, 5, 14):
        first = _sampler(index, name, **more)
        train(first, random_outcome, last=stop)
        second = _sampler(index, name, **more)
        second.load_state_dict(stored(first.state_dict()))
        for then, now in zip(whole[stop:], train(second, random_outcome, first=stop), strict=True):
            assert plain(then[:3]) == plain(now[:3])
            assert [told(r) for r in then[3]] == [told(r) for r in now[3]]
        assert plain(second.state_dict()) == plain(never_stopped.state_dict())


@pytest.mark.parametrize(("name", "more"), VARIANTS, ids=NAMES)
def test_a_state_does_not_change_behind_the_back_of_its_checkpoint(index, random_outcome, name, more):
    assert_states_stand_still(lambda: _sampler(index, name, **more), random_outcome)


@pytest.mark.parametrize(("name", "more"), VARIANTS, ids=NAMES)
def test_uniform_episodes_are_those_of_the_uniform_sampler(index, random_outcome, name, more):
    plain = _sampler(index, "uniform").draw(TASKS * STEPS)
    uniform, chosen = 0, 0
    for _, batch, _, _ in train(_sampler(index, name, **more), random_outcome):
        for t, number in enumerate(batch.index):
            same = torch.equal(batch.image_indices()[t], plain.image_indices()[number])
            assert same == (batch.origin[t] == "uniform")
            uniform, chosen = uniform + same, chosen + (not same)
    assert uniform
    assert bool(chosen) == (name not in UNIFORM_ALONE)


@pytest.mark.parametrize(("name", "more"), VARIANTS, ids=NAMES)
def test_classes_are_distinct_and_images_distinct_and_of_their_classes(index, random_outcome, name, more):
    for request, batch, _, _ in train(_sampler(index, name, **more), random_outcome):
        for episodes in (batch, request) if isinstance(request, EpisodeBatch) else (batch,):
            assert (episodes.way, episodes.shot, episodes.queries) == (WAY, SHOT, QUERIES)
            assert (episodes.support % 20 == episodes.classes[..., None]).all()
            assert (episodes.query % 20 == episodes.classes[..., None]).all()
            assert all(len(set(task)) == WAY for task in episodes.classes.tolist())
            images = episodes.image_indices().tolist()
            assert all(len(set(task)) == WAY * (SHOT + QUERIES) for task in images)


@pytest.mark.parametrize(("name", "more"), VARIANTS, ids=NAMES)
def test_other_seeds_draw_other_episodes(index, random_outcome, name, more):
    drawn = [train(_sampler(index, name, seed, **more), random_outcome) for seed in (0, 1)]
    one, other = (torch.cat([batch.image_indices() for _, batch, _, _ in seen]) for seen in drawn)
    assert not (one == other).all(1).any()
    for step, (then, now) in enumerate(zip(*drawn, strict=True)):
        assert (then[0] is None) == (now[0] is None), step
        assert then[0] is None or plain(then[0]) != plain(now[0])


@pytest.mark.parametrize(("name", "more"), VARIANTS, ids=NAMES)
def test_episodes_do_not_depend_on_how_many_are_drawn_at_once(index, random_outcome, assert_same, name, more):
    one, other = _sampler(index, name, **more), _sampler(index, name, **more)
    for sampler in (one, other):
        train(sampler, random_outcome, last=10)
    whole = one.draw(9)
    parts = [other.draw(count) for count in (1, 5, 3)]
    assert_same(whole, type(whole).concatenate(parts))


@pytest.mark.parametrize(("name", "more"), VARIANTS, ids=NAMES)
def test_rounds_are_counted_and_their_weights_are_a_distribution(index, random_outcome, name, more):
    rounds = [r for *_, ended in train(_sampler(index, name, **more), random_outcome) for r in ended]
    assert bool(rounds) == (name not in UNIFORM_ALONE)
    first = 0 if name in {"boosted", "boosted_pool", "neighbours"} else 1
    assert [r.number for r in rounds] == list(range(first, first + len(rounds)))
    for ended in rounds:
        assert 0 <= ended.accuracy <= 1
        assert 0 <= ended.hard_share <= 1
        if ended.weights is not None:
            assert float(ended.weights.sum()) == pytest.approx(1)
            assert float(ended.weights.min()) >= 0
            members = ended.members(torch.arange(len(ended.weights)))
            assert len({frozenset(m) for m in members.tolist()}) == len(ended.weights)


@pytest.mark.parametrize("name", WITHOUT_ROUNDS_OF_THEIR_OWN)
def test_a_round_ends_after_so_many_meta_batches_and_tells_their_mean_accuracy(index, random_outcome, name):
    sampler = _sampler(index, name, every=3)
    batches, accuracies = 0, []
    for step, (_, batch, _, ended) in enumerate(train(sampler, random_outcome)):
        batches += 1
        accuracies += random_outcome(batch, step).accuracy.tolist()
        assert bool(ended) == (batches == 3)
        if ended:
            assert (ended[0].unit, ended[0].pool) == ("class", 3 * TASKS)
            assert ended[0].accuracy == pytest.approx(sum(accuracies) / len(accuracies))
            assert ended[0].hard_share == pytest.approx(sampler.schedule.share_at((step + 1) * TASKS))
            batches, accuracies = 0, []


@pytest.mark.parametrize("name", WITHOUT_ROUNDS_OF_THEIR_OWN)
def test_the_share_asked_for_is_chosen(index, random_outcome, name):
    sampler = _sampler(index, name, share=0.3, warm_up=0.0, fade=0.0)
    train(sampler, random_outcome, last=1)
    origins = sampler.draw(600).origin
    assert set(origins) == {"uniform", sampler.reason}
    assert binomtest(origins.count(sampler.reason), 600, 0.3).pvalue > 1e-4


@pytest.mark.parametrize("name", ["uniform", *WITHOUT_ROUNDS_OF_THEIR_OWN])
def test_all_but_the_weighing_sampler_count_tasks_alike(index, name):
    sampler = _sampler(index, name)
    assert not sampler.has_task_weights
    assert sampler.task_weights(torch.tensor([0.1, 5.0])).tolist() == [1.0, 1.0]
