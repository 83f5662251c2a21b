"""Meta-transfer learning: what learns, what stays, and that tasks do not disturb one another."""

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Head, Meta
from mtl.data.variants import Variants
from mtl.learners import MetaTransfer
from mtl.learners.learner import episode_labels
from mtl.models.batch_norm import norms
from mtl.models.heads import BaseLearner
from mtl.models.scale_shift import fold_scale_shift

WAY, SHOT, QUERIES = 3, 2, 4
LABELS = episode_labels(1, WAY, QUERIES, torch.device("cpu"))[0]


@pytest.fixture
def learner(backbone, cpu):
    def make(**config):
        return MetaTransfer(backbone(), Meta(way=WAY, shot=SHOT, queries=QUERIES, **config), cpu)

    return make


def _train(learner, images, steps=1):
    parameters = learner.meta_parameters()
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for _ in range(steps):
        learner.train()
        logits = learner.solve(images, WAY, SHOT)
        optimizer.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), LABELS.repeat(len(images))).backward()
        optimizer.step()
    return logits


def _what_moved(learner, images):
    """Names of the weights that one step of training changes."""
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    _train(learner, images)
    return {name for name, p in learner.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.parametrize(
    ("train", "counts"),
    [  # of scalings and shiftings, of the norms, of the convolutions, all learned
        ("ss", (8, 0, 0)),
        ("ss_affine", (8, 8, 0)),
        ("all", (0, 8, 8)),
    ],
)
def test_a_step_changes_what_the_config_names_and_the_base_learner(learner, episodes, train, counts):
    made = learner(train=train, head=Head(init="learned"))
    moved = _what_moved(made, episodes(2, WAY, SHOT, QUERIES))
    assert {n for n, _ in made.named_parameters() if n.startswith("base_learner.")} <= moved
    ss = {n for n in moved if "parametrizations" in n and n.endswith((".factor", ".offset"))}
    in_norms, in_convs = ({n for n in moved - ss if f".{kind}." in n} for kind in ("norms", "convs"))
    assert (len(ss), len(in_norms), len(in_convs)) == counts
    assert len(moved) == sum(counts) + 4
    assert any("parametrizations" in n for n, _ in made.named_parameters()) == (train != "all")


@pytest.mark.parametrize("train", ["ss", "ss_affine", "all"])
def test_meta_parameters_are_just_those_that_want_gradients(learner, train):
    made = learner(train=train)
    listed = [id(p) for p in made.meta_parameters()]
    assert len(set(listed)) == len(listed)
    assert set(listed) == {id(p) for p in made.parameters() if p.requires_grad}


@pytest.mark.parametrize("train", ["ss", "all"])
def test_at_its_start_it_is_the_base_learner_on_the_pretrained_features(learner, backbone, episodes, train):
    images, made = episodes(2, WAY, SHOT, QUERIES), learner(train=train)
    made.eval()
    features = backbone().eval()(images.flatten(0, 1)).view(2, WAY * (SHOT + QUERIES), -1)
    labels = episode_labels(2, WAY, SHOT, torch.device("cpu"))
    head = BaseLearner(Head(), features.shape[-1], WAY)
    expected = head(features[:, : WAY * SHOT], labels, features[:, WAY * SHOT :], WAY)
    torch.testing.assert_close(made.solve(images, WAY, SHOT), expected)


def test_frozen_norms_keep_their_running_statistics(learner, episodes):
    made = learner(batch_norm="frozen")
    before = [b.clone() for n in norms(made) for b in n.buffers()]
    _train(made, episodes(2, WAY, SHOT, QUERIES))
    assert all(
        torch.equal(a, b) for a, b in zip(before, (b for n in norms(made) for b in n.buffers()), strict=True)
    )


def test_updated_norms_use_the_whole_meta_batch_and_running_statistics_follow(learner, episodes):
    images = episodes(2, WAY, SHOT, QUERIES)
    made = learner(batch_norm="update")
    before = norms(made)[0].running_mean.clone()
    made.train()
    made.solve(images, WAY, SHOT)
    of_batch = made.backbone.convs[0](images.flatten(0, 1)).mean((0, 2, 3))
    torch.testing.assert_close(norms(made)[0].running_mean, 0.9 * before + 0.1 * of_batch)

    made.eval()
    before = norms(made)[0].running_mean.clone()
    made.solve(images, WAY, SHOT)
    assert torch.equal(norms(made)[0].running_mean, before)


@pytest.mark.parametrize("training", [True, False])
def test_by_its_own_statistics_a_task_does_not_depend_on_the_others(learner, episodes, training):
    images = episodes(3, WAY, SHOT, QUERIES)
    made = learner(batch_norm="episode")
    made.train(training)
    before = {name: b.clone() for name, b in made.named_buffers()}
    together = made.solve(images, WAY, SHOT)
    for t in range(3):
        torch.testing.assert_close(made.solve(images[t : t + 1], WAY, SHOT)[0], together[t])
    assert all(torch.equal(b, before[name]) for name, b in made.named_buffers())

    made.train(training)
    task = images[0]
    plain = F.batch_norm(made.backbone.convs[0](task), None, None, training=True)
    torch.testing.assert_close(made.backbone.norms[0](made.backbone.convs[0](task)), plain)


@pytest.mark.parametrize("batch_norm", ["frozen", "update"])
def test_features_computed_once_give_the_same_answers(learner, episodes, batch_norm):
    images, made = episodes(3, WAY, SHOT, QUERIES), learner(batch_norm=batch_norm)
    assert made.features_cacheable
    assert not learner(batch_norm="episode").features_cacheable
    _train(made, images)
    made.eval()
    features = torch.stack([made.features(task) for task in images])
    torch.testing.assert_close(made.solve_features(features, WAY, SHOT), made.solve(images, WAY, SHOT))


def test_trained_scaling_and_shifting_can_be_folded_into_the_backbone(learner, episodes):
    images, made = episodes(2, WAY, SHOT, QUERIES), learner(train="ss")
    _train(made, images, steps=2)
    made.eval()
    before = made.solve(images, WAY, SHOT)
    fold_scale_shift(made.backbone)
    torch.testing.assert_close(made.solve(images, WAY, SHOT), before)


def test_mirrored_features_are_averaged_before_they_are_brought_to_length(learner, episodes):
    images, made = episodes(1, WAY, SHOT, QUERIES)[0], learner(head=Head(power=0.5))
    made.eval()
    mean = (made.backbone(images) + made.backbone(images.flip(-1))) / 2
    torch.testing.assert_close(
        made.features(images, Variants(mirror=True)), made.base_learner.transform_features(mean)
    )
    length = made.features(images, Variants(mirror=True)).norm(dim=-1)
    torch.testing.assert_close(length, made.base_learner.log_scale.exp().expand_as(length))
