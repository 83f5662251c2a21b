"""Meta-transfer learning: what learns, what stays, and that tasks do not disturb one another."""

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Config, Head, Meta
from mtl.learners import MetaTransfer, build_learner
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


def _is_ss(name):
    return "parametrizations" in name and name.endswith((".factor", ".offset"))


def _is_norm(name):
    return ".norms." in name


def test_ss_trains_scaling_shifting_and_the_head_alone(learner, episodes):
    made = learner(train="ss", head=Head(init="learned"))
    moved = _what_moved(made, episodes(2, WAY, SHOT, QUERIES))
    ss = {name for name, _ in made.named_parameters() if _is_ss(name)}
    head = {name for name, _ in made.named_parameters() if name.startswith("base_learner.")}
    assert len(ss) == 8
    assert moved == ss | head


def test_ss_affine_trains_the_norms_besides(learner, episodes):
    images = episodes(2, WAY, SHOT, QUERIES)
    moved = _what_moved(learner(train="ss_affine"), images)
    more = moved - _what_moved(learner(train="ss"), images)
    assert len(more) == 8
    assert all(_is_norm(name) for name in more)


def test_all_trains_every_weight_and_has_no_ss(learner, episodes):
    made = learner(train="all")
    moved = _what_moved(made, episodes(2, WAY, SHOT, QUERIES))
    names = {name for name, _ in made.named_parameters()}
    assert not any("parametrizations" in name for name in names)
    assert moved == names


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
    _train(made, images)
    made.eval()
    features = torch.stack([made.features(task) for task in images])
    torch.testing.assert_close(made.solve_features(features, WAY, SHOT), made.solve(images, WAY, SHOT))


def test_features_that_depend_on_the_episode_are_not_computed_once(learner):
    assert not learner(batch_norm="episode").features_cacheable


def test_training_lowers_the_loss(learner, episodes):
    images, made = episodes(4, WAY, SHOT, QUERIES), learner(train="ss")
    targets = LABELS.repeat(4)
    first = F.cross_entropy(_train(made, images).flatten(0, 1), targets)
    last = F.cross_entropy(_train(made, images, steps=10).flatten(0, 1), targets)
    assert last < first - 0.05


def test_trained_scaling_and_shifting_can_be_folded_into_the_backbone(learner, episodes):
    images, made = episodes(2, WAY, SHOT, QUERIES), learner(train="ss")
    _train(made, images, steps=2)
    made.eval()
    before = made.solve(images, WAY, SHOT)
    fold_scale_shift(made.backbone)
    torch.testing.assert_close(made.solve(images, WAY, SHOT), before)


def test_a_saved_learner_answers_as_before(learner, episodes):
    images, made, other = episodes(2, WAY, SHOT, QUERIES), learner(), learner()
    _train(made, images)
    other.load_state_dict(made.state_dict())
    for one in (made, other):
        one.eval()
    assert torch.equal(made.solve(images, WAY, SHOT), other.solve(images, WAY, SHOT))


def test_it_is_what_a_config_builds_by_default(backbone, cpu):
    assert isinstance(build_learner(Config(), backbone(), cpu, torch.Generator()), MetaTransfer)


def test_mirrored_features_are_averaged_before_they_are_brought_to_length(learner, episodes):
    images, made = episodes(1, WAY, SHOT, QUERIES)[0], learner(head=Head(power=0.5))
    made.eval()
    mean = (made.backbone(images) + made.backbone(images.flip(-1))) / 2
    torch.testing.assert_close(made.features(images, mirror=True), made.base_learner.transform_features(mean))
    length = made.features(images, mirror=True).norm(dim=-1)
    torch.testing.assert_close(length, made.base_learner.log_scale.exp().expand_as(length))
