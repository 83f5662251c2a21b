"""Learners trained one after the other: each begins afresh, and its round gives its vote."""

import pytest
import torch

from mtl.config import Runtime
from mtl.evaluation.baselines import baselines
from mtl.evaluation.evaluate import evaluate
from mtl.learners import Committee
from mtl.ledger.queries import rounds
from mtl.ledger.store import Ledger
from mtl.own_images.embedder import embedder_of_run
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.run_folder import RunFolder
from mtl.training import meta_train as stage
from mtl.training.meta_train import meta_train
from mtl.training.meta_train_state import STAGE
from mtl.training.restore import meta_trained_learner, read_pretrained
from mtl.training.run_data import load_run_data
from mtl.training.stage import weights_of

CPU = choose_device(Runtime(device="cpu"))


@pytest.fixture
def trained(tiny, from_pretrained):
    """Meta-trains three learners of two steps each; the config, and what meta.pt holds."""

    def train(sampler="boosted", **meta):
        config = tiny(
            run="learners",
            meta={"steps": 2, "learners": 3, "lr": 0.1, "validate_every": 1, **meta},
            hard_tasks={"sampler": sampler},
        )
        from_pretrained(config)
        meta_train(config)
        return config, checkpoints.read(RunFolder.of(config).meta)

    return train


def _learner(config, meta):
    pretrained = read_pretrained(RunFolder.of(config), config)
    return meta_trained_learner(meta, pretrained, config, load_run_data(config).splits.train, CPU)


def test_every_learner_begins_where_pretraining_ended(trained, monkeypatch):
    starts, plain = [], stage.validate

    def validate(state, log, **means):
        if state.best is None:
            starts.append((state.step, weights_of(state.learner)))
        plain(state, log, **means)

    monkeypatch.setattr(stage, "validate", validate)
    trained()
    assert [step for step, _ in starts] == [0, 2, 4]
    first = starts[0][1]
    assert all(torch.equal(first[k], other[k]) for _, other in starts[1:] for k in first)


def test_members_vote_by_the_alpha_of_the_round_that_they_end_with(trained):
    config, meta = trained()
    with Ledger.read(RunFolder.of(config).ledger) as ledger:
        kept = rounds(ledger, STAGE)
    assert [r.step for r in kept] == [0, 2, 4, 6]  # that of the pretrained backbone comes first
    assert [m["alpha"] for m in meta["members"]] == pytest.approx([r.alpha for r in kept[1:]])
    assert all(m["alpha"] > 0 for m in meta["members"])
    learner = _learner(config, meta)
    assert isinstance(learner, Committee)
    total = sum(r.alpha for r in kept[1:])
    assert learner.base_learner.votes.tolist() == pytest.approx([r.alpha / total for r in kept[1:]])


def test_a_round_measures_the_learner_that_votes(trained, monkeypatch):
    seen, plain = [], stage.measure

    def spied(learner, pictures, request):
        seen.append(weights_of(learner))
        return plain(learner, pictures, request)

    monkeypatch.setattr(stage, "measure", spied)
    _, meta = trained()
    assert len(seen) == 4
    for member, measured in zip(meta["members"], seen[1:], strict=True):
        assert all(torch.equal(member["learner"][k], measured[k]) for k in measured)


def test_learners_on_uniform_tasks_vote_alike(trained):
    config, meta = trained("uniform")
    pretrained = read_pretrained(RunFolder.of(config), config)
    names = [one.name for one in baselines(config, load_run_data(config), CPU, pretrained, meta)]
    assert names[:2] == ["meta-trained (mtl), 3 learners", "first learner alone"]
    assert "each alike" not in " ".join(names)
    assert [m["alpha"] for m in meta["members"]] == [None] * 3
    assert _learner(config, meta).base_learner.votes.tolist() == pytest.approx([1 / 3] * 3)


def test_the_schedule_of_each_learner_begins_anew(trained, monkeypatch):
    rates, plain = [], stage.set_rate
    monkeypatch.setattr(stage, "set_rate", lambda o, rate: (rates.append(rate), plain(o, rate)))
    trained()
    assert rates == pytest.approx(rates[:2] * 3)
    assert rates[0] > rates[1]


@pytest.mark.parametrize("train", ["all", "head", "ss"])
def test_an_evaluation_and_own_images_use_the_vote(trained, train):
    config, meta = trained(train=train)
    run_data = load_run_data(config)
    pretrained = read_pretrained(RunFolder.of(config), config)
    names = [one.name for one in baselines(config, run_data, CPU, pretrained, meta)]
    assert names[:3] == [
        "meta-trained (mtl), 3 learners",
        "vote of 3 learners, each alike",
        "first learner alone",
    ]
    evaluate(config, run_data)
    embedder = embedder_of_run(RunFolder.of(config).path)
    images = run_data.splits.test.images[:4]
    learner = _learner(config, meta).eval()
    with torch.no_grad():
        expected = learner.features(run_data.split_images("test", CPU)(torch.arange(4)))
    torch.testing.assert_close(embedder(images), expected, rtol=1e-4, atol=1e-4)
    assert embedder.origin.learners == 3


def test_the_head_may_have_a_learning_rate_of_its_own(tiny, from_pretrained, monkeypatch):
    """Adam's first step changes every parameter by its rate."""
    steps, plain = [], stage.meta_step

    def spied(learner, *args):
        before = weights_of(learner)
        outcome = plain(learner, *args)
        steps.append({k: float((v - before[k]).abs().max()) for k, v in weights_of(learner).items()})
        return outcome

    monkeypatch.setattr(stage, "meta_step", spied)
    config = tiny(
        meta={"steps": 1, "lr": 1e-3, "head_lr": 0.05, "train": "ss"}, hard_tasks={"sampler": "uniform"}
    )
    from_pretrained(config)
    meta_train(config)
    (change,) = steps
    assert change["base_learner.log_scale"] == pytest.approx(0.05, rel=1e-3)
    factors = [size for name, size in change.items() if name.endswith("factor")]
    assert factors == pytest.approx([1e-3] * len(factors), rel=1e-2)


def test_a_result_from_before_there_were_several_learners_is_read(trained):
    config, meta = trained(learners=1)
    older = {k: v for k, v in meta.items() if k != "members"}
    assert not isinstance(_learner(config, older), Committee)
    pretrained = read_pretrained(RunFolder.of(config), config)
    assert baselines(config, load_run_data(config), CPU, pretrained, older)[0].name == "meta-trained (mtl)"
