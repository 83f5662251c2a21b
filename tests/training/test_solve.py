"""One step of meta-training: parts add up to the whole meta-batch, and tasks count as they are weighed."""

import copy

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Augment, Backbone, Config, HardTasks, Meta, Runtime
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.episodes.hardness import inverse_fisher_ratio
from mtl.learners import build_learner
from mtl.learners.learner import episode_labels
from mtl.losses import HardExampleMiner
from mtl.models.backbones import build_backbone
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator
from mtl.training.solve import episode_images, measure, meta_step

WAY, SHOT, QUERIES, TASKS = 3, 2, 4, 5
PER_TASK = WAY * (SHOT + QUERIES)


@pytest.fixture
def batch():
    return CategoriesSampler.of(
        ClassIndex.of(torch.arange(60) % 6), EpisodeShape(WAY, SHOT, QUERIES), 0
    ).draw(TASKS)


@pytest.fixture
def images(batch, pictures):
    return episode_images(batch, pictures, Augment(), generator(0))


def _learner(batch_norm="frozen"):
    backbone = build_backbone(Backbone(channels=(8,) * 4), 1, 16, generator(0, "backbone"))
    meta = Meta(way=WAY, shot=SHOT, queries=QUERIES, batch_norm=batch_norm)
    config = Config(meta=meta, hard_tasks=HardTasks(sampler="uniform"))
    learner = build_learner(config, backbone, choose_device(Runtime(device="cpu")), generator(0))
    learner.train()
    return learner


def _step(learner, images, batch, at_once=10**9, weigh=None, queries=None):
    """The outcome of a step of rate 1, and the gradients that it went by."""
    optimizer = torch.optim.SGD(learner.meta_parameters(), lr=1.0)
    outcome = meta_step(learner, optimizer, images, batch, at_once, weigh, queries)
    return outcome, [p.grad for p in learner.meta_parameters()]


def _gradients(learner, images, batch, weigh, at_once=10**9):
    return _step(learner, images, batch, at_once, weigh)[1]


def _losses(learner, images):
    """The mean cross-entropy of each task's queries, one task after the other."""
    labels = episode_labels(TASKS, WAY, QUERIES, images.device)
    logits = learner.solve(images, WAY, SHOT)
    return torch.stack([F.cross_entropy(one, label) for one, label in zip(logits, labels, strict=True)])


def _assert_close(found, wanted):
    assert any(bool((grad.abs() > 1e-4).any()) for grad in wanted)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_norm", ["frozen", "episode"])
@pytest.mark.parametrize(
    "at_once", [1, PER_TASK + 1, 2 * PER_TASK + 1, 4 * PER_TASK + 1]
)  # a task is never torn
def test_parts_give_the_gradients_of_the_whole(batch, images, batch_norm, at_once):
    """A task is never torn, however few images may pass together."""
    whole, parts = (_learner(batch_norm) for _ in range(2))
    outcome, wanted = _step(whole, images, batch)
    in_parts, found = _step(parts, images, batch, at_once=at_once)
    torch.testing.assert_close(in_parts.confusion, outcome.confusion)
    _assert_close(found, wanted)


def test_statistics_of_the_whole_meta_batch_need_it_whole(batch, images):
    learner = _learner("update")
    passes = []
    learner.backbone.register_forward_hook(lambda _m, given, _out: passes.append(len(given[0])))
    _step(learner, images, batch, at_once=1)
    assert passes == [TASKS * PER_TASK]


def test_a_step_goes_down_the_mean_cross_entropy_of_all_queries(batch, images):
    learner = _learner()
    reference = copy.deepcopy(learner)
    outcome, found = _step(learner, images, batch)
    labels = episode_labels(TASKS, WAY, QUERIES, images.device)
    loss = F.cross_entropy(reference.solve(images, WAY, SHOT).flatten(0, 1), labels.flatten())
    torch.testing.assert_close(outcome.loss.mean(), loss.detach())
    wanted = torch.autograd.grad(loss, reference.meta_parameters())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("batch_norm", ["frozen", "episode"])
