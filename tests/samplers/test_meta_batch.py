"""The hard-task meta-batch, against a simulation that keeps its own books."""

import io
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from sampler_options import sampler_of
from scipy.stats import chisquare

from mtl.compare.runs import arm_config
from mtl.config import Config, Meta, load_config, read_config
from mtl.config.comparison import ARMS
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape, Outcome
from mtl.samplers import build_sampler, meta_steps

WAY, SHOT, QUERIES = 3, 1, 2  # with 2 queries most tasks hold ties


def _sampler(index, seed=0, **config):
    return sampler_of("meta_batch", index, EpisodeShape(WAY, SHOT, QUERIES), seed, **config)


def _train(sampler, outcome_of, batches, tasks=4):
    """The batches of a training and the rounds that ended after each."""
    seen = []
    for b in range(batches):
        batch = sampler.draw(tasks)
        outcome = outcome_of(batch, b)
        seen.append((batch, outcome, sampler.update(batch, outcome)))
    return seen


def _worst(classes, recall, own):
    """The class of lowest recall; of those the one with the least probability for its own."""
    worst = 0
    for j in range(1, len(classes)):
        if recall[j] < recall[worst] or (recall[j] == recall[worst] and own[j] < own[worst]):
            worst = j
    return classes[worst]


@pytest.mark.parametrize("few", ["fill", "skip"])
@pytest.mark.parametrize("duplicates", ["drop", "keep"])
@pytest.mark.parametrize(
    ("collect", "hard", "tasks"), [(3, 4, 2), (2, 5, 4), (1, 3, 1), (10, 10, 2), (1, 1, 5)]
)
def test_it_keeps_the_books_of_the_papers(index, random_outcome, few, duplicates, collect, hard, tasks):
    sampler = _sampler(index, few=few, duplicates=duplicates, collect=collect, hard=hard)
    failed, accuracies, since, left, pool, rounds = [], [], 0, 0, set(), 0
    for batch, outcome, ended in _train(sampler, random_outcome, 40, tasks):
        now = min(left, tasks)
        assert batch.origin == ("hard",) * now + ("uniform",) * (tasks - now)
        left -= now
        for classes in batch.classes[:now].tolist():
            assert len(set(classes)) == WAY
            assert pool >= set(classes) or set(classes) >= pool
        for t in range(now, tasks):
            own = outcome.confusion[t].diagonal().tolist()
            failed.append(_worst(batch.classes[t].tolist(), outcome.recall[t].tolist(), own))
            accuracies.append(float(outcome.accuracy[t]))
        since += now < tasks
        if since < collect or now == tasks:
            assert ended is None
            continue
        rounds, pool, since = rounds + 1, set(failed), 0
        left = hard if few == "fill" or len(pool) >= WAY else 0
        assert (ended.number, ended.unit, ended.pool) == (rounds, "class", len(failed))
        assert ended.accuracy == pytest.approx(sum(accuracies) / len(accuracies))
        assert ended.hard_share == pytest.approx(left / (left + len(failed)))
        failed, accuracies = [], []
    assert rounds > 1


def test_images_of_hard_tasks_are_distinct_and_of_their_classes(index, random_outcome):
    for batch, _, _ in _train(_sampler(index, collect=2, hard=6), random_outcome, 30):
        assert (batch.support % 20 == batch.classes[..., None]).all()
        assert (batch.query % 20 == batch.classes[..., None]).all()
        assert all(len(set(task)) == WAY * (SHOT + QUERIES) for task in batch.image_indices().tolist())


def test_hard_tasks_get_fresh_images(index, random_outcome):
    before, hard = set(), []
    for batch, _, _ in _train(_sampler(index, collect=2, hard=6), random_outcome, 30):
        for t, origin in enumerate(batch.origin):
            images = tuple(batch.image_indices()[t].tolist())
            hard += [images] if origin == "hard" else []
            before |= {images} if origin == "uniform" else set()
    assert len(set(hard)) == len(hard) > 0
    assert not before & set(hard)


