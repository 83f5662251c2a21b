"""Hard classes by a posterior of their recall: the laws of both draws, and what they come to."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_options import hard_tasks, sampler_of
from scipy.integrate import trapezoid
from scipy.special import softmax
from scipy.stats import beta, binomtest, chisquare, kstest

from mtl.config import Config, Data, HardTasks, Meta
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.errors import UserError
from mtl.runtime.seeds import generator
from mtl.samplers import build_sampler
from mtl.samplers.recall_based import RecallPosterior, log_softmax, with_floor
from mtl.samplers.weighted_draw import draw_by_logs

ALWAYS = {"share": 1.0, "warm_up": 0.0, "fade": 0.0}
RIGHT, WRONG = [2.0, 30.0, 0.0, 9.0, 11.0, 6.0], [7.0, 3.0, 0.0, 11.0, 4.0, 9.0]  # class 2 was never met


def _sampler(index, way=3, **config):
    return sampler_of("posterior", index, EpisodeShape(way, 1, 3), **{**ALWAYS, **config})


def _holding(index, **config):
    """A sampler that has these answers of its six classes."""
    sampler = _sampler(index, **config)
    answers = {"right": RIGHT, "wrong": WRONG}
    sampler.recalls.load_state_dict({k: torch.tensor(v, dtype=torch.float64) for k, v in answers.items()})
    return sampler


def _among_the_lowest(right, wrong, way):
    """Probability of each class that one draw of every Beta posterior puts it among the lowest `way`.

    By quadrature over its own value x; how many of the others lie below x is a sum of independent trials.
    """
    grid = np.linspace(0, 1, 4001)
    laws = [beta(a + 1, b + 1) for a, b in zip(right, wrong, strict=True)]
    result = []
    for own in laws:
        below = np.zeros((way, len(grid)))  # probability that 0, 1, ... of the others lie below x
        below[0] = 1
        for other in laws:
            if other is not own:
                p = other.cdf(grid)
                shifted = np.vstack([np.zeros(len(grid)), below[:-1]])
                below = below * (1 - p) + shifted * p
        result.append(trapezoid(own.pdf(grid) * below.sum(0), grid))
    return result


@pytest.fixture
def six(labels):
    return ClassIndex.of(labels(6, 8))


def test_thompson_draws_the_classes_of_the_lowest_recalls_of_one_posterior_draw(six):
    expected = _among_the_lowest(RIGHT, WRONG, way=3)
    assert sum(expected) == pytest.approx(3, abs=1e-3)
    sampler, random = _holding(six), generator(0)
    tasks = [sampler.choose(n, random).tolist() for n in range(3000)]
    for c, p in enumerate(expected):
        assert binomtest(sum(c in task for task in tasks), 3000, p).pvalue > 1e-4


def test_thompson_gives_a_class_every_place_of_the_task_alike(six):
    sampler, random = _holding(six), generator(1)
    places = [task.index(0) for n in range(1500) if 0 in (task := sampler.choose(n, random).tolist())]
    assert chisquare(np.bincount(places, minlength=3)).pvalue > 1e-4


def test_softmax_draws_by_the_weights_of_scipy_with_the_floor(six):
    sampler, random = _holding(six, draw="softmax", temperature=0.3, floor=0.2), generator(2)
    error = (np.array(WRONG) + 1) / (np.array(RIGHT) + np.array(WRONG) + 2)
    expected = 0.8 * softmax(error / 0.3) + 0.2 / 6
    np.testing.assert_allclose(sampler.class_weights().numpy(), expected, rtol=1e-12)
    first = [int(sampler.choose(n, random)[0]) for n in range(2000)]
    assert chisquare(np.bincount(first, minlength=6), 2000 * expected).pvalue > 1e-4


@pytest.mark.parametrize("draw", ["thompson", "softmax"])
def test_classes_of_low_recall_are_drawn_more_often(index, solved, draw):
    sampler = _sampler(index, draw=draw, share=0.0)
    for _ in range(100):
        batch = sampler.draw(4)
        sampler.update(batch, solved(batch, {3: 0.2, 7: 0.2}, otherwise=0.9))
    random = generator(3)
    tasks = [set(sampler.choose(n, random).tolist()) for n in range(300)]
    often = [sum(c in task for task in tasks) / 300 for c in range(20)]
    assert min(often[3], often[7]) > 0.9  # 3 in 20 if drawn uniformly
    assert max(often[c] for c in range(20) if c not in {3, 7}) < 0.25


@pytest.mark.parametrize("draw", ["thompson", "softmax"])
def test_classes_that_were_never_met_are_still_drawn(index, draw):
    """Class 5 is surely hard, 6 to 19 are surely easy, 0 to 4 were never met."""
    right = torch.tensor([0.0] * 5 + [2.0] + [50.0] * 14, dtype=torch.float64)
    wrong = torch.tensor([0.0] * 5 + [48.0] + [2.0] * 14, dtype=torch.float64)
    sampler = _sampler(index, draw=draw)
    sampler.recalls.load_state_dict({"right": right, "wrong": wrong})
    random = generator(4)
    tasks = [set(sampler.choose(n, random).tolist()) for n in range(200)]
    often = [sum(c in task for task in tasks) / 200 for c in range(20)]
    assert often[5] > 0.9
    assert min(often[:5]) > 0.15
    assert min(often[:5]) > max(often[6:])


def test_a_class_that_is_learned_is_let_go(index, solved):
    sampler = _sampler(index, share=0.0)
    for step in range(200):
        batch = sampler.draw(4)
        sampler.update(batch, solved(batch, {3: 0.0 if step < 60 else 0.9}, otherwise=0.9))
        if step == 59:
            assert int(sampler.class_weights().argmax()) == 3
            assert float(sampler.class_weights()[3]) > 0.5
    assert float(sampler.class_weights()[3]) < 0.1


def test_a_draw_of_low_temperature_without_a_floor_takes_the_hardest_classes(six):
    sampler = _holding(six, draw="softmax", temperature=1e-4, floor=0.0)
    hardest = sorted(range(6), key=lambda c: (RIGHT[c] + 1) / (RIGHT[c] + WRONG[c] + 2))[:3]
    assert set(sampler.choose(0, generator(0)).tolist()) == set(hardest)


QUERIES = 5


def _posterior_of(right, wrong):
    """A posterior that rests on these answers."""
    posterior = RecallPosterior(len(right), 0.9)
    posterior.load_state_dict(
        {name: torch.tensor(v, dtype=torch.float64) for name, v in (("right", right), ("wrong", wrong))}
    )
    return posterior


@pytest.mark.parametrize("keep", [0.0, 0.37, 0.9, 1.0])
def test_answers_are_added_as_a_loop_over_visits_adds_them(random_solved, keep):
    posterior = RecallPosterior(9, keep)
    right, wrong = [0.0] * 9, [0.0] * 9
    for seed in range(30):
        batch, outcome = random_solved(3, 4, 8, seed, queries=QUERIES)  # class 8 is never met
        posterior.add(batch, outcome)
        for task, recall in zip(batch.classes.tolist(), outcome.recall.tolist(), strict=True):
            for c, r in zip(task, recall, strict=True):
                right[c] = keep * right[c] + r * QUERIES
                wrong[c] = keep * wrong[c] + (1 - r) * QUERIES
    expected = [(a + 1) / (a + b + 2) for a, b in zip(right, wrong, strict=True)]
    assert posterior.right.tolist() == pytest.approx(right, rel=1e-6, abs=1e-6)
    assert posterior.wrong.tolist() == pytest.approx(wrong, rel=1e-6, abs=1e-6)
    assert posterior.mean().tolist() == pytest.approx(expected, rel=1e-6)
    assert posterior.mean()[8] == 0.5


def test_visits_in_one_meta_batch_come_one_after_the_other(solved_tasks):
    posterior = RecallPosterior(3, 0.5)
    posterior.add(
        *solved_tasks([[0, 1], [2, 0], [0, 1]], [[1.0, 0.5], [0.0, 0.25], [0.75, 1.0]])
    )  # 4 queries
    assert posterior.right.tolist() == [(4 * 0.5 + 1) * 0.5 + 3, 2 * 0.5 + 4, 0]
    assert posterior.wrong.tolist() == [(0 * 0.5 + 3) * 0.5 + 1, 2 * 0.5 + 0, 4]


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9, 0.98])
def test_in_the_long_run_it_rests_on_the_queries_of_so_many_visits(random_solved, keep):
    posterior = RecallPosterior(4, keep)
    visits = 1 if keep == 0 else math.ceil(math.log(1e-6) / math.log(keep))
    for seed in range(visits):
        posterior.add(*random_solved(1, 4, 4, seed, queries=QUERIES))
    answers = posterior.right + posterior.wrong
    assert answers.tolist() == pytest.approx([QUERIES / (1 - keep)] * 4, rel=1e-5)


def test_where_nothing_fades_the_mean_is_that_of_all_answers(random_solved):
    posterior, right = RecallPosterior(4, 1.0), torch.zeros(4)
    for seed in range(40):
        batch, outcome = random_solved(1, 4, 4, seed, queries=QUERIES)
        posterior.add(batch, outcome)
        right[batch.classes[0]] += outcome.recall[0] * QUERIES
    expected = (right.double() + 1) / (40 * QUERIES + 2)
    assert posterior.mean().tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_draws_follow_the_beta_distributions():
    right, wrong = [0.0, 3.0, 120.0, 0.4], [0.0, 9.5, 4.0, 77.0]
    posterior, random = _posterior_of(right, wrong), generator(0, "beta")
    drawn = np.stack([posterior.sample(random) for _ in range(3000)])
    for c, (a, b) in enumerate(zip(right, wrong, strict=True)):
        law = beta(a + 1, b + 1)
        assert posterior.mean()[c] == pytest.approx(law.mean())
        assert drawn[:, c].mean() == pytest.approx(law.mean(), abs=4 * law.std() / math.sqrt(3000))
        assert drawn[:, c].var() == pytest.approx(law.var(), rel=0.15)
        assert kstest(drawn[:, c], law.cdf).pvalue > 1e-4
    assert abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.08


def test_a_draw_is_a_function_of_the_answers_and_the_generator():
    posterior = _posterior_of([3.0, 1.0], [2.0, 8.0])
    one, other = generator(0), generator(0)
    assert posterior.sample(one).tolist() == posterior.sample(other).tolist()
    assert posterior.sample(one).tolist() != posterior.sample(one).tolist()
    assert posterior.sample(generator(0)).tolist() != posterior.sample(generator(1)).tolist()


def test_a_state_holds_all_and_does_not_change_behind_the_back_of_its_checkpoint(random_solved):
    posterior = RecallPosterior(6, 0.9)
    posterior.add(*random_solved(5, 3, 6, 0))
    state = posterior.state_dict()
    noted = {k: v.clone() for k, v in state.items()}
    other = RecallPosterior(6, 0.9)
    other.load_state_dict(state)
    assert other.mean().tolist() == posterior.mean().tolist()
    for each in (posterior, other):
        each.add(*random_solved(5, 3, 6, 1))
    assert other.mean().tolist() == posterior.mean().tolist()
    assert all(torch.equal(state[k], noted[k]) for k in noted)


hardnesses = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(np.array)


@given(hardnesses, st.floats(1e-3, 10), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_weights_are_those_of_scipy_with_the_floor_beneath_them(hardness, temperature, floor):
    plain = softmax(hardness / temperature)
    np.testing.assert_allclose(np.exp(log_softmax(hardness, temperature)), plain, rtol=1e-9, atol=1e-300)
    floored = np.exp(log_softmax(hardness, temperature, floor))
    np.testing.assert_allclose(floored, (1 - floor) * plain + floor / len(plain), rtol=1e-9, atol=1e-300)
    assert floored.sum() == pytest.approx(1)
    assert floored.min() >= floor / len(plain) * (1 - 1e-9)


def test_a_whole_floor_levels_everything():
    assert np.exp(log_softmax(np.array([0.0, 5.0]), 1e-3, 1.0)).tolist() == pytest.approx([0.5, 0.5])


def test_draws_by_logarithms_follow_their_weights_one_after_another():
    weights = np.array([0.5, 0.3, 0.2])
    draws = [tuple(draw_by_logs(np.log(weights), 2, generator(0, "t", i)).tolist()) for i in range(4000)]
    for first, second in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        share = weights[first] * weights[second] / (1 - weights[first])
        assert binomtest(draws.count((first, second)), 4000, share).pvalue > 1e-4


def test_draws_by_logarithms_keep_the_order_of_weights_that_no_float_can_hold():
    drawn = draw_by_logs(np.array([-3000.0, 0.0, -1000.0, -2000.0]), 3, generator(0, "t"))
    assert drawn.tolist() == [1, 2, 3]


def test_a_floor_scales_weights_that_do_not_sum_to_one_and_levels_those_that_are_nothing():
    weights = torch.tensor([3.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    assert with_floor(weights, 0.2).tolist() == pytest.approx([0.65, 0.25, 0.05, 0.05])
    assert with_floor(torch.zeros(4, dtype=torch.float64), 0.2).tolist() == [0.25] * 4


GROUPS = ["small", "large", "middle", "large", "tiny"] * 2 + ["large"] * 5 + ["middle"] * 4 + ["last"]
MEMBERS = {g: {c for c, name in enumerate(GROUPS) if name == g} for g in set(GROUPS)}


def _within(index, way=3, **config):
    config = {"share": 1.0, "warm_up": 0.0, "fade": 0.0, **config}
    hard = hard_tasks("within_group", **config)
    return build_sampler(Config(meta=Meta(way=way, queries=3), hard_tasks=hard), index, GROUPS)


def _tasks(sampler, count, seed=0):
    random = generator(seed, "tasks")
    return [sampler.choose(n, random).tolist() for n in range(count)]


def test_the_groups_of_these_tests_are_large_and_small():
    sizes = {name: len(members) for name, members in MEMBERS.items()}
    assert sizes == {"large": 9, "middle": 6, "small": 2, "tiny": 2, "last": 1}


@pytest.mark.parametrize("within", ["uniform", "hard"])
def test_all_classes_are_of_one_group_where_it_is_large_enough(index, within):
    for task in _tasks(_within(index, within=within), 300):
        assert len(set(task)) == 3
        if GROUPS[task[0]] in {"large", "middle"}:
            assert set(task) <= MEMBERS[GROUPS[task[0]]]


@pytest.mark.parametrize("within", ["uniform", "hard"])
@pytest.mark.parametrize("way", [3, 8])
def test_a_small_group_gives_all_its_classes_and_further_groups_the_rest(index, within, way):
    filled = 0
    for task in _tasks(_within(index, way, within=within), 300):
        assert len(set(task)) == way
        names = list(dict.fromkeys(GROUPS[c] for c in task))
        for name in names[:-1]:
            assert set(task) >= MEMBERS[name]
        places = [GROUPS[c] for c in task]
        assert places == [name for name in names for _ in range(places.count(name))]
        filled += len(names) > 1
    assert filled > 30


@pytest.mark.parametrize("within", ["uniform", "hard"])
def test_groups_are_drawn_in_proportion_to_their_sizes(index, within):
    firsts = Counter(GROUPS[task[0]] for task in _tasks(_within(index, within=within), 2000))
    expected = {name: 2000 * len(members) / 20 for name, members in MEMBERS.items()}
    assert chisquare([firsts[name] for name in expected], list(expected.values())).pvalue > 1e-4


def test_what_fills_a_small_group_is_drawn_in_proportion_to_sizes_too(index):
    tasks = [task for task in _tasks(_within(index), 2500) if GROUPS[task[0]] == "small"]
    fills = Counter(GROUPS[task[2]] for task in tasks)
    expected = {n: len(tasks) * len(m) / 18 for n, m in MEMBERS.items() if n != "small"}
    assert len(tasks) > 150
    assert chisquare([fills[name] for name in expected], list(expected.values())).pvalue > 1e-4


def test_every_set_of_a_group_is_equally_likely(index):
    tasks = [frozenset(t) for t in _tasks(_within(index), 2000) if GROUPS[t[0]] == "middle"]
    counts = Counter(tasks)
    assert len(counts) == 20  # 6 over 3
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_hard_draws_follow_the_softmax_of_the_errors_within_the_group(index):
    sampler = _within(index, within="hard", temperature=0.3)
    right = torch.rand(20, dtype=torch.float64, generator=generator(1)) * 10
    sampler.recalls.load_state_dict({"right": right, "wrong": 10 - right})
    middle = sorted(MEMBERS["middle"])
    error = np.array([1 - (float(right[c]) + 1) / 12 for c in middle])
    firsts = Counter(t[0] for t in _tasks(sampler, 2000) if GROUPS[t[0]] == "middle")
    expected = sum(firsts.values()) * softmax(error / 0.3)
    assert expected.max() > 3 * expected.min()
    assert chisquare([firsts[c] for c in middle], expected).pvalue > 1e-4


@pytest.mark.parametrize(("within", "low", "high"), [("uniform", 0.2, 0.5), ("hard", 0.9, 1.0)])
def test_a_class_of_low_recall_is_preferred_where_the_config_says_so(index, solved, within, low, high):
    sampler = _within(index, within=within)
    hard = min(MEMBERS["large"])
    for _ in range(40):
        batch = sampler.draw(4)
        sampler.update(batch, solved(batch, {hard: 0.1}, otherwise=0.9))
    tasks = [task for task in _tasks(sampler, 400) if GROUPS[task[0]] == "large"]
    assert low < sum(hard in task for task in tasks) / len(tasks) <= high  # a third if drawn uniformly


def test_a_low_temperature_takes_the_classes_of_the_lowest_recall(index):
    sampler = _within(index, within="hard", temperature=1e-4)
    right = torch.arange(20, dtype=torch.float64)
    sampler.recalls.load_state_dict({"right": right, "wrong": 20 - right})
    for task in _tasks(sampler, 50):
        if GROUPS[task[0]] in {"large", "middle"}:
            assert set(task) == set(sorted(MEMBERS[GROUPS[task[0]]])[:3])


def test_an_image_set_without_groups_is_refused_in_one_sentence(index):
    config = Config(data=Data(name="mini_imagenet"), hard_tasks=HardTasks("within_group"))
    with pytest.raises(UserError, match=r"hard_tasks\.sampler.*within_group.*mini_imagenet") as refused:
        build_sampler(config, index)
    assert "\n" not in str(refused.value)
    assert ". " not in str(refused.value)


HOPELESS, RISING, FALLING = 3, 7, 11


def _progress(index, kind="learning_progress", queries=10, **config):
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
    progress, level = _progress(index), _progress(index, "posterior")
    _history(solved, progress, level)
    by_progress, by_level = progress.class_weights(), level.class_weights()
    assert by_progress[RISING] > 5 * by_progress[HOPELESS]
    assert by_level[HOPELESS] > 5 * by_level[RISING]
    for sampler, expected in ((progress, {RISING, FALLING}), (level, {HOPELESS, FALLING})):
        assert set(sampler.class_weights().topk(2).indices.tolist()) == expected


def test_what_is_forgotten_is_practised_as_what_is_learned(index, solved):
    sampler = _progress(index)
    _history(solved, sampler)
    weights = sampler.class_weights()
    mastered = [float(weights[c]) for c in range(20) if c not in {HOPELESS, RISING, FALLING}]
    assert min(weights[RISING], weights[FALLING]) > 5 * max(mastered)


def test_draws_follow_the_weights(index, solved):
    sampler = _progress(index, share=1.0, warm_up=0.0, fade=0.0)
    other = _progress(index)
    _history(solved, other)
    state = other.state_dict()
    sampler.load_state_dict(state)
    tasks = [set(task) for task in sampler.draw(300).classes.tolist()]
    often = [sum(c in task for task in tasks) / 300 for c in range(20)]
    assert min(often[RISING], often[FALLING]) > 0.8  # a fifth if drawn uniformly
    assert often[HOPELESS] < 0.4


def test_weights_by_hand(index, solved):
    """One task three times, 3 queries a class: its first class is right, right and wrong, the others half."""
    sampler = _progress(index, queries=3, forget=0.5, slow=0.9, floor=0.2)
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
    sampler = _progress(index, floor=0.3)
    for step in range(60):
        batch = sampler.draw(4)
        sampler.update(batch, random_outcome(batch, step))
    gain = torch.from_numpy(abs(sampler.fast.share() - sampler.slow.share()))
    torch.testing.assert_close(sampler.class_weights(), 0.7 * gain / gain.sum() + 0.3 / 20)
    assert sampler.fast.keep == 0.9
    assert sampler.slow.keep == 0.98


def test_before_anything_is_known_and_without_a_floor_every_class_is_drawn_alike(index):
    sampler = _progress(index, floor=0.0, share=1.0, warm_up=0.0, fade=0.0)
    assert sampler.class_weights().tolist() == pytest.approx([1 / 20] * 20)
    assert set(sampler.draw(50).classes.flatten().tolist()) == set(range(20))


def test_where_one_class_alone_has_changed_a_task_is_still_filled_without_a_floor(index, solved):
    sampler = _progress(index, floor=0.0, share=1.0, warm_up=0.0, fade=0.0)
    batch = sampler.draw(1)
    hard = int(batch.classes[0, 0])
    for recall in (1.0, 0.0):
        outcome = solved(batch, {hard: recall}, otherwise=0.5)
        sampler.update(batch, outcome)
    weights = sampler.class_weights()
    assert float(weights[hard]) > 0.999
    tasks = sampler.draw(30).classes.tolist()
    assert all(hard in task and len(set(task)) == 4 for task in tasks)


EPISODES = 1000


def _paced(index, **config):
    config = {"share": 1.0, "warm_up": 0.0, "fade": 0.0, **config}
    return sampler_of("self_paced", index, EpisodeShape(3, 1, 3), episodes=EPISODES, **config)


@pytest.mark.parametrize(
    ("pace", "windows"),
    [
        ("grow", {0: (0, 0.4), 250: (0, 0.55), 500: (0, 0.7), 1000: (0, 1), 1200: (0, 1)}),
        ("move", {0: (0, 0.4), 250: (0.15, 0.55), 500: (0.3, 0.7), 1000: (0.6, 1), 1200: (0.6, 1)}),
    ],
)
def test_the_window_by_hand(index, pace, windows):
    sampler = _paced(index, pace=pace, part=0.4)
    for number, (low, high) in windows.items():
        assert sampler.window(number) == pytest.approx((low, high))


@pytest.mark.parametrize("pace", ["grow", "move"])
def test_the_whole_part_is_every_task_at_any_time(index, pace):
    sampler = _paced(index, pace=pace, part=1.0)
    assert {sampler.window(number) for number in (0, 300, 1000)} == {(0, 1)}


@pytest.mark.parametrize(
    ("pace", "number", "ranks"),
    [
        ("grow", 0, (1, 4)),
        ("grow", 500, (1, 10)),
        ("grow", EPISODES, (1, 16)),
        ("move", 0, (1, 4)),
        ("move", 500, (7, 10)),
        ("move", EPISODES, (13, 16)),
    ],
)
def test_tasks_have_the_difficulty_that_their_time_asks_for(labels, pace, number, ranks):
    """The k-th of M uniform candidates is expected at the quantile k / (M + 1) of all tasks."""
    sampler = _paced(ClassIndex.of(labels(14, 8)), pace=pace, part=0.25, candidates=16)
    right = torch.rand(14, dtype=torch.float64, generator=generator(0)) * 20
    sampler.recalls.load_state_dict({"right": right, "wrong": 20 - right})
    error = [1 - (float(r) + 1) / 22 for r in right]
    difficulty = {task: sum(error[c] for c in task) for task in itertools.combinations(range(14), 3)}
    easiest_first = sorted(difficulty, key=difficulty.__getitem__)
    order = {task: place / len(difficulty) for place, task in enumerate(easiest_first)}
    random = generator(1)
    drawn = [tuple(sorted(sampler.choose(number, random).tolist())) for _ in range(800)]
    mean = sum(order[task] for task in drawn) / 800
    assert mean == pytest.approx(sum(ranks) / 2 / 17, abs=0.03)


@pytest.mark.parametrize("pace", ["grow", "move"])
def test_training_goes_from_easy_classes_to_the_others(index, solved, pace):
    sampler = _paced(index, pace=pace, part=0.2)
    hard = dict.fromkeys(range(10), 0.2)
    met = []
    for _ in range(EPISODES // 10):
        batch = sampler.draw(10)
        met.append(float((batch.classes < 10).float().mean()))
        sampler.update(batch, solved(batch, hard, otherwise=0.9))
    early, late = sum(met[5:25]) / 20, sum(met[-20:]) / 20  # half of all classes are hard
    assert early < 0.35
    assert late == pytest.approx(0.5, abs=0.1) if pace == "grow" else late > 0.65


def test_before_anything_is_known_tasks_are_uniform(index):
    sampler = _paced(index, part=0.1)
    batch = sampler.draw(300)
    assert set(batch.origin) == {"paced"}
    often = torch.bincount(batch.classes.flatten(), minlength=20) / 300
    assert often.tolist() == pytest.approx([0.15] * 20, abs=0.09)
