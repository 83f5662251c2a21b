"""The networks that meta-training keeps of its last rounds, and their vote in an evaluation."""

import pytest
import torch

from mtl.config import Runtime
from mtl.episodes.episode import EpisodeShape
from mtl.evaluation.baselines import baselines
from mtl.ledger.queries import rounds
from mtl.ledger.store import Ledger
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.process import Interrupted
from mtl.runtime.run_folder import RunFolder
from mtl.training.meta_train import meta_train
from mtl.training.meta_train_state import STAGE
from mtl.training.restore import read_pretrained
from mtl.training.run_data import load_run_data
from mtl.training.solve import measure

CPU = choose_device(Runtime(device="cpu"))


@pytest.fixture
def trained(tiny, from_pretrained):
    """Meta-trains a tiny run from the pretrained backbone; its config."""

    def train(run="run", resume=False, **hard_tasks):
        config = tiny(run=run, hard_tasks={"snapshots": 2, **hard_tasks})
        from_pretrained(config)
        meta_train(config, resume)
        return config

    return train


def _kept(config):
    return checkpoints.read(RunFolder.of(config).meta)["snapshots"]


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

    def spied(learner, pictures, request):
        seen.append({k: v.clone() for k, v in learner.state_dict().items()})
        return measure(learner, pictures, request)

    monkeypatch.setattr("mtl.training.meta_train.measure", spied)
    kept = _kept(trained(snapshots=3))
    assert len(seen) == len(kept) == 3
    for one, tested in zip(kept, seen, strict=True):
        assert all(torch.equal(one["learner"][k], tested[k]) for k in tested)
    assert any(not torch.equal(kept[0]["learner"][k], kept[2]["learner"][k]) for k in kept[0]["learner"])


@pytest.mark.parametrize("stops", [{1, 4, 7}, {6}], ids=str)
def test_kept_networks_survive_a_resume_bit_for_bit(trained, interrupt_at, same, stops):
    wanted = _kept(trained("whole"))
    coming = interrupt_at(stops)
    while coming:
        with pytest.raises(Interrupted):
            trained("stopped", resume=True)
    assert same(_kept(trained("stopped", resume=True)), wanted)


def test_a_checkpoint_with_kept_networks_holds_nothing_but_weights(trained):
    path = RunFolder.of(trained()).meta
    assert len(torch.load(path, map_location="cpu", weights_only=True)["snapshots"]) == 2


def test_nothing_is_kept_unless_it_is_asked_for(trained):
    assert _kept(trained(snapshots=0)) == []


def test_keeping_networks_does_not_change_the_training(trained):
    one, other = (checkpoints.read(RunFolder.of(trained(f"{n}", snapshots=n)).meta) for n in (0, 2))
    assert one["score"] == other["score"]
    assert all(torch.equal(one["learner"][k], other["learner"][k]) for k in one["learner"])


def _baselines(config):
    folder, run_data = RunFolder.of(config), load_run_data(config)
    return baselines(config, run_data, CPU, read_pretrained(folder, config), checkpoints.read(folder.meta))


@pytest.mark.parametrize(
    ("hard_tasks", "rows"),
    [
        ({"sampler": "boosted_pool"}, ["vote of 2 rounds, by α", "vote of 2 rounds, each alike"]),
        ({"sampler": "class_pair"}, ["vote of 2 rounds, each alike"]),  # its rounds have no α
        ({"sampler": "uniform"}, []),
        ({"sampler": "boosted_pool", "snapshots": 0}, []),
    ],
    ids=str,
)
def test_votes_stand_behind_the_learner_in_an_evaluation(trained, hard_tasks, rows):
    found = _baselines(trained(**hard_tasks))
    assert [c.name for c in found][: 1 + len(rows)] == ["meta-trained (mtl)", *rows]
    assert len([c for c in found if "vote" in c.name]) == len(rows)


def test_a_vote_is_mirrored_where_the_learner_beside_it_is(tiny, trained):
    """All rows of an evaluation look at the same views of an image."""
    plain_config = trained()
    config = tiny(run="run", hard_tasks={"snapshots": 2}, evaluate={"mirror": True})
    episodes = load_run_data(config).fixed_episodes("test", EpisodeShape(3, 1, 4), 30, 0, "evaluate")
    plain, mirrored = (_baselines(c)[1].solve(episodes) for c in (plain_config, config))
    assert not torch.equal(mirrored.confusion, plain.confusion)
