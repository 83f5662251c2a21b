"""Every sampler among several image sets: whose turn it is, whose episodes, and going on after a stop."""

from dataclasses import replace

import pytest
import torch
from driven import TASKS, assert_states_stand_still, plain, stored, told, train
from sampler_options import hard_tasks
from scipy.stats import chisquare

from mtl.config import Config, Meta
from mtl.config.hard_tasks import Boosting
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeBatch, EpisodeShape
from mtl.runtime.seeds import derive_seed
from mtl.samplers import build_sampler
from mtl.samplers.boosting import boost
from mtl.samplers.build import MIXED, POOLED
from mtl.samplers.multi_dataset_sampler import Part, SeveralSetsSampler

WAY, SHOT, QUERIES, STEPS = 3, 1, 3, 30
DOMAINS = torch.tensor(
    [0, 1, 1, 0, 2] * 4
)  # 20 classes: 8, 8 and 4 of three sets that lie between each other
GROUPS = [f"set {d}, group {i % 2}" for i, d in enumerate(DOMAINS.tolist())]
RULE = Boosting()
VARIANTS = [
    *((name, {}) for name in ("uniform", "uniform_difficulty", "within_group", *MIXED, *POOLED)),
    ("boosted_pool", {"unit": "task"}),
    ("boosted_pool", {"unit": "class", "fresh": False}),
    ("posterior", {"draw": "softmax"}),
    ("posterior", {"every": 1}),
]
NAMES = [" ".join([name, *map(str, more.values())]) for name, more in VARIANTS]
EVERY_SAMPLER = pytest.mark.parametrize(("name", "more"), VARIANTS, ids=NAMES)


def _sampler(index, name="uniform", choice="boosted", seed=0, **more):
    hard = {"every": 4, "pool": 8, "share": 0.8, "warm_up": 0.1, "fade": 0.1, "collect": 2, "hard": 5} | more
    meta = Meta(way=WAY, shot=SHOT, queries=QUERIES, tasks=TASKS, steps=STEPS, sets=choice)
    config = Config(seed=seed, meta=meta, hard_tasks=hard_tasks(name, **hard))
    return build_sampler(config, index, GROUPS, DOMAINS)


def _train(sampler, random_outcome, first=0, last=STEPS):
    """As `train`, a step at a time, with the set whose turn it was."""
    seen = []
    for step in range(first, last):
        turn = sampler.turn
        seen += [(*step_seen, turn) for step_seen in train(sampler, random_outcome, step, step + 1)]
    return seen


@EVERY_SAMPLER
def test_every_episode_is_of_the_one_set_whose_turn_it_is(index, random_outcome, name, more):
    seen = _train(_sampler(index, name, **more), random_outcome)
    assert {turn for *_, turn in seen} == {0, 1, 2}
    for request, batch, _, _, turn in seen:
        for episodes in (batch, request) if isinstance(request, EpisodeBatch) else (batch,):
            assert (DOMAINS[episodes.classes] == turn).all()
            assert (episodes.support % 20 == episodes.classes[..., None]).all()
            assert (episodes.query % 20 == episodes.classes[..., None]).all()
            assert all(len(set(task)) == WAY for task in episodes.classes.tolist())
        if isinstance(request, torch.Tensor):
            assert (DOMAINS[request % 20] == turn).all()


@EVERY_SAMPLER
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(index, random_outcome, name, more):
    never_stopped = _sampler(index, name, **more)
    whole = _train(never_stopped, random_outcome)
    for stop in (1, 6, 13):
        first = _sampler(index, name, **more)
        _train(first, random_outcome, last=stop)
        second = _sampler(index, name, **more)
        second.load_state_dict(stored(first.state_dict()))
        for then, now in zip(whole[stop:], _train(second, random_outcome, first=stop), strict=True):
            assert plain([*then[:3], then[4]]) == plain([*now[:3], now[4]])
            assert [told(r) for r in then[3]] == [told(r) for r in now[3]]
        assert plain(second.state_dict()) == plain(never_stopped.state_dict())


@EVERY_SAMPLER
def test_a_state_does_not_change_behind_the_back_of_its_checkpoint(index, random_outcome, name, more):
    assert_states_stand_still(lambda: _sampler(index, name, **more), random_outcome)


