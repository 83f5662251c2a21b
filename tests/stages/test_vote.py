"""Networks of several rounds that vote: the arithmetic by hand, and what meta-training keeps of them."""

import signal

import pytest
import torch

from mtl.config import Backbone, Head, Meta, Runtime, read_config, to_dict
from mtl.data.augment import Normalise
from mtl.episodes.categories import UniformSampler
from mtl.episodes.class_index import ClassIndex
from mtl.errors import UserError
from mtl.hard_tasks.ledger import Ledger
from mtl.hard_tasks.views import rounds
from mtl.learners import MetaTransfer
from mtl.models.backbones import build_backbone
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.interrupt import Interrupted
from mtl.runtime.progress import Progress
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.stages.contenders import contenders, votes
from mtl.stages.material import load_material
from mtl.stages.meta_train import STAGE, meta_train
from mtl.stages.pretrain import pretrain
from mtl.stages.solving import Pictures, solve_episodes
from mtl.stages.trained import read_pretrained
from mtl.stages.vote import solve_by_vote, voters

WAY, SHOT, QUERIES, TASKS = 3, 2, 4, 6
CPU = choose_device(Runtime(device="cpu"))


@pytest.fixture
def pictures():
    images = torch.randint(0, 256, (60, 1, 16, 16), dtype=torch.uint8, generator=generator(0, "pixels"))
    return Pictures(images, Normalise((0.5,), (0.25,)), 7)


@pytest.fixture
def episodes():
    return UniformSampler(ClassIndex.of(torch.arange(60) % 6), WAY, SHOT, QUERIES, seed=0).draw(TASKS)


def _learner(seed):
    """Networks that differ from seed to seed, sure enough of themselves for their weights to matter."""
    backbone = build_backbone(Backbone(channels=(4,) * 4), 1, 16, generator(seed, "backbone"))
    config = Meta(way=WAY, shot=SHOT, queries=QUERIES, head=Head(name="prototype", scale=400.0))
    return MetaTransfer(backbone, config, CPU)


def _probabilities(learner, pictures, episodes):
    """(T, N·Q, N), one task after the other."""
    learner.set_mode(training=False)
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


@pytest.fixture(scope="module")
def made():
    """The bytes of the one pretrain.pt of this file."""
    return {}


@pytest.fixture
def trained(tiny, made):
    """Meta-trains a tiny run from the one pretrained backbone; its config."""

    def train(run="run", resume=False, **hard_tasks):
        config = tiny(run=run, hard_tasks={"snapshots": 2, **hard_tasks})
        folder = RunFolder.of(config)
        if not made:
            pretrain(config)
            made["pt"] = folder.pretrain.read_bytes()
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.pretrain.write_bytes(made["pt"])
        meta_train(config, resume)
        return config

    return train


def _kept(config):
    return checkpoints.read(RunFolder.of(config).meta)["snapshots"]


def _same(one, other):
    """Equal snapshots, tensors bit for bit."""
    assert [(k["step"], k["alpha"]) for k in one] == [(k["step"], k["alpha"]) for k in other]
    for mine, theirs in zip(one, other, strict=True):
        assert mine["learner"].keys() == theirs["learner"].keys()
        assert all(torch.equal(mine["learner"][k], theirs["learner"][k]) for k in mine["learner"])


@pytest.mark.parametrize("wanted", [1, 2, 5])
def test_kept_networks_are_those_of_the_last_rounds_with_their_alpha(trained, wanted):
    config = trained(snapshots=wanted)
    with Ledger.read(RunFolder.of(config).ledger) as ledger:
        last = rounds(ledger, STAGE)[-wanted:]
    kept = _kept(config)
    assert len(kept) == min(wanted, 3)  # rounds before steps 0, 3 and 6
    assert [k["step"] for k in kept] == [r.step for r in last]
    assert [k["alpha"] for k in kept] == pytest.approx([r.alpha for r in last])
    assert all(r.alpha > 0 for r in last)


def test_each_kept_network_is_the_one_that_its_round_tested(trained, monkeypatch):
    seen = []

    def spied(learner, pictures, episodes):
        if episodes.origin[0] == "meta-test":
            seen.append({k: v.clone() for k, v in learner.state_dict().items()})
        return solve_episodes(learner, pictures, episodes)

    monkeypatch.setattr("mtl.stages.meta_train.solve_episodes", spied)
    kept = _kept(trained(snapshots=3))
    assert len(seen) == len(kept) == 3
    for one, tested in zip(kept, seen, strict=True):
        assert all(torch.equal(one["learner"][k], tested[k]) for k in tested)
    assert any(not torch.equal(kept[0]["learner"][k], kept[2]["learner"][k]) for k in kept[0]["learner"])


@pytest.mark.parametrize("stops", [{1, 4, 7}, {6}], ids=str)
def test_kept_networks_survive_a_resume_bit_for_bit(trained, monkeypatch, stops):
    wanted = _kept(trained("whole"))
    plain = Progress.step

    def step(self, **numbers):
        plain(self, **numbers)
        if self.done in stops:
            stops.discard(self.done)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "step", step)
    while stops:
        with pytest.raises(Interrupted):
            trained("stopped", resume=True)
    _same(_kept(trained("stopped", resume=True)), wanted)


def test_a_checkpoint_with_kept_networks_holds_nothing_but_weights(trained):
    path = RunFolder.of(trained()).meta
    assert len(torch.load(path, map_location="cpu", weights_only=True)["snapshots"]) == 2


def test_nothing_is_kept_unless_it_is_asked_for(trained):
    assert _kept(trained(snapshots=0)) == []


def test_keeping_networks_does_not_change_the_training(trained):
    one, other = (checkpoints.read(RunFolder.of(trained(f"{n}", snapshots=n)).meta) for n in (0, 2))
    assert one["score"] == other["score"]
    assert all(torch.equal(one["learner"][k], other["learner"][k]) for k in one["learner"])


def _contenders(config):
    folder, material = RunFolder.of(config), load_material(config)
    payload, meta = read_pretrained(folder, config), checkpoints.read(folder.meta)
    return contenders(config, material, CPU, payload, meta), voters(
        meta, payload, config, material.splits.train, CPU
    )


@pytest.mark.parametrize(
    ("hard_tasks", "rows"),
    [
        ({"sampler": "boosted"}, ["vote of 2 rounds, by α", "vote of 2 rounds, each alike"]),
        ({"sampler": "class_pair"}, ["vote of 2 rounds, each alike"]),  # its rounds have no α
        ({"sampler": "uniform"}, []),
        ({"sampler": "boosted", "snapshots": 0}, []),
    ],
    ids=str,
)
def test_votes_stand_behind_the_learner_in_an_evaluation(trained, hard_tasks, rows):
    found, (learners, alphas) = _contenders(trained(**hard_tasks))
    assert [c.name for c in found][: 1 + len(rows)] == ["meta-trained (mtl)", *rows]
    assert len([c for c in found if "vote" in c.name]) == len(rows)
    assert len(learners) == len(alphas) == (2 if rows else 0)


def test_a_vote_is_mirrored_where_the_learner_beside_it_is(tiny, trained):
    """All rows of an evaluation look at the same views of an image."""
    trained()
    config = tiny(run="run", hard_tasks={"snapshots": 2}, evaluate={"mirror": True})
    found, (learners, alphas) = _contenders(config)
    material = load_material(config)
    episodes = material.fixed_episodes("test", 3, 1, 4, 30, 0, "evaluate")
    plain = solve_by_vote(learners, alphas, material.pictures("test", CPU), episodes)
    assert not torch.equal(found[1].solve(episodes).confusion, plain.confusion)


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
