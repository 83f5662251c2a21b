"""Every sampler and objective in a real meta-training, and steps whose tasks are weighed."""

import copy
import dataclasses
import itertools
import signal
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from mtl.config import Augment, Backbone, Config, HardTasks, Meta, Runtime
from mtl.data.augment import Normalise
from mtl.episodes.categories import UniformSampler
from mtl.episodes.class_index import ClassIndex
from mtl.episodes.samplers import build_sampler
from mtl.episodes.samplers.build import MIXED
from mtl.errors import UserError
from mtl.hard_tasks.canonical import dump
from mtl.hard_tasks.ledger import Ledger
from mtl.hard_tasks.objectives import build_objective
from mtl.hard_tasks.views import rounds
from mtl.learners import build_learner
from mtl.learners.types import episode_labels
from mtl.models.backbones import build_backbone
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.interrupt import Interrupted
from mtl.runtime.progress import Progress
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.stages.material import load_material
from mtl.stages.meta_train import STAGE, episode_images, meta_step, meta_train, survey
from mtl.stages.pretrain import pretrain
from mtl.stages.solving import Pictures

SAMPLERS = get_args(HardTasks.__annotations__["sampler"])
OBJECTIVES = get_args(HardTasks.__annotations__["objective"])
UNIFORM_ALONE = {"uniform", "uniform_difficulty"}
GROUPS = ("a",) * 5 + ("b",) * 4 + ("c",) * 2 + ("d",)
META = {"steps": 8, "validate_every": 8, "validate_tasks": 4}


@pytest.fixture(scope="module")
def made():
    """What all runs of this file share: bytes of a pretrain.pt, and the tiny image set in groups."""
    return {}


@pytest.fixture
def trained(tiny, made):
    """Meta-trains a tiny run from the one pretrained backbone; its folder."""

    def train(run, resume=False, **hard_tasks):
        config = tiny(run=run, meta=META, hard_tasks={"collect": 2, "hard": 3, **hard_tasks})
        folder = RunFolder.of(config)
        if not made:
            pretrain(config)
            made["pt"] = folder.pretrain.read_bytes()
            material = load_material(config)
            train = dataclasses.replace(material.splits.train, groups=GROUPS)
            splits = dataclasses.replace(material.splits, train=train)
            made["material"] = dataclasses.replace(material, splits=splits)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.pretrain.write_bytes(made["pt"])
        meta_train(config, resume, made["material"])
        return folder

    return train


@pytest.fixture
def index():
    """12 classes of 50 images."""
    return ClassIndex.of(torch.arange(600) % 12)


def _episodes(folder):
    """(origin, images, loss) of every episode in the ledger."""
    with Ledger.read(folder.ledger) as ledger:
        return ledger.sql.execute("SELECT origin, images, loss FROM episode ORDER BY id").fetchall()


def _plain(value):
    """Containers of plain values, for comparison with ==."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        *((name, "mean") for name in SAMPLERS),
        *itertools.product(["boosted", "easy", "fisher"], OBJECTIVES[1:]),
    ],
)
def test_it_trains_and_the_ledger_tells_what_was_drawn_and_when_rounds_were(trained, index, name, objective):
    folder = trained("run", sampler=name, objective=objective)
    assert folder.meta.exists()
    hard = HardTasks(name, collect=2, hard=3)
    sampler = build_sampler(Config(hard_tasks=hard), index, GROUPS)
    origins = [origin for origin, *_ in _episodes(folder)]
    expected = {"uniform"} if name in UNIFORM_ALONE else {"uniform", sampler.reason}
    assert set(origins) - {"meta-test"} == expected
    assert origins.count("meta-test") == (3 * 4 if name == "boosted" else 0)  # before steps 0, 3 and 6
    assert len(origins) - origins.count("meta-test") == 8 * 2
    with Ledger.read(folder.ledger) as ledger:
        found = rounds(ledger, STAGE)
    assert bool(found) == (name not in UNIFORM_ALONE)
    assert all(0 <= r.accuracy <= 1 for r in found)
    if name in {*MIXED, "within_group"}:
        assert [r.step for r in found] == ([0, 3, 6] if name in {"all_pairs", "boosted"} else [2, 5])


@pytest.mark.parametrize(
    "hard_tasks", [{"sampler": "uniform_difficulty"}, {"objective": "ohem"}, {"objective": "cvar"}]
)
def test_weights_of_tasks_change_what_is_learned_and_not_what_is_drawn(trained, hard_tasks):
    plain, weighed = (
        _episodes(trained(run, **{"sampler": "uniform", **more}))
        for run, more in (("plain", {}), ("weighed", hard_tasks))
    )
    assert [images for _, images, _ in plain] == [images for _, images, _ in weighed]
    first = [loss for *_, loss in plain[:2]]
    assert [loss for *_, loss in weighed[:2]] == first
    assert [loss for *_, loss in plain[-4:]] != [loss for *_, loss in weighed[-4:]]


@pytest.mark.parametrize(
    "hard_tasks",
    [
        {"sampler": "class_pair", "objective": "ohem"},
        {"sampler": "neighbours", "every": 2},
        {"sampler": "uniform_difficulty", "objective": "cvar"},
    ],
    ids=lambda h: "-".join(map(str, h.values())),
)
def test_a_training_that_was_stopped_goes_on_exactly(trained, monkeypatch, hard_tasks):
    stops, saved = {1, 3, 4, 7}, []
    save, step = RunFolder.save, Progress.step
    monkeypatch.setattr(RunFolder, "save", lambda self, p, r=None: (saved.append(p), save(self, p, r))[1])
    whole = trained("whole", **hard_tasks)

    def stopping(self, **numbers):
        step(self, **numbers)
        if self.done in stops:
            stops.discard(self.done)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "step", stopping)
    while stops:
        with pytest.raises(Interrupted):
            trained("stopped", resume=True, **hard_tasks)
    stopped = trained("stopped", resume=True, **hard_tasks)
    one, other = ({k: _plain(v) for k, v in p.items()} for p in saved if p["step"] == 8)
    for part in ("learner", "optimizer", "sampler", "objective", "best", "round"):
        assert one[part] == other[part], part
    results = [checkpoints.read(folder.meta) for folder in (whole, stopped)]
    assert _plain(results[0]["learner"]) == _plain(results[1]["learner"])
    with Ledger.read(whole.ledger) as ledger, Ledger.read(stopped.ledger) as again:
        assert list(dump(ledger)) == list(dump(again))


@pytest.mark.parametrize("meta", [{"batch_norm": "episode"}, {"algorithm": "maml"}], ids=str)
@pytest.mark.parametrize("sampler", ["fisher", "neighbours"])
def test_looking_at_features_is_refused_where_they_depend_on_the_episode(tiny, sampler, meta):
    """`Learner.features` answers only where it is `cacheable`; maml's are the pixels as they are."""
    with pytest.raises(UserError, match=r"hard_tasks\.sampler"):
        tiny(meta=meta, hard_tasks={"sampler": sampler}, evaluate={"settings": [[3, 1]]})


