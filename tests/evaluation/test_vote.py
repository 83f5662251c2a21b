"""Networks that vote: the arithmetic by hand, and which configs allow it."""

import pytest
import torch

from mtl.config import Backbone, Head, Meta, Runtime, read_config, to_dict
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.episode import EpisodeShape
from mtl.errors import UserError
from mtl.evaluation.baselines import solve_by_vote, votes
from mtl.learners import MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator
from mtl.training.solve import solve_episodes

WAY, SHOT, QUERIES, TASKS = 3, 2, 4, 6
CPU = choose_device(Runtime(device="cpu"))


@pytest.fixture
def episodes():
    return CategoriesSampler.of(
        ClassIndex.of(torch.arange(60) % 6), EpisodeShape(WAY, SHOT, QUERIES), 0
    ).draw(TASKS)


def _learner(seed):
    """Networks that differ from seed to seed, sure enough of themselves for their weights to matter."""
    backbone = build_backbone(Backbone(channels=(4,) * 4), 1, 16, generator(seed, "backbone"))
    config = Meta(way=WAY, shot=SHOT, queries=QUERIES, head=Head(name="prototype", scale=400.0))
    return MetaTransfer(backbone, config, CPU)


def _probabilities(learner, pictures, episodes):
    """(T, N·Q, N), one task after the other."""
    learner.eval()
    with torch.no_grad():
        answers = [
            learner.solve(pictures(episodes[t : t + 1].image_indices()), WAY, SHOT)[0] for t in range(TASKS)
        ]
    return torch.stack(answers).softmax(-1)


def _assert_same(one, other):
    for part in ("loss", "accuracy", "recall", "confusion"):
        torch.testing.assert_close(getattr(one, part), getattr(other, part))


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 1.7), (2.0, 0.1), (0.0, 1.0)], ids=str)
def test_a_vote_is_the_weighed_mean_of_the_probabilities(pictures, episodes, weights):
    learners = [_learner(seed) for seed in (0, 1)]
    one, other = (_probabilities(learner, pictures, episodes) for learner in learners)
    mean = (weights[0] * one + weights[1] * other) / sum(weights)
    found = solve_by_vote(learners, weights, pictures, episodes)
    own = torch.arange(WAY).repeat_interleave(QUERIES)
    right = (mean.argmax(-1) == own).float().view(TASKS, WAY, QUERIES)
    torch.testing.assert_close(found.recall, right.mean(-1))
    torch.testing.assert_close(found.accuracy, right.mean((1, 2)))
    torch.testing.assert_close(found.confusion, mean.view(TASKS, WAY, QUERIES, WAY).mean(2))
    torch.testing.assert_close(found.loss, -mean[:, torch.arange(WAY * QUERIES), own].log().mean(1))
    assert (one - other).abs().max() > 0.1
    assert not torch.equal(one.argmax(-1), other.argmax(-1))


def test_a_vote_of_one_is_the_learner(pictures, episodes):
    learner = _learner(0)
    _assert_same(
        solve_by_vote([learner], [0.7], pictures, episodes), solve_episodes(learner, pictures, episodes)
    )


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e6])
def test_weights_scaled_by_a_constant_change_nothing(pictures, episodes, factor):
    learners, weights = [_learner(seed) for seed in range(3)], [0.5, 1.0, 2.0]
    scaled = [factor * w for w in weights]
    _assert_same(
        solve_by_vote(learners, scaled, pictures, episodes),
        solve_by_vote(learners, weights, pictures, episodes),
    )


def test_weights_change_the_vote(pictures, episodes):
    learners = [_learner(seed) for seed in (0, 1)]
    one, other = (solve_by_vote(learners, w, pictures, episodes) for w in ((3.0, 1.0), (1.0, 3.0)))
    assert (one.confusion - other.confusion).abs().max() > 0.05


def test_a_learner_that_is_sure_of_a_wrong_class_gives_a_finite_loss(pictures, episodes):
    learner = _learner(0)
    with torch.no_grad():
        learner.base_learner.log_scale.fill_(12.0)
    found = solve_by_vote([learner], [1.0], pictures, episodes)
    assert found.accuracy.min() < 1
    assert found.loss.isfinite().all()


def test_votes_by_alpha_are_left_out_where_no_round_had_one(pictures):
    learners = [_learner(seed) for seed in (0, 1)]
    assert [one.name for one in votes(learners, [0.0, 0.0], pictures)] == ["vote of 2 rounds, each alike"]
    names = ["vote of 2 rounds, by α", "vote of 2 rounds, each alike"]
    assert [one.name for one in votes(learners, [0.0, 0.4], pictures)] == names
    assert votes([], [], pictures) == []


def test_votes_weigh_as_their_names_say(pictures, episodes):
    learners, alphas = [_learner(seed) for seed in (0, 1)], [0.2, 1.4]
    by_alpha, alike = votes(learners, alphas, pictures)
    _assert_same(by_alpha.solve(episodes), solve_by_vote(learners, alphas, pictures, episodes))
    _assert_same(alike.solve(episodes), solve_by_vote(learners, [1.0, 1.0], pictures, episodes))


@pytest.mark.parametrize(
    "meta", [{"batch_norm": "episode"}, {"algorithm": "maml"}, {"algorithm": "meta_sgd"}], ids=str
)
def test_votes_need_features_that_do_not_depend_on_the_episode(tiny, meta):
    plain = to_dict(tiny(evaluate={"settings": [[3, 1]]}))
    read_config({**plain, "meta": {**plain["meta"], **meta}}, "here")
    with pytest.raises(UserError, match=r"hard_tasks\.snapshots") as caught:
        tiny(meta=meta, hard_tasks={"snapshots": 1}, evaluate={"settings": [[3, 1]]})
    assert str(caught.value).count("\n") == 1


def test_votes_of_anil_are_allowed(tiny):
    config = tiny(meta={"algorithm": "anil"}, hard_tasks={"snapshots": 1}, evaluate={"settings": [[3, 1]]})
    assert config.hard_tasks.snapshots == 1
