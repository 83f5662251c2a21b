"""The rule of the authors' code of 2024, against a simulation with two plain lists, one never emptied."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from sampler_options import sampler_of

from mtl.compare.runs import arm_config
from mtl.config import Config, Meta, load_config, read_config
from mtl.config.comparison import ARMS
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape, Outcome
from mtl.samplers import build_sampler, meta_steps

KEPT, EMPTIED = "as released", "as released, list emptied"
NORMAL, HARD, TASKS = 10, 5, 2  # meta-batches of a round, and their tasks


def _config(name, way=5, shot=1, queries=3, steps=60):
    arm = next(arm for arm in ARMS if arm.name == name)
    meta = Meta(way=way, shot=shot, queries=queries, tasks=TASKS, steps=steps)
    return arm_config(Config(meta=meta), arm, 0)


def _outcomes(batch, seed):
    """Recalls with many ties: of 3 queries each."""
    g = torch.Generator().manual_seed(seed)
    recall = torch.randint(0, 4, batch.classes.shape, generator=g) / 3
    way = batch.way
    confusion = torch.rand(len(batch), way, way, generator=g).softmax(-1)
    return Outcome(1 - recall.mean(1), recall.mean(1), recall, confusion)


class Books:
    """Classes and accuracies of normal tasks as they come; a pool after each `NORMAL` meta-batches."""

    def __init__(self, way, forgets):
        self.way, self.forgets = way, forgets
        self.classes, self.accuracies, self.since = [], [], 0

    def note(self, batch, outcome):
        """The pool where a round ends with this normal meta-batch; an empty one where it is too small."""
        for classes, recall in zip(batch.classes.tolist(), outcome.recall.tolist(), strict=True):
            self.classes.append(classes)
            self.accuracies.append(recall)
        self.since += 1
        if self.since < NORMAL:
            return None
        pool = []
        for t, classes in enumerate(self.classes):
            accuracies = self.accuracies[t]
            worst = classes[accuracies.index(min(accuracies))]
            if not pool or pool[-1] != worst:
                pool.append(worst)
        self.classes, self.since = [], 0
        if self.forgets:
            self.accuracies = []
        return pool if len(pool) >= self.way else []


@pytest.mark.parametrize(("name", "forgets"), [(KEPT, False), (EMPTIED, True)])
@pytest.mark.parametrize(("way", "shot", "classes"), [(5, 1, 8), (5, 5, 20), (3, 1, 4), (20, 1, 20)])
def test_meta_batches_and_pools_are_those_of_the_rule(name, forgets, way, shot, classes):
    index = ClassIndex.of(torch.arange(classes).repeat(20))
    sampler = build_sampler(_config(name, way, shot), index)
    books, pool, left, twins, rounds, skipped = Books(way, forgets), [], 0, 0, 0, 0
    for step in range(120):
        batch = sampler.draw(TASKS)
        outcome = _outcomes(batch, step)
        if left:
            left -= 1
            assert batch.origin == ("hard",) * TASKS
            for task in batch.classes.tolist():
                assert not Counter(task) - Counter(pool)
                twins += len(set(task)) < way
            assert sampler.update(batch, outcome) is None
            continue
        assert batch.origin == ("uniform",) * TASKS
        ended, found = sampler.update(batch, outcome), books.note(batch, outcome)
        assert (ended is None) == (found is None)
        if found is not None:
            pool, left, rounds = found, HARD if found else 0, rounds + 1
            skipped += not found
            assert ended.hard_share == pytest.approx(1 / 3 if found else 0)
    assert rounds >= 8
    assert (skipped > 0) == (way == 20)  # where one adjacent duplicate leaves 19 mentions
    assert twins


def test_kept_accuracies_say_for_ever_where_the_class_stands_that_failed_in_the_first_round(index):
    kept, emptied = (build_sampler(_config(n), index) for n in (KEPT, EMPTIED))
    pools = []
    for sampler in (kept, emptied):
        pools.append([])
        while len(pools[-1]) < 3:
            batch = sampler.draw(TASKS)
            if sampler.update(batch, _outcomes(batch, sampler.drawn)) is not None:
                pools[-1].append(sampler.hard_classes)
    assert pools[0][0] == pools[1][0]
    assert pools[0][1:] != pools[1][1:]


def test_a_class_fills_two_ways_as_often_as_its_mentions_are_drawn(index):
    sampler = sampler_of("meta_batch", index, EpisodeShape(3, 1, 2), duplicates="adjacent")
    state = {"hard_classes": [4, 5, 4, 6], "hard_left": 2000}
    sampler.load_state_dict(sampler.state_dict() | state)
    both = sum(task.count(4) == 2 for task in sampler.draw(2000).classes.tolist())
    assert both / 2000 == pytest.approx(1 / 2, abs=0.04)  # 2 of the 4 ways to leave one mention out


@pytest.mark.parametrize("overlap", [False, True])
def test_support_and_query_of_a_hard_task_overlap_if_the_config_says_so(overlap):
    index = ClassIndex.of(torch.arange(8).repeat(10))  # 1 + 9 images of 10: apart they are all of them
    sampler = sampler_of("meta_batch", index, EpisodeShape(3, 1, 9), overlap=overlap)
    sampler.load_state_dict(sampler.state_dict() | {"hard_classes": [0, 1, 2, 3], "hard_left": 200})
    batch = sampler.draw(200)
    shared = (batch.support[..., None] == batch.query[:, :, None, :]).any(-1).float().mean()
    assert float(shared) == pytest.approx(0.9 if overlap else 0.0, abs=0.05)
    assert all(len(set(images)) == 9 for images in batch.query.flatten(0, 1).tolist())


@pytest.mark.parametrize(("budget", "steps"), [("extra", 90), ("inside", 60)])
def test_hard_meta_batches_come_on_top_where_the_config_says_so(budget, steps):
    keys = [
        "meta.steps=60",
        "meta.tasks=4",
        "hard_tasks.sampler=meta_batch",
        "hard_tasks.meta_batch.hard_batches=5",
    ]
    assert meta_steps(load_config(None, [*keys, f"hard_tasks.meta_batch.budget={budget}"])) == steps


def test_the_config_that_the_docs_show_is_the_arm_with_hard_tasks_on_top():
    text = (Path(__file__).parents[2] / "docs" / "method.md").read_text(encoding="utf-8")
    (shown,) = re.findall("```yaml\n(.*?)```", text, re.DOTALL)
    config = read_config(yaml.safe_load(shown), "docs/method.md")
    assert config.meta.tasks == TASKS
    assert replace(config.hard_tasks.options, budget="inside") == _config(KEPT).hard_tasks.options
    assert meta_steps(replace(config, meta=replace(config.meta, steps=100))) == 150
