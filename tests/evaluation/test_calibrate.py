"""Temperatures of a run's network: of its validation tasks alone, against tasks solved one by one."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.episodes.class_index import ClassIndex
from mtl.evaluation import calibrate as stage
from mtl.evaluation.calibrate import best_temperature, calibrate, some_of_each, temperatures, validation_tasks
from mtl.own_images.embedder import embedder_of_run
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import derive_seed, generator
from mtl.training.restore import learner_from_pretrained
from mtl.training.run_data import load_run_data


def parts(folder):
    """Config, images, device and checkpoints of a run."""
    config = folder.read_config()
    run_data, device = load_run_data(config), choose_device(config.runtime)
    return config, run_data, device, checkpoints.read(folder.pretrain), checkpoints.read(folder.meta)


@pytest.fixture
def elsewhere(whole_run, tmp_path):
    """The parts of a run whose folder is another and empty, so that files can be written."""
    config, *others = parts(whole_run)
    config = replace(config, checkpoints=str(tmp_path))
    RunFolder.of(config).path.mkdir()
    return config, *others


def cost(logits, labels, log):
    """-ln p of the labels with a normal prior of ln T, in numpy."""
    scaled = logits.double().numpy() / math.exp(log)
    right = scaled[np.arange(len(labels)), labels.numpy()]
    return (np.logaddexp.reduce(scaled, 1) - right).sum() + log**2 / 2


def test_they_are_the_best_on_validation_tasks(elsewhere, whole_run, monkeypatch):
    monkeypatch.setattr(stage, "_TASKS", 20)
    config, run_data, *_ = elsewhere
    found = calibrate(*elsewhere)
    assert list(found) == [1, 2, 5, 10]  # there are twelve images of a class
    images, embedder = run_data.splits.val, embedder_of_run(whole_run.path)
    table = embedder(torch.as_tensor(images.images[:]))
    index = ClassIndex.of(images.labels, torch.arange(len(images.labels)))
    for shot in (1, 10):
        stream = derive_seed(config.seed, "calibrate", shot)
        episodes = validation_tasks(index, None, 3, shot, stream)
        assert (len(episodes), episodes.way, episodes.queries) == (20, 3, min(15, 12 - shot))
        support = torch.arange(3).repeat_interleave(shot)[None]
        tasks = [(table[rows[: 3 * shot]], table[rows[3 * shot :]]) for rows in episodes.image_indices()]
        answers = [embedder.base_learner.adapt(s[None], support, q[None], 3)[0] for s, q in tasks]
        logits = torch.cat(answers)
        labels = episodes.labels(episodes.queries).flatten()
        best = min(np.linspace(-3, 3, 1201), key=lambda log, z=logits, y=labels: cost(z, y, log))
        assert math.log(found[shot]) == pytest.approx(best, abs=6e-3)
    assert found[1] != found[10]


def test_they_are_written_for_prediction_and_the_same_each_time(elsewhere, monkeypatch):
    monkeypatch.setattr(stage, "_TASKS", 20)
    folder = RunFolder.of(elsewhere[0])
    found = calibrate(*elsewhere)
    written = folder.calibration.read_bytes()
    told = json.loads(written)
    assert told == {"temperatures": {str(k): t for k, t in found.items()}, "network": "meta-trained"}
    torch.manual_seed(99)
    assert calibrate(*elsewhere) == found
    assert folder.calibration.read_bytes() == written


def test_without_meta_training_they_are_of_the_pretrained_network(elsewhere, monkeypatch):
    monkeypatch.setattr(stage, "_TASKS", 20)
    config, run_data, device, pretrained, _ = elsewhere
    found = calibrate(config, run_data, device, pretrained, None)
    assert json.loads(RunFolder.of(config).calibration.read_text())["network"] == "pretrained"
    learner = learner_from_pretrained(pretrained, config, run_data.splits.train, device)
    assert temperatures(config, run_data, device, learner) == found


def test_novel_classes_are_not_looked_at(elsewhere, monkeypatch):
    monkeypatch.setattr(stage, "_TASKS", 20)
    config, run_data, *others = elsewhere
    novel = run_data.splits.test
    blind = replace(novel, images=torch.zeros_like(torch.as_tensor(novel.images[:])))
    blinded = replace(run_data, splits=replace(run_data.splits, test=blind))
    assert calibrate(config, blinded, *others) == calibrate(*elsewhere)


def test_evaluation_leaves_them_to_those_with_own_images(whole_run):
    told = json.loads(whole_run.calibration.read_text())["temperatures"]
    wanted = tuple((int(shot), t) for shot, t in told.items())
    assert len(wanted) == 4
    assert embedder_of_run(whole_run.path).temperatures == wanted


@pytest.mark.parametrize("change", [{"algorithm": "maml"}, {"batch_norm": "episode"}], ids=str)
def test_learners_that_own_images_cannot_be_asked_have_none(elsewhere, change):
    config, *others = elsewhere
    config = replace(config, meta=replace(config.meta, **change))
    assert calibrate(config, *others) == {}
    assert not RunFolder.of(config).calibration.exists()


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_the_temperature_with_which_labels_were_drawn_is_found(temperature):
    random = generator(0, "labels")
    logits = 4 * torch.randn(4000, 5, generator=random)
    labels = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=random)[:, 0]
    assert best_temperature(logits, labels) == pytest.approx(temperature, rel=0.1)


def test_answers_without_error_do_not_end_at_nought():
    logits, labels = torch.eye(3).repeat(5, 1), torch.arange(3).repeat(5)
    found = best_temperature(logits, labels)
    best = min(np.linspace(-4, 1, 1001), key=lambda log: cost(logits, labels, log))
    assert math.log(found) == pytest.approx(best, abs=5e-3)
    assert 0.1 < found < 0.5


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 6), st.integers(0, 1000))
def test_of_each_class_some_images_are_taken(labels, most, seed):
    labels = torch.tensor(labels)
    rows = some_of_each(labels, most, generator(seed, "some"))
    assert rows.tolist() == sorted(set(rows.tolist()))
    taken, there = (torch.bincount(values, minlength=10) for values in (labels[rows], labels))
    assert torch.equal(taken, there.clamp(max=most))


def test_which_ones_is_drawn():
    labels = torch.zeros(50, dtype=torch.int64)
    draws = [tuple(some_of_each(labels, 5, generator(seed, "some")).tolist()) for seed in range(10)]
    assert len(set(draws)) == 10
    assert max(map(max, draws)) >= 40


def index_of(counts):
    return ClassIndex.of(torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)))


def test_tasks_are_of_the_classes_that_have_a_query_left():
    episodes = validation_tasks(index_of([9, 3, 2, 9, 4, 9]), None, 4, 3, 0)
    assert set(episodes.classes.flatten().tolist()) <= set(range(4))  # of those kept: 0, 3, 4 and 5
    images = episodes.image_indices()
    allowed = {*range(9), *range(14, 36)}
    assert set(images.flatten().tolist()) <= allowed
    assert (episodes.shot, episodes.queries) == (3, 1)
    assert all(len(set(rows)) == len(rows) for rows in images.tolist())
    assert validation_tasks(index_of([9, 3, 2, 9, 4, 9]), None, 5, 3, 0) is None


def test_tasks_stay_within_an_image_set():
    domains = ["a", "b", "a", "b", "b", "a", "c"]
    episodes = validation_tasks(index_of([6] * 7), domains, 3, 2, 0)
    for classes in episodes.classes.tolist():
        assert len({domains[c] for c in classes}) == 1
    assert {domains[c] for c in episodes.classes.flatten().tolist()} == {"a", "b"}
    assert validation_tasks(index_of([6] * 7), domains, 4, 2, 0) is None


def test_classes_that_are_left_out_do_not_move_the_others_to_another_set():
    counts, domains = [1, 6, 6, 6, 6, 6, 6], ["c", "a", "a", "a", "b", "b", "b"]
    episodes = validation_tasks(index_of(counts), domains, 3, 2, 0)
    of_image = [domain for domain, count in zip(domains, counts, strict=True) for _ in range(count)]
    found = [{of_image[row] for row in rows} for rows in episodes.image_indices().tolist()]
    assert all(len(task) == 1 for task in found)
    assert set.union(*found) == {"a", "b"}