@EVERY_SAMPLER
def test_rounds_are_counted_through_and_speak_of_one_set_in_the_classes_of_all(
    index, random_outcome, name, more
):
    seen = _train(_sampler(index, name, **more), random_outcome)
    rounds = [(r, turn) for *_, ended, turn in seen for r in ended]
    assert [r.number for r, _ in rounds] == list(range(1, len(rounds) + 1))
    assert {r.unit for r, _ in rounds} - {"set"} or name in {"uniform", "uniform_difficulty"}
    for ended, turn in rounds:
        assert 0 <= ended.accuracy <= 1
        if ended.weights is not None:
            members = ended.members(torch.arange(len(ended.weights)))
            assert (DOMAINS[members] == turn).all()
            assert float(ended.weights.sum()) == pytest.approx(1)


@EVERY_SAMPLER
def test_uniform_episodes_are_those_of_the_sets_own_stream_by_their_number_in_the_whole(
    index, random_outcome, name, more
):
    seed = derive_seed(0, "meta-train")
    streams = []
    for number in range(3):
        classes = DOMAINS.eq(number).nonzero().flatten()
        own = ClassIndex(index.members[classes], index.counts[classes])
        streams.append(
            CategoriesSampler.of(
                own, EpisodeShape(WAY, SHOT, QUERIES), derive_seed(seed, "set", number)
            ).draw(STEPS * TASKS)
        )
    for step, (_, batch, *_, turn) in enumerate(_train(_sampler(index, name, **more), random_outcome)):
        assert batch.index == tuple(range(step * TASKS, (step + 1) * TASKS))
        for t, number in enumerate(batch.index):
            same = torch.equal(batch.image_indices()[t], streams[turn].image_indices()[number])
            assert same == (batch.origin[t] == "uniform")


@pytest.mark.parametrize("name", sorted({*MIXED, "within_group"} - {"boosted", "boosted_pool", "neighbours"}))
def test_the_share_of_chosen_episodes_follows_the_whole_training(index, random_outcome, name):
    """Each set has but its part of the episodes: counted by itself it would never come to the fall."""
    climbing = {"share": 1.0, "warm_up": 0.5, "fade": 0.5, "every": 1}
    seen = _train(_sampler(index, name, "uniform", **climbing), random_outcome)
    told = [ended[0].hard_share for *_, ended, _ in seen]
    done = [(step + 1) / STEPS for step in range(STEPS)]
    assert told == pytest.approx([min(2 * d, 2 - 2 * d) for d in done])


def test_what_a_set_has_learned_stays_with_it(index, random_outcome):
    sampler = _sampler(index, "uniform_difficulty", "uniform")
    seen = _train(sampler, random_outcome)
    turns = [turn for *_, turn in seen]
    assert [part.sampler.moments.seen for part in sampler.parts] == [TASKS * turns.count(s) for s in range(3)]
    assert sampler.has_task_weights
    assert not _sampler(index, "posterior").has_task_weights


def test_pools_are_due_by_the_meta_batches_of_the_set(index, random_outcome):
    seen = _train(_sampler(index, "boosted_pool", "uniform", every=3), random_outcome)
    for number in range(3):
        own = [pool for pool, *_, turn in seen if turn == number]
        assert [pool is not None for pool in own] == [i % 3 == 0 for i in range(len(own))]


def _turns(sampler, count=3000):
    """Whose turn each of so many meta-batches is, the weights being as they are."""
    found = []
    for sampler.batches in range(count):
        found.append(sampler.turn)
    return torch.bincount(torch.tensor(found), minlength=len(sampler.parts))


def _uneven():
    """Three sets of 20 classes in all, of 4, 8 and 16 images."""
    counts = torch.tensor([4, 8, 16])[DOMAINS]
    labels = torch.arange(20).repeat_interleave(counts)
    return ClassIndex.of(labels)


def test_every_set_is_equally_likely_or_in_proportion_to_its_images():
    uniform, size = (_turns(_sampler(_uneven(), choice=choice)) for choice in ("uniform", "size"))
    images = torch.tensor([8 * 4, 8 * 8, 4 * 16]) / 160
    assert chisquare(uniform).pvalue > 0.01
    assert chisquare(size, 3000 * images.double()).pvalue > 0.01
    classes = torch.tensor([8, 8, 4]) / 20  # in proportion to these it would be another thing
    assert chisquare(size, 3000 * classes.double()).pvalue < 1e-9