def test_its_uniform_episodes_are_those_of_the_uniform_sampler(index, random_outcome):
    plain = CategoriesSampler.of(index, EpisodeShape(WAY, SHOT, QUERIES), 0).draw(120)
    met = 0
    for batch, _, _ in _train(_sampler(index, collect=2, hard=5), random_outcome, 30):
        for t, number in enumerate(batch.index):
            if batch.origin[t] == "uniform":
                assert torch.equal(batch.image_indices()[t], plain.image_indices()[number])
                met += 1
    assert 0 < met < 120


def test_ties_of_recall_go_to_the_least_probability(index):
    sampler = _sampler(index, collect=1, hard=1, few="fill")
    batch = sampler.draw(1)
    confusion = torch.tensor([[[0.5, 0.3, 0.2], [0.4, 0.2, 0.4], [0.3, 0.3, 0.4]]])
    recall = torch.tensor([[1.0, 0.5, 0.5]])
    sampler.update(batch, Outcome(torch.ones(1), recall.mean(1), recall, confusion))
    assert int(batch.classes[0, 1]) in sampler.draw(1).classes[0].tolist()


def test_too_few_failed_classes_are_filled_up_evenly_with_others(labels, solved):
    index, others = ClassIndex.of(labels(7, 6)), Counter()
    for seed in range(600):
        sampler = _sampler(index, seed, collect=1, hard=1)
        batch = sampler.draw(1)
        failed = int(batch.classes[0, 0])
        sampler.update(batch, solved(batch, {failed: 0.0}))
        classes = sampler.draw(1).classes[0].tolist()
        assert failed in classes
        assert len(set(classes)) == WAY
        others.update((c - failed) % 7 for c in classes if c != failed)
    assert chisquare([others[c] for c in range(1, 7)]).pvalue > 1e-4


def test_too_few_failed_classes_are_no_hard_task_where_the_config_skips_them(index, solved):
    sampler = _sampler(index, collect=1, hard=4, few="skip")
    batch = sampler.draw(1)
    ended = sampler.update(batch, solved(batch, {int(batch.classes[0, 0]): 0.0}))
    assert ended.hard_share == 0
    assert sampler.draw(4).origin == ("uniform",) * 4


@pytest.mark.parametrize(
    ("duplicates", "often"),
    [("drop", 3 / 4), ("keep", 1 - 3 / 15 * 2 / 14 * 1 / 13)],  # all but the draws of the other three
)
def test_a_class_that_failed_often_counts_as_the_config_says(index, duplicates, often):
    sampler = _sampler(index, collect=1, hard=2000, duplicates=duplicates)
    state = sampler.state_dict() | {"hard_classes": [4] * 12 + [5, 6, 7], "hard_left": 2000}
    sampler.load_state_dict(state)
    drawn = [set(task) for task in sampler.draw(2000).classes.tolist()]
    assert sum(4 in task for task in drawn) / 2000 == pytest.approx(often, abs=0.02)


@pytest.mark.parametrize("stop", [1, 3, 7, 12, 13, 14])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(index, random_outcome, assert_same, stop):
    whole = _train(_sampler(index, collect=3, hard=5), random_outcome, 25)
    first = _sampler(index, collect=3, hard=5)
    _train(first, random_outcome, stop)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = _sampler(index, collect=3, hard=5)
    second.load_state_dict(torch.load(file, weights_only=True))
    for b in range(stop, 25):
        batch = second.draw(4)
        assert_same(batch, whole[b][0])
        assert second.update(batch, random_outcome(batch, b)) == whole[b][2]


def test_a_state_does_not_change_behind_the_back_of_its_checkpoint(index, random_outcome):
    sampler = _sampler(index, collect=5)
    _train(sampler, random_outcome, 2)
    state = sampler.state_dict()
    noted = {k: list(v) if isinstance(v, list) else v for k, v in state.items()}
    _train(sampler, random_outcome, 2)
    assert state == noted


KEPT, EMPTIED = "as released", "as released with list emptied"
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
