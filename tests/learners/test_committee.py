"""Learners that vote: the sum of their logits, and that a committee is a learner like any other."""

import pytest
import torch

from mtl.config import Backbone, Head, Meta, Runtime
from mtl.data.variants import Variants
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.learners import Committee, MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator
from mtl.training.restore import voting
from mtl.training.solve import solve_episodes

WAY, SHOT, QUERIES, TASKS = 3, 2, 4, 6
CPU = choose_device(Runtime(device="cpu"))
HEADS = {
    "cosine prototypes": Head(name="prototype", scale=400.0),
    "prototypes": Head(name="prototype", metric="euclid", normalise=False),
    "levels and a map": Head(name="prototype", levels=2, map="linear", power=0.5),
    "ridge": Head(name="ridge"),
    "logistic": Head(name="logistic", power=0.5),
    "gradient descent": Head(),
}


@pytest.fixture
def episodes():
    shape = EpisodeShape(WAY, SHOT, QUERIES)
    return CategoriesSampler.of(ClassIndex.of(torch.arange(60) % 6), shape, 0).draw(TASKS)


def _learner(seed, head="cosine prototypes", train="all"):
    """Learners that differ from seed to seed: in the backbone, or in the head alone where that is trained."""
    start = generator(0 if train == "head" else seed, "backbone")
    config = Meta(way=WAY, shot=SHOT, queries=QUERIES, head=HEADS[head], train=train)
    learner = MetaTransfer(build_backbone(Backbone(channels=(4,) * 4), 1, 16, start), config, CPU)
    random = generator(seed, "head")
    with torch.no_grad():
        for parameter in learner.base_learner.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random))
    return learner.eval()


@torch.no_grad()
def _logits(learner, pictures, episodes):
    return learner.solve(pictures(episodes.image_indices()), WAY, SHOT)


@pytest.mark.parametrize("train", ["all", "head"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 1.7), (0.0, 1.0)], ids=str)
def test_the_logits_are_the_weighted_mean_of_the_members(pictures, episodes, head, weights, train):
    members = [_learner(seed, head, train) for seed in (0, 1)]
    one, other = (_logits(member, pictures, episodes) for member in members)
    expected = (weights[0] * one + weights[1] * other) / sum(weights)
    committee = Committee(members, weights).eval()
    torch.testing.assert_close(_logits(committee, pictures, episodes), expected, rtol=1e-4, atol=1e-4)
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("train", ["all", "head", "ss"])
def test_a_committee_of_one_is_that_learner(pictures, episodes, train):
    member = _learner(0, train=train)
    one, other = (solve_episodes(x, pictures, episodes) for x in (Committee([member], [0.7]), member))
    torch.testing.assert_close(one.confusion, other.confusion)
    assert torch.equal(one.predicted, other.predicted)


def test_members_with_a_frozen_backbone_share_it():
    shared, apart = (Committee([_learner(s, train=t) for s in range(3)], [1.0] * 3) for t in ("head", "all"))
    count = sum(p.numel() for p in _learner(0).backbone.parameters())
    assert sum(p.numel() for p in shared.backbone.parameters()) == count
    assert sum(p.numel() for p in apart.backbone.parameters()) == 3 * count
    assert shared.backbone_frozen
    assert not apart.backbone_frozen


def test_features_of_a_mirror_image_are_averaged_for_each_member(pictures):
    members = [_learner(seed) for seed in (0, 1)]
    images = pictures(torch.arange(5))
    with torch.no_grad():
        found = Committee(members, [1.0, 2.0]).eval().features(images, Variants(mirror=True))
        expected = torch.cat([member.features(images, Variants(mirror=True)) for member in members], 1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("alphas", "by_alpha", "votes"),
    [
        ([1.0, 3.0], True, [0.25, 0.75]),
        ([1.0, 3.0], False, [0.5, 0.5]),
        ([None, 3.0], True, [0.5, 0.5]),  # a round without an error
        ([0.0, 0.0], True, [0.5, 0.5]),
        ([0.0, 2.0], True, [0.0, 1.0]),
    ],
    ids=str,
)
def test_votes_are_by_alpha_where_all_have_one(alphas, by_alpha, votes):
    saved = [{"learner": _learner(seed).state_dict(), "alpha": a} for seed, a in enumerate(alphas)]
    committee = voting(saved, lambda: _learner(9), by_alpha)
    assert committee.base_learner.votes.tolist() == pytest.approx(votes)
    for member, one in zip(committee.backbone.backbones, saved, strict=True):
        weights = {k.removeprefix("backbone."): v for k, v in one["learner"].items() if "backbone" in k}
        assert all(torch.equal(v, weights[k]) for k, v in member.state_dict().items())
