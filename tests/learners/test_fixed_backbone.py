"""`meta.train: head`: the backbone stays as it was pretrained, and features that are kept change nothing."""

import copy

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Head, Meta
from mtl.data.variants import PLAIN
from mtl.episodes.categories import CategoriesSampler
from mtl.episodes.episode import EpisodeShape
from mtl.learners import MetaTransfer
from mtl.learners.learner import episode_labels
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import Draws, derive_seed, generator
from mtl.training import meta_train_state as stage
from mtl.training.meta_train import meta_train
from mtl.training.restore import learner_from_pretrained, read_pretrained
from mtl.training.run_data import load_run_data
from mtl.training.stage import warm_up_cosine

WAY, SHOT, QUERIES = 3, 2, 4
HEAD = {"name": "prototype", "power": 0.5, "levels": 2, "map": "linear", "noise": 0.5}
FIXED = {"train": "head", "batch_norm": "frozen", "augment": False, "lr": 0.02, "head": HEAD}


@pytest.fixture
def learner(backbone, cpu):
    def make(**config):
        meta = Meta(way=WAY, shot=SHOT, queries=QUERIES, **{"train": "head", **config})
        return MetaTransfer(backbone(), meta, cpu)

    return make


def test_the_head_alone_learns(learner):
    made = learner(head=Head(map="linear", init="learned"))
    names = {name for name, p in made.named_parameters() if p.requires_grad}
    assert names == {
        f"base_learner.{n}" for n in ("log_scale", "log_inner_lr", "map.weight", "map.bias", "weight", "bias")
    }
    assert {id(p) for p in made.meta_parameters()} == {id(p) for p in made.parameters() if p.requires_grad}
    assert not any("parametrizations" in name for name, _ in made.named_parameters())


@pytest.mark.parametrize("batch_norm", ["frozen", "update", "episode"])
def test_a_step_moves_the_head_and_no_weight_of_the_backbone(learner, episodes, batch_norm):
    made = learner(batch_norm=batch_norm, head=Head(name="prototype", map="linear"))
    before = copy.deepcopy(made.state_dict())
    optimizer = torch.optim.Adam(made.meta_parameters(), lr=0.1, weight_decay=0.1)
    made.train()
    logits = made.solve(episodes(2, WAY, SHOT, QUERIES), WAY, SHOT)
    labels = episode_labels(2, WAY, QUERIES, logits.device)
    F.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
    optimizer.step()
    moved = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    of_head = {name for name in moved if name.startswith("base_learner.")}
    assert of_head == {"base_learner.log_scale", "base_learner.map.weight", "base_learner.map.bias"}
    statistics = {
        name for name in moved - of_head if ".running_" in name or name.endswith("num_batches_tracked")
    }
    assert moved - of_head == statistics
    assert bool(statistics) == (batch_norm == "update")


@pytest.mark.parametrize(
    ("config", "fixed"),
    [
        ({}, True),
        ({"batch_norm": "update"}, False),
        ({"batch_norm": "episode"}, False),
        ({"train": "ss"}, False),
        ({"train": "all"}, False),
    ],
    ids=str,
)
def test_a_backbone_is_fixed_where_nothing_in_it_moves(learner, config, fixed):
    assert learner(**config).backbone_frozen == fixed


@pytest.mark.parametrize("head", [{}, HEAD, {"name": "ridge", "levels": 4}], ids=str)
def test_features_are_what_the_head_makes_of_those_of_the_backbone(learner, episodes, head):
    made = learner(head=Head(**head))
    images = episodes(1, WAY, SHOT, QUERIES)[0]
    made.eval()
    kept = made.backbone_features(images)
    for training in (False, True):
        made.train(training, Draws(generator(1)))
        found = made.features(images)
        made.train(training, Draws(generator(1)))
        assert torch.equal(made.transform_features(kept), found)
        assert torch.equal(made.backbone_features(images), kept)


@pytest.fixture
def trained(tiny, from_pretrained, saved):
    """Meta-trains the head of a tiny run; what its last checkpoint held, its measurements and its config."""

    def train(run="run", tables=None, meta=(), **hard_tasks):
        config = tiny(run=run, meta={**FIXED, **dict(meta)}, hard_tasks={"sampler": "uniform", **hard_tasks})
        from_pretrained(config)
        meta_train(config, tables=tables)
        return saved[-1], config

    return train


