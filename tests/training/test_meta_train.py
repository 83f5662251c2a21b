"""Every sampler and objective in a real meta-training."""

import math
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from sampler_options import hard_tasks, nested

from mtl.config import Config, HardTasks, Meta
from mtl.episodes.class_index import ClassIndex
from mtl.errors import UserError
from mtl.ledger.queries import rounds
from mtl.ledger.store import Ledger
from mtl.samplers import build_sampler
from mtl.samplers.build import MIXED
from mtl.samplers.objectives import build_objective
from mtl.training.meta_train import meta_step, meta_train, validate
from mtl.training.meta_train_state import STAGE

SAMPLERS = get_args(HardTasks.__annotations__["sampler"])
UNIFORM_ALONE = {"uniform", "uniform_difficulty"}
GROUPS = ("a",) * 5 + ("b",) * 4 + ("c",) * 2 + ("d",)
META = {"steps": 8, "validate_every": 8, "validate_tasks": 4}


@pytest.fixture
def trained(tiny, from_pretrained, in_groups):
    """Meta-trains a tiny run from the pretrained backbone, its classes in groups; its folder."""

    def train(run, resume=False, **hard_tasks):
        config = tiny(run=run, meta=META, hard_tasks=nested(**{"collect": 2, "hard": 3, **hard_tasks}))
        folder = from_pretrained(config)
        meta_train(config, resume, in_groups(config, GROUPS))
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


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        *((name, "mean") for name in SAMPLERS),
        ("boosted_pool", "ohem"),
        ("fisher", "cvar"),
    ],
)
def test_it_trains_and_the_ledger_tells_what_was_drawn_and_when_rounds_were(trained, index, name, objective):
    folder = trained("run", sampler=name, objective=objective)
    assert folder.meta.exists()
    sampler = build_sampler(Config(hard_tasks=hard_tasks(name, collect=2, hard=3)), index, GROUPS)
    origins = [origin for origin, *_ in _episodes(folder)]
    expected = {"uniform"} if name in UNIFORM_ALONE else {"uniform", sampler.reason}
    assert set(origins) - {"meta-test"} == expected
    assert origins.count("meta-test") == (3 * 4 if name == "boosted_pool" else 0)  # before steps 0, 3 and 6
    assert len(origins) - origins.count("meta-test") == 8 * 2
    with Ledger.read(folder.ledger) as ledger:
        found = rounds(ledger, STAGE)
    assert bool(found) == (name not in UNIFORM_ALONE)
    assert all(0 <= r.accuracy <= 1 for r in found)
    if name in {*MIXED, "within_group"}:
        assert [r.step for r in found] == (
            [0, 3, 6] if name in {"boosted", "boosted_pool", "neighbours"} else [2, 5]
        )


@pytest.mark.parametrize("unit", ["task", "class", "pair"])
def test_the_weight_of_a_round_is_that_of_samme_with_the_chance_of_its_unit(trained, unit):
    folder = trained("run", sampler="boosted_pool", unit=unit, rate=1.0, cap=100.0)
    config = folder.read_config()
    chance = 1 / 2 if unit == "pair" else 1 - 1 / config.meta.way
    with Ledger.read(folder.ledger) as ledger:
        found = rounds(ledger, STAGE)
    assert len(found) == 3
    for r in found:
        alpha = math.log((1 - r.epsilon) / r.epsilon) - math.log((1 - chance) / chance)
        assert r.alpha == pytest.approx(max(alpha, 0))
    assert any(r.alpha > 0 for r in found)


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


@pytest.mark.parametrize("meta", [{"batch_norm": "episode"}, {"algorithm": "maml"}], ids=str)
@pytest.mark.parametrize("sampler", ["fisher", "neighbours"])
def test_looking_at_features_is_refused_where_they_depend_on_the_episode(tiny, sampler, meta):
    """`Learner.features` answers only where it is `features_cacheable`; maml's are the pixels as they are."""
    with pytest.raises(UserError, match=r"hard_tasks\.sampler"):
        tiny(meta=meta, hard_tasks={"sampler": sampler}, evaluate={"settings": [[3, 1]]})


def test_weights_of_sampler_and_objective_are_multiplied(trained, monkeypatch, index):
    seen = []

    def spied(learner, optimizer, images, batch, at_once, weigh, queries):
        def told(losses):
            seen.append((losses, weigh(losses)))
            return seen[-1][1]

        return meta_step(learner, optimizer, images, batch, at_once, told, queries)

    monkeypatch.setattr("mtl.training.meta_train.meta_step", spied)
    trained("run", sampler="uniform_difficulty", objective="cvar", tail=0.3)
    sampler = build_sampler(Config(hard_tasks=HardTasks("uniform_difficulty")), index)
    objective = build_objective("cvar", 0.3)
    assert len(seen) == 8
    for losses, weights in seen:
        torch.testing.assert_close(weights, sampler.task_weights(losses) * objective.task_weights(losses))
    assert len({w for _, weights in seen for w in weights.tolist()}) > 3


def test_where_all_tasks_count_alike_no_losses_are_found_out_beforehand(trained, monkeypatch):
    seen = []

    def spied(learner, optimizer, images, batch, at_once, weigh, queries):
        seen.append(weigh)
        return meta_step(learner, optimizer, images, batch, at_once, weigh, queries)

    monkeypatch.setattr("mtl.training.meta_train.meta_step", spied)
    trained("run", sampler="posterior")
    assert seen == [None] * 8


def test_the_learner_with_the_best_validation_is_kept_the_earliest_of_equal_ones(monkeypatch):
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.8])

    def solved(*_):
        return SimpleNamespace(accuracy=torch.tensor([next(scores)]))

    monkeypatch.setattr("mtl.training.meta_train.solve_episodes", solved)
    state = SimpleNamespace(
        config=SimpleNamespace(meta=Meta()), learner=torch.nn.Linear(1, 1), val_images=None, val_episodes=None
    )
    state.steps, state.best, kept = 5, None, []
    log = SimpleNamespace(clock=SimpleNamespace(elapsed=0.0), measured=lambda *_: None)
    for state.step in range(5):
        validate(state, log)
        kept.append(state.best["step"])
    assert kept == [0, 1, 1, 1, 4]
