"""What is done to features before the head: the map, the noise, the length of levels."""

import math

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Backbone, Head, Meta, Runtime
from mtl.learners import MetaTransfer
from mtl.learners.learner import episode_labels
from mtl.models.backbones import build_backbone
from mtl.models.heads import BaseLearner
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import Draws, generator

T, N, K, Q, D = 2, 3, 2, 4, 12
LABELS = episode_labels(T, N, K, torch.device("cpu"))
HEADS = pytest.mark.parametrize(
    "head",
    [
        {"name": "gradient_descent", "init": "prototype"},
        {"name": "gradient_descent", "init": "zero", "normalise": False},
        {"name": "prototype"},
        {"name": "prototype", "metric": "euclid"},
        {"name": "ridge"},
        {"name": "logistic"},
    ],
    ids=lambda head: "-".join(map(str, head.values())),
)


def _task(features=D, seed=0):
    random = generator(seed, "features")
    return (torch.randn(T, N * n, features, generator=random) for n in (K, Q))


@HEADS
def test_a_map_starts_as_the_identity_on_unit_features(head):
    support, query = (F.normalize(x, dim=-1) for x in _task())
    plain, mapped = BaseLearner(Head(**head), D, N), BaseLearner(Head(**head, map="linear"), D, N)
    expected = plain(support, LABELS, query, N)
    torch.testing.assert_close(mapped(support, LABELS, query, N), expected, rtol=1e-4, atol=1e-4)
    assert (mapped(3 * support, LABELS, query, N) - expected).abs().max() < 1e-3  # lengths are gone before it


def test_a_map_is_linear_and_learned():
    learner = BaseLearner(Head(name="prototype", map="linear"), D, N)
    assert learner.map.weight.shape == (D, D)
    assert {"map.weight", "map.bias"} <= {name for name, p in learner.named_parameters() if p.requires_grad}
    support, query = _task()
    loss = F.cross_entropy(learner(support, LABELS, query, N).mT, episode_labels(T, N, Q, LABELS.device))
    loss.backward()
    assert learner.map.weight.grad.abs().max() > 0
    with torch.no_grad():
        learner.map.weight.copy_(torch.arange(float(D * D)).view(D, D))
        learner.map.bias.fill_(2.0)
        unit = F.normalize(support, dim=-1)
        expected = unit @ torch.arange(float(D * D)).view(D, D).T + 2
        torch.testing.assert_close(learner.transform_features(support), expected)


def test_without_a_map_there_are_no_weights_for_one():
    assert not [name for name, _ in BaseLearner(Head(), D, N).named_parameters() if "map" in name]


@HEADS
def test_without_a_generator_there_is_no_noise(head):
    plain, noisy = BaseLearner(Head(**head), D, N), BaseLearner(Head(**head, noise=0.8), D, N)
    support, query = _task()
    assert torch.equal(plain.transform_features(support), noisy.transform_features(support))
    assert torch.equal(plain(support, LABELS, query, N), noisy(support, LABELS, query, N))


@pytest.mark.parametrize("noise", [0.1, 1.0])
@pytest.mark.parametrize("features", [16, 400])
def test_noise_has_the_share_of_the_length_that_the_config_says(noise, features):
    learner = BaseLearner(Head(name="prototype", noise=noise), features, N)
    given = torch.randn(3000, features, generator=generator(1)) * torch.logspace(-2, 2, 3000)[:, None]
    added = learner.transform_features(given, Draws(generator(2))) - given
    shares = added.norm(dim=-1) / given.norm(dim=-1)
    assert float(shares.square().mean().sqrt()) == pytest.approx(noise, rel=0.02)
    assert float(shares[:100].mean()) == pytest.approx(float(shares[-100:].mean()), rel=0.15)


def test_noise_is_of_one_size_in_every_direction():
    learner = BaseLearner(Head(name="prototype", noise=0.5), D, N)
    given = torch.zeros(20_000, D)
    given[:, 0] = 1.0
    added = learner.transform_features(given, Draws(generator(3))) - given
    covariance = added.T @ added / len(added)
    torch.testing.assert_close(covariance, 0.25 / D * torch.eye(D), rtol=0, atol=0.05 * 0.25 / D)
    assert float(added.mean(0).abs().max()) < 5 * math.sqrt(0.25 / D / len(added))