def _assert_close(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


def test_meta_training_leaves_the_backbone_as_it_was_pretrained(trained):
    state, config = trained()
    pretrained = checkpoints.read(RunFolder.of(config).pretrain)["backbone"]
    for name, value in pretrained.items():
        assert torch.equal(state["learner"][f"backbone.{name}"], value)
    learner = state["learner"]
    assert not torch.equal(
        learner["base_learner.map.weight"], torch.eye(len(learner["base_learner.map.bias"]))
    )
    assert learner["base_learner.map.bias"].abs().max() > 0
    assert float(learner["base_learner.log_scale"].exp()) != 10.0


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_kept_features_train_like_a_loop_that_keeps_none(trained, noise):
    """The loop by hand: images pass the backbone in every step, and Adam takes the mean loss of the tasks."""
    state, config = trained(meta={"head": {**HEAD, "noise": noise}})
    run_data, how = load_run_data(config), config.meta
    payload, train = read_pretrained(RunFolder.of(config), config), run_data.splits.train
    learner = learner_from_pretrained(payload, config, train, stage.choose_device(config.runtime))
    seed = derive_seed(config.seed, "meta-train")
    sampler = CategoriesSampler.of(
        run_data.index("train"), EpisodeShape(how.way, how.shot, how.queries), seed
    )
    optimizer, losses = torch.optim.Adam(learner.meta_parameters(), lr=how.lr), []
    for step in range(how.steps):
        batch = sampler.draw(how.tasks)
        images = run_data.normalise(train.images[batch.image_indices().flatten()])
        optimizer.param_groups[0]["lr"] = how.lr * warm_up_cosine(step, how.steps, 0.0)
        learner.train(noise=Draws(generator(config.seed, "noise", step)))
        logits = learner.solve(images.view(how.tasks, -1, *images.shape[1:]), how.way, how.shot)
        labels = episode_labels(how.tasks, how.way, how.queries, logits.device)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    _assert_close(learner.state_dict(), state["learner"])
    rows = [row for row in RunFolder.of(config).metrics.read_text().splitlines() if '"loss"' in row]
    told = [float(row.split('"loss": ')[1].split(",")[0]) for row in rows if '"meta-train"' in row]
    means = [sum(losses[:4]) / 4, sum(losses[4:]) / 4]  # a line tells of the steps since the one before
    assert told == pytest.approx(means, rel=1e-4)


@pytest.mark.parametrize(
    "hard_tasks",
    [
        {"sampler": "boosted_pool"},
        {"sampler": "neighbours", "every": 2, "neighbours": {"nearest": 4}},
        {"sampler": "uniform", "objective": "ohem"},
    ],
    ids=str,
)
def test_kept_features_draw_and_train_like_images(trained, monkeypatch, hard_tasks):
    kept, _ = trained("kept", **hard_tasks)
    calls = []
    monkeypatch.setattr(stage, "with_table", lambda learner, pictures, *_: (calls.append(1), pictures)[1])
    plain, _ = trained("plain", **hard_tasks)
    assert len(calls) == 2
    _assert_close(kept["learner"], plain["learner"])
    assert kept["best"]["score"] == pytest.approx(plain["best"]["score"], abs=1e-6)


def _passes(monkeypatch):
    """How many images pass the backbone, call by call."""
    seen = []
    plain = MetaTransfer.backbone_features, MetaTransfer.features

    def kept(self, images):
        seen.append(len(images))
        return plain[0](self, images)

    def features(self, images, variants=PLAIN):
        seen.append(len(images))
        return plain[1](self, images, variants)

    monkeypatch.setattr(MetaTransfer, "backbone_features", kept)
    monkeypatch.setattr(MetaTransfer, "features", features)
    return seen


def test_every_image_passes_a_fixed_backbone_once_and_for_all_runs_of_a_checkpoint(trained, monkeypatch):
    seen, tables = _passes(monkeypatch), {}
    first, _ = trained("first", tables)
    assert sum(seen) == 12 * 12 + 5 * 12  # of training and validation
    assert {name: len(table) for name, table in tables.items()} == {"train 2": 144, "val 2": 60}
    again, _ = trained("again", tables)
    assert sum(seen) == 12 * 12 + 5 * 12
    for name, value in first["learner"].items():
        assert torch.equal(again["learner"][name], value)


def test_images_that_are_changed_pass_the_backbone_in_every_step(trained, monkeypatch):
    seen, tables = _passes(monkeypatch), {}
    trained("changed", tables, meta={"augment": True})
    assert list(tables) == ["val 2"]  # validation changes no image
    assert seen == [60] + 8 * [2 * 3 * (1 + 3)]


def test_a_backbone_that_learns_keeps_no_features(trained):
    tables = {}
    trained("learning", tables, meta={"train": "all", "head": {"name": "prototype"}})
    assert tables == {}


@pytest.mark.parametrize("levels", [(1, 2), (2, 1)], ids=str)
def test_features_kept_for_one_head_do_not_serve_another_that_reads_other_levels(trained, levels):
    """`tables` are shared by all runs of a checkpoint, and how many levels are read is the head's own."""
    tables, head = {}, {"name": "prototype"}
    for number in levels:
        shared, _ = trained(f"shared {number}", tables, meta={"head": {**head, "levels": number}})
    own, _ = trained("own", {}, meta={"head": {**head, "levels": levels[1]}})
    _assert_close(shared["learner"], own["learner"])
    assert shared["best"]["score"] == own["best"]["score"]