def test_weights_of_sampler_and_objective_are_multiplied(trained, monkeypatch, index):
    seen = []

    def spied(learner, optimizer, images, batch, at_once, weigh):
        def told(losses):
            seen.append((losses, weigh(losses)))
            return seen[-1][1]

        return meta_step(learner, optimizer, images, batch, at_once, told)

    monkeypatch.setattr("mtl.stages.meta_train.meta_step", spied)
    trained("run", sampler="uniform_difficulty", objective="cvar", tail=0.3)
    sampler = build_sampler(Config(hard_tasks=HardTasks("uniform_difficulty")), index)
    objective = build_objective("cvar", 0.3)
    assert len(seen) == 8
    for losses, weights in seen:
        torch.testing.assert_close(weights, sampler.weigh(losses) * objective.weigh(losses))
    assert len({w for _, weights in seen for w in weights.tolist()}) > 3


def test_where_all_tasks_count_alike_no_losses_are_found_out_beforehand(trained, monkeypatch):
    seen = []

    def spied(learner, optimizer, images, batch, at_once, weigh):
        seen.append(weigh)
        return meta_step(learner, optimizer, images, batch, at_once, weigh)

    monkeypatch.setattr("mtl.stages.meta_train.meta_step", spied)
    trained("run", sampler="posterior")
    assert seen == [None] * 8


WAY, SHOT, QUERIES, TASKS = 3, 2, 4, 5
PER_TASK = WAY * (SHOT + QUERIES)


@pytest.fixture
def batch():
    return UniformSampler(ClassIndex.of(torch.arange(60) % 6), WAY, SHOT, QUERIES, seed=0).draw(TASKS)


@pytest.fixture
def pictures():
    pixels = torch.randint(0, 256, (60, 1, 16, 16), dtype=torch.uint8, generator=generator(0, "pixels"))
    return Pictures(pixels, Normalise((0.5,), (0.25,)), 7)


@pytest.fixture
def images(batch, pictures):
    return episode_images(batch, pictures, Augment(), generator(0))


def _learner(batch_norm="frozen"):
    backbone = build_backbone(Backbone(channels=(8,) * 4), 1, 16, generator(0, "backbone"))
    config = Config(meta=Meta(way=WAY, shot=SHOT, queries=QUERIES, batch_norm=batch_norm))
    learner = build_learner(config, backbone, choose_device(Runtime(device="cpu")), generator(0))
    learner.set_mode(training=True)
    return learner


def _gradients(learner, images, batch, weigh, at_once=10**9):
    optimizer = torch.optim.SGD(learner.meta_parameters(), lr=1.0)
    meta_step(learner, optimizer, images, batch, at_once, weigh)
    return [p.grad for p in learner.meta_parameters()]


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


def test_a_task_of_no_weight_leaves_no_trace(batch, images):
    weights = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])
    other = images.clone()
    other[1] = images[1].flip(0)
    found, wanted = (_gradients(_learner(), given, batch, lambda _: weights) for given in (other, images))
    _assert_close(found, wanted)
    changed = _gradients(_learner(), other, batch, torch.ones_like)
    assert not torch.allclose(changed[0], _gradients(_learner(), images, batch, torch.ones_like)[0])


def test_a_survey_shows_features_as_at_meta_test_and_leaves_the_learner_as_it_is(pictures):
    class Sampler:
        def survey(self, step):
            return None if step % 2 else torch.tensor([3, 59, 3, *range(20)])

        def take_survey(self, features):
            self.seen = features

    learner, sampler = _learner("update"), Sampler()
    buffers = copy.deepcopy(dict(learner.named_buffers()))
    survey(sampler, 1, learner, pictures)
    assert not hasattr(sampler, "seen")
    survey(sampler, 2, learner, pictures)
    assert not sampler.seen.requires_grad
    assert all(torch.equal(now, buffers[name]) for name, now in learner.named_buffers())
    learner.set_mode(training=False)
    torch.testing.assert_close(sampler.seen, learner.features(pictures(sampler.survey(2))).detach())
