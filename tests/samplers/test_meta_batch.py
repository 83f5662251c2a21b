"""The hard-task meta-batch, against a simulation that keeps its own books."""

import io
from collections import Counter

import pytest
import torch
from sampler_options import sampler_of
from scipy.stats import chisquare

from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape, Outcome

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
