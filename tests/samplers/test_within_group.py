"""Tasks within a group of classes: which groups, which of their classes, and groups that are too small."""

from collections import Counter

import numpy as np
import pytest
import torch
from sampler_options import hard_tasks
from scipy.special import softmax
from scipy.stats import chisquare

from mtl.config import Config, Data, HardTasks, Meta
from mtl.errors import UserError
from mtl.runtime.seeds import generator
from mtl.samplers import build_sampler

GROUPS = ["small", "large", "middle", "large", "tiny"] * 2 + ["large"] * 5 + ["middle"] * 4 + ["last"]
MEMBERS = {g: {c for c, name in enumerate(GROUPS) if name == g} for g in set(GROUPS)}


def _sampler(index, way=3, **config):
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
    for task in _tasks(_sampler(index, within=within), 300):
        assert len(set(task)) == 3
        if GROUPS[task[0]] in {"large", "middle"}:
            assert set(task) <= MEMBERS[GROUPS[task[0]]]


@pytest.mark.parametrize("within", ["uniform", "hard"])
@pytest.mark.parametrize("way", [3, 8])
def test_a_small_group_gives_all_its_classes_and_further_groups_the_rest(index, within, way):
    filled = 0
    for task in _tasks(_sampler(index, way, within=within), 300):
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
    firsts = Counter(GROUPS[task[0]] for task in _tasks(_sampler(index, within=within), 2000))
    expected = {name: 2000 * len(members) / 20 for name, members in MEMBERS.items()}
    assert chisquare([firsts[name] for name in expected], list(expected.values())).pvalue > 1e-4


def test_what_fills_a_small_group_is_drawn_in_proportion_to_sizes_too(index):
    tasks = [task for task in _tasks(_sampler(index), 2500) if GROUPS[task[0]] == "small"]
    fills = Counter(GROUPS[task[2]] for task in tasks)
    expected = {n: len(tasks) * len(m) / 18 for n, m in MEMBERS.items() if n != "small"}
    assert len(tasks) > 150
    assert chisquare([fills[name] for name in expected], list(expected.values())).pvalue > 1e-4


def test_every_set_of_a_group_is_equally_likely(index):
    tasks = [frozenset(t) for t in _tasks(_sampler(index), 2000) if GROUPS[t[0]] == "middle"]
    counts = Counter(tasks)
    assert len(counts) == 20  # 6 over 3
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_hard_draws_follow_the_softmax_of_the_errors_within_the_group(index):
    sampler = _sampler(index, within="hard", temperature=0.3)
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
    sampler = _sampler(index, within=within)
    hard = min(MEMBERS["large"])
    for _ in range(40):
        batch = sampler.draw(4)
        sampler.update(batch, solved(batch, {hard: 0.1}, otherwise=0.9))
    tasks = [task for task in _tasks(sampler, 400) if GROUPS[task[0]] == "large"]
    assert low < sum(hard in task for task in tasks) / len(tasks) <= high  # a third if drawn uniformly


def test_a_low_temperature_takes_the_classes_of_the_lowest_recall(index):
    sampler = _sampler(index, within="hard", temperature=1e-4)
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