def test_noise_comes_behind_the_map_and_before_the_length():
    how = {"name": "ridge", "map": "linear", "noise": 0.7}
    learner = BaseLearner(Head(**how), D, N)
    with torch.no_grad():
        learner.map.weight.mul_(5.0)
    given = torch.randn(4, 9, D, generator=generator(4))
    mapped = 5 * F.normalize(given, dim=-1)
    noise = torch.randn(4, 9, D, generator=generator(5))
    expected = mapped + 0.7 * mapped.norm(dim=-1, keepdim=True) * noise / D**0.5
    expected = F.normalize(expected, dim=-1) * learner.log_scale.exp()
    torch.testing.assert_close(learner.transform_features(given, Draws(generator(5))), expected)


def test_noise_follows_the_generator_alone():
    learner = BaseLearner(Head(noise=0.5), D, N)
    given = torch.randn(6, D, generator=generator(1))
    one, again, other = (learner.transform_features(given, Draws(generator(seed))) for seed in (7, 7, 8))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    random = generator(7)
    assert torch.equal(learner.transform_features(given, Draws(random)), one)
    assert not torch.equal(learner.transform_features(given, Draws(random)), one)  # a generator goes on


def test_features_are_drawn_noise_one_by_one_however_they_are_stacked():
    learner = BaseLearner(Head(noise=0.5), D, N)
    given = torch.randn(4, 6, D, generator=generator(1))
    flat = learner.transform_features(given.flatten(0, 1), Draws(generator(2)))
    torch.testing.assert_close(learner.transform_features(given, Draws(generator(2))).flatten(0, 1), flat)


@pytest.fixture
def learner():
    backbone = build_backbone(Backbone(channels=(4,) * 4), 1, 16, generator(0))
    meta = Meta(way=N, shot=K, queries=Q, train="head", head=Head(name="prototype", noise=0.5))
    return MetaTransfer(backbone, meta, choose_device(Runtime(device="cpu")))


@pytest.fixture
def images():
    return torch.randn(5, 1, 16, 16, generator=generator(1))


def test_noise_is_added_in_training_alone_and_with_its_generator(learner, images):
    learner.eval()
    plain = learner.features(images)
    for training, random in ((False, Draws(generator(2))), (True, None)):
        learner.train(training, random)
        assert torch.equal(learner.features(images), plain)
    learner.train(noise=Draws(generator(2)))
    noisy = learner.features(images)
    assert not torch.equal(noisy, plain)
    learner.eval()
    assert torch.equal(learner.features(images), plain)
    learner.train(noise=Draws(generator(2)))
    assert torch.equal(learner.features(images), noisy)


def test_support_and_queries_of_a_task_in_training_are_blurred_each_by_itself(learner, images):
    learner.train(noise=Draws(generator(2)))
    same = images[:1].expand(6, -1, -1, -1)
    found = learner.features(same)
    assert len({tuple(row) for row in found.tolist()}) == 6


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_each_level_is_brought_to_length_one(power):
    sizes = [5, 3, 4]
    learner = BaseLearner(Head(name="prototype", power=power, levels=3), sizes, N)
    given = torch.randn(7, 12, generator=generator(1)) * torch.tensor([100.0] * 5 + [1.0] * 3 + [1e-2] * 4)
    found = torch.split(learner.transform_features(given), sizes, -1)
    assert [part.shape[-1] for part in found] == sizes
    bent = given if power == 1 else given.sign() * ((given.abs() + 1e-4) ** 0.5 - 1e-2)
    for part, before in zip(found, torch.split(bent, sizes, -1), strict=True):
        torch.testing.assert_close(part.norm(dim=-1), torch.ones(7))
        torch.testing.assert_close(part, F.normalize(before, dim=-1))


def test_levels_before_a_map_make_one_unit_feature():
    learner = BaseLearner(Head(name="prototype", map="linear", levels=2), [5, 3], N)
    given = torch.randn(7, 8, generator=generator(1)) * torch.tensor([100.0] * 5 + [1.0] * 3)
    found = learner.transform_features(given)
    torch.testing.assert_close(found[:, :5].norm(dim=-1), torch.full((7,), 0.5**0.5))
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(7))
    assert learner.map.weight.shape == (8, 8)


def test_one_level_keeps_its_length_as_before():
    given = torch.randn(7, D, generator=generator(1))
    for features in (D, [D]):
        assert torch.equal(BaseLearner(Head(name="prototype"), features, N).transform_features(given), given)


def test_a_level_that_is_zero_stays_zero():
    learner = BaseLearner(Head(name="prototype", levels=2), [4, 4], N)
    given = torch.cat([torch.zeros(3, 4), torch.ones(3, 4)], -1)
    found = learner.transform_features(given)
    assert found.isfinite().all()
    assert torch.equal(found[:, :4], torch.zeros(3, 4))