def test_turns_follow_from_the_seed(index):
    def turns(seed):
        sampler = _sampler(index, choice="uniform", seed=seed)
        found = []
        for sampler.batches in range(40):
            found.append(sampler.turn)
        return found

    assert turns(0) == turns(0)
    assert turns(0) != turns(1)


def _answered(sampler, solved, recalls, steps):
    """Trains with a recall for each set; the rounds, and (set, meta-batch) of each step."""
    rounds, turns = [], []
    for step in range(steps):
        turns.append(sampler.turn)
        pool = sampler.request(step)
        if pool is not None:
            sampler.receive(pool, solved(pool, {}))
        batch = sampler.draw(TASKS)
        ended = sampler.update(batch, solved(batch, {}, otherwise=recalls[turns[-1]]))
        rounds += [] if ended is None else [(step, ended)]
    return rounds, turns


@pytest.mark.parametrize("name", ["uniform", "boosted_pool"])
def test_boosting_brings_the_harder_set_forward_by_adaboosts_rule(index, solved, name):
    """The pools of `boosted` are all answered rightly, and must not count."""
    sampler = _sampler(index, name, every=5)
    recalls = [0.5, 0.875, 0.75]
    rounds, turns = _answered(sampler, solved, recalls, 15)
    weights = torch.full((3,), 1 / 3, dtype=torch.float64)
    assert [step for step, _ in rounds] == [4, 9, 14]
    for step, ended in rounds:
        met = turns[step - 4 : step + 1]
        visited = torch.tensor([s in met for s in range(3)])
        wanted = boost(weights, 1 - torch.tensor(recalls, dtype=torch.float64), visited, RULE, WAY)
        weights = wanted.weights
        assert (ended.unit, ended.pool) == ("set", 5 * TASKS)
        assert ended.accuracy == pytest.approx(sum(recalls[s] for s in met) / 5)
        assert (ended.epsilon, ended.alpha) == pytest.approx((wanted.epsilon, wanted.alpha))
    torch.testing.assert_close(sampler.weights, weights)
    _answered(sampler, solved, recalls, 200)
    assert sampler.weights.argmax() == 0
    assert float(sampler.weights.min()) >= RULE.floor / 3
    assert int(_turns(sampler).argmax()) == 0


def test_sets_are_boosted_though_every_meta_batch_ends_a_round_of_its_set(index, solved):
    sampler = _sampler(index, "meta_batch", every=4, collect=1, hard=1)
    rounds, _ = _answered(sampler, solved, [0.3, 0.9, 0.9], 60)
    assert [(step, r.number, r.unit) for step, r in rounds] == [(i, i + 1, "class") for i in range(60)]
    assert float(sampler.weights[0]) > 0.5


def test_weights_stay_where_sets_are_not_boosted(index, solved):
    for choice in ("uniform", "size"):
        sampler = _sampler(index, choice=choice)
        before = sampler.weights.clone()
        rounds, _ = _answered(sampler, solved, [0.1, 0.9, 0.9], 20)
        assert not rounds
        assert torch.equal(sampler.weights, before)


def test_one_set_needs_no_turns(index, assert_same):
    meta = Meta(way=WAY, shot=SHOT, queries=QUERIES, tasks=TASKS, steps=STEPS)
    config = Config(meta=meta, hard_tasks=hard_tasks("uniform"))
    alone = build_sampler(config, index, GROUPS, torch.zeros(20, dtype=torch.int64))
    assert isinstance(alone, CategoriesSampler)
    assert_same(alone.draw(6), build_sampler(config, index, GROUPS).draw(6))


def test_nothing_to_choose_from_is_refused(index):
    part = Part(CategoriesSampler.of(index, EpisodeShape(WAY, SHOT, QUERIES), 0), torch.arange(20), 240)
    for parts, every in (([], 5), ([part, replace(part, images=0)], 5), ([part], 0)):
        with pytest.raises(ValueError, match="all must be at least 1"):
            SeveralSetsSampler(parts, "uniform", RULE, every, 0)