@pytest.mark.parametrize("at_once", [1, 2 * PER_TASK + 1, 10**9])
def test_a_step_goes_down_the_weighed_sum_of_the_losses(batch, images, batch_norm, at_once):
    weights, told = torch.tensor([0.0, 2.5, 0.3, 1.0, 4.0]), []
    learner = _learner(batch_norm)
    losses = _losses(copy.deepcopy(learner), images).detach()
    reference = copy.deepcopy(learner)
    weighed = (
        sum(w * loss for w, loss in zip(weights.tolist(), _losses(reference, images), strict=True)) / TASKS
    )
    wanted = torch.autograd.grad(weighed, reference.meta_parameters())
    found = _gradients(learner, images, batch, lambda given: (told.append(given), weights)[1], at_once)
    _assert_close(found, wanted)
    (given,) = told
    assert not given.requires_grad
    torch.testing.assert_close(given, losses)


def test_statistics_of_the_whole_meta_batch_move_once_for_a_weighed_step(batch, images):
    plain, weighed = _learner("update"), _learner("update")
    _gradients(plain, images, batch, None, at_once=1)
    _gradients(weighed, images, batch, lambda losses: losses / losses.mean(), at_once=1)
    for one, other in zip(plain.backbone.buffers(), weighed.backbone.buffers(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("at_once", [PER_TASK, 10**9])
def test_weights_may_depend_on_the_losses_of_all_tasks(batch, images, at_once):
    def weigh(losses):
        return TASKS * losses.softmax(0)

    reference = _learner()
    losses = _losses(reference, images)
    wanted = torch.autograd.grad(losses @ weigh(losses.detach()) / TASKS, reference.meta_parameters())
    _assert_close(_gradients(_learner(), images, batch, weigh, at_once), wanted)


@pytest.mark.parametrize("at_once", [PER_TASK, 10**9])
def test_no_weights_are_weights_of_one(batch, images, at_once):
    wanted = _gradients(_learner(), images, batch, None, at_once)
    _assert_close(_gradients(_learner(), images, batch, torch.ones_like, at_once), wanted)


def test_measuring_gives_features_as_at_meta_test_and_leaves_the_learner_as_it_is(pictures):
    learner = _learner("update")
    wanted, buffers = torch.tensor([3, 59, 3, *range(20)]), copy.deepcopy(dict(learner.named_buffers()))
    features = measure(learner, pictures, wanted)
    assert not features.requires_grad
    assert all(torch.equal(now, buffers[name]) for name, now in learner.named_buffers())
    learner.eval()
    torch.testing.assert_close(features, learner.features(pictures(wanted)).detach())


def test_the_hardest_queries_of_a_meta_batch_alone_give_gradients(batch, images):
    learner = _learner()
    logits = learner.solve(images, WAY, SHOT)
    labels = episode_labels(TASKS, WAY, QUERIES, images.device)
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    count = TASKS * WAY * QUERIES // 4
    wanted = torch.autograd.grad(losses.topk(count).values.mean(), learner.meta_parameters())
    _assert_close(_step(learner, images, batch, queries=HardExampleMiner(0.25))[1], wanted)


@pytest.mark.parametrize("at_once", [2 * PER_TASK, 10**9])
def test_a_step_measures_the_features_that_it_learns_from(batch, images, at_once):
    learner = _learner()
    features = learner.features(images.flatten(0, 1)).detach().view(TASKS, PER_TASK, -1)
    wanted = inverse_fisher_ratio(features, WAY, SHOT)
    assert len(set(wanted.tolist())) == TASKS
    torch.testing.assert_close(_step(learner, images, batch, at_once)[0].fisher, wanted)


def test_a_meta_test_measures_the_features_of_its_episodes(batch, pictures):
    learner = _learner()
    learner.eval()
    features = learner.features(pictures(batch.image_indices().flatten())).detach().view(TASKS, PER_TASK, -1)
    outcome = measure(learner, pictures, batch)
    expected = inverse_fisher_ratio(features, WAY, SHOT)  # of other batches, which round otherwise
    torch.testing.assert_close(outcome.fisher, expected, rtol=2e-5, atol=0.0)


def test_features_that_depend_on_the_episode_are_not_measured(batch, images, pictures):
    learner = _learner("episode")
    assert _step(learner, images, batch)[0].fisher.isnan().all()
    assert measure(learner, pictures, batch).fisher.isnan().all()
