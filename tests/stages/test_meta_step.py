"""One step of meta-training: gradients added up over parts of a meta-batch are those of the whole."""

import copy

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Augment, Backbone, Config, Meta, Runtime
from mtl.data.augment import Normalise
from mtl.episodes.categories import UniformSampler
from mtl.episodes.class_index import ClassIndex
from mtl.learners import build_learner
from mtl.learners.types import episode_labels
from mtl.models.backbones import build_backbone
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator
from mtl.stages.meta_train import episode_images, meta_step
from mtl.stages.solving import Pictures

WAY, SHOT, QUERIES, TASKS = 3, 2, 4, 5
PER_TASK = WAY * (SHOT + QUERIES)


@pytest.fixture
def material():
    images = torch.randint(0, 256, (60, 1, 16, 16), dtype=torch.uint8, generator=generator(0, "pixels"))
    sampler = UniformSampler(ClassIndex.of(torch.arange(60) % 6), WAY, SHOT, QUERIES, seed=0)
    batch = sampler.draw(TASKS)
    pictures = Pictures(images, Normalise((0.5,), (0.25,)), 1000)
    return batch, episode_images(batch, pictures, Augment(), generator(0))


def _learner(batch_norm):
    backbone = build_backbone(Backbone(channels=(8,) * 4), 1, 16, generator(0, "backbone"))
    config = Config(meta=Meta(way=WAY, shot=SHOT, queries=QUERIES, batch_norm=batch_norm))
    learner = build_learner(config, backbone, choose_device(Runtime(device="cpu")), generator(0))
    learner.set_mode(training=True)
    return learner


def _after(learner, images, batch, at_once):
    """The outcome of a step of rate 1, and the gradients that it went by."""
    optimizer = torch.optim.SGD(learner.meta_parameters(), lr=1.0)
    outcome = meta_step(learner, optimizer, images, batch, at_once)
    return outcome, [p.grad for p in learner.meta_parameters()]


@pytest.mark.parametrize("batch_norm", ["frozen", "episode"])
@pytest.mark.parametrize("tasks", [1, 2, 4])
def test_parts_give_the_gradients_of_the_whole(material, batch_norm, tasks):
    batch, images = material
    whole, parts = (_learner(batch_norm) for _ in range(2))
    outcome, wanted = _after(whole, images, batch, at_once=10**9)
    in_parts, found = _after(parts, images, batch, at_once=tasks * PER_TASK + 1)
    torch.testing.assert_close(in_parts.confusion, outcome.confusion)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_task_is_never_torn(material):
    batch, images = material
    _, found = _after(_learner("frozen"), images, batch, at_once=1)
    _, wanted = _after(_learner("frozen"), images, batch, at_once=10**9)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_statistics_of_the_whole_meta_batch_need_it_whole(material):
    batch, images = material
    learner = _learner("update")
    passes = []
    learner.backbone.register_forward_hook(lambda _m, given, _out: passes.append(len(given[0])))
    _after(learner, images, batch, at_once=1)
    assert passes == [TASKS * PER_TASK]


def test_a_step_goes_down_the_mean_cross_entropy_of_all_queries(material):
    batch, images = material
    learner = _learner("frozen")
    reference = copy.deepcopy(learner)
    outcome, found = _after(learner, images, batch, at_once=10**9)
    labels = episode_labels(TASKS, WAY, QUERIES, images.device)
    loss = F.cross_entropy(reference.solve(images, WAY, SHOT).flatten(0, 1), labels.flatten())
    torch.testing.assert_close(outcome.loss.mean(), loss.detach())
    wanted = torch.autograd.grad(loss, reference.meta_parameters())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
