"""What the sections balance, examples and sets make of training."""

import pytest
import torch

from mtl.config import Balance, Config, Data, Examples, Pretrain, Runtime, Sets
from mtl.errors import UserError
from mtl.losses import (
    ClassBalancedLoss,
    CrossEntropy,
    FocalLoss,
    HardExampleMiner,
    InfluenceBalancedLoss,
    LogitAdjustedLoss,
    SelfPacedLoss,
)
from mtl.runtime.devices import choose_device
from mtl.runtime.seeds import generator
from mtl.training.pretrain_batches import Batches, class_weights, image_level, pretraining_loss, start_epoch
from mtl.training.run_data import load_run_data

CPU = choose_device(Runtime(device="cpu"))
COUNTS = torch.tensor([40, 8, 2])


@pytest.fixture
def run_data(tiny):
    """RunData of a config: 12 base classes of 12 images."""
    return lambda **data: load_run_data(tiny(data=data, meta={"queries": 1}))


def test_plain_batches_are_those_of_one_permutation_an_epoch(tiny, run_data):
    config = tiny(pretrain={"batch_size": 40, "epochs": 2})
    batches = Batches(config, run_data(), CPU)
    assert batches.per_epoch == 144 // 40
    for epoch in range(2):
        order = torch.randperm(144, generator=generator(config.seed, "order", epoch))
        for place in range(3):
            found = batches.rows(epoch * 3 + place)
            assert torch.equal(found, order[40 * place : 40 * (place + 1)])


def test_a_batch_larger_than_the_set_is_the_set(tiny, run_data):
    batches = Batches(tiny(pretrain={"batch_size": 1000}), run_data(), CPU)
    assert batches.per_epoch == 1
    assert sorted(batches.rows(0).tolist()) == list(range(144))


def test_batches_hold_only_images_that_pretraining_may_see(tiny, run_data):
    long_tailed = {"imbalance": {"type": "exponential", "factor": 6}, "probe_fraction": 0.25}
    config, held = tiny(pretrain={"batch_size": 16}, data=long_tailed), run_data(**long_tailed)
    batches = Batches(config, held, CPU)
    seen = torch.cat([batches.rows(step) for step in range(batches.per_epoch)])
    assert set(seen.tolist()) <= set(held.pretrain_images.tolist())
    assert not set(seen.tolist()) & set(held.held_out.tolist())


def test_balanced_sampling_brings_all_classes_forward_from_its_start_on(tiny, run_data):
    data = {"imbalance": {"type": "step", "factor": 6}}
    held = run_data(**data)
    labels = held.splits.train.labels
    how = {
        "batch_size": 20,
        "epochs": 40,
        "balance": {"by": "sampling", "weighting": "inverse", "start": 0.5},
    }
    batches = Batches(tiny(pretrain=how, data=data), held, CPU)

    def share_of_small(epochs):
        steps = range(epochs.start * batches.per_epoch, epochs.stop * batches.per_epoch)
        drawn = torch.bincount(labels[torch.cat([batches.rows(s) for s in steps])], minlength=12)
        small = torch.bincount(labels[held.pretrain_images], minlength=12) == 2
        return float(drawn[small].sum() / drawn.sum())

    assert share_of_small(range(20)) == pytest.approx(1 / 7, abs=0.02)  # 2 of 14 images
    assert share_of_small(range(20, 40)) == pytest.approx(1 / 2, abs=0.04)


@pytest.mark.parametrize(
    ("balance", "examples", "kind", "base"),
    [
        ({}, {}, CrossEntropy, None),
        ({"by": "sampling"}, {}, CrossEntropy, None),
        ({"by": "weights"}, {}, ClassBalancedLoss, None),
        ({"by": "logits"}, {}, LogitAdjustedLoss, None),
        ({}, {"by": "focal"}, FocalLoss, CrossEntropy),
        ({"by": "weights"}, {"by": "influence"}, InfluenceBalancedLoss, ClassBalancedLoss),
        ({"by": "logits"}, {"by": "hardest", "scope": "memory"}, HardExampleMiner, LogitAdjustedLoss),
        ({}, {"by": "self_paced", "regulariser": "mixture"}, SelfPacedLoss, CrossEntropy),
    ],
)
def test_each_choice_is_the_loss_that_it_names(balance, examples, kind, base):
    how = Pretrain(balance=Balance(**balance), examples=Examples(**examples))
    found = pretraining_loss(how, COUNTS, 50)
    assert type(found) is kind
    assert base is None or type(found.base) is base


def test_keys_reach_the_loss():
    how = Pretrain(
        epochs=20,
        balance=Balance(by="weights", weighting="inverse", start=0.8),
        examples=Examples(
            by="self_paced", threshold="absolute", level=0.7, growth=0.1, regulariser="linear", start=0.25
        ),
    )
    found = pretraining_loss(how, COUNTS, 50)
    assert (found.start, found.growth, found.regulariser, found.start_epoch) == (0.7, 1.1, "linear", 5)
    assert found.base.start_epoch == 16
    inverse = 1 / COUNTS.double()
    torch.testing.assert_close(found.base.weights.double(), inverse * 3 / inverse.sum())
    focal = image_level(Examples(by="focal", gamma=0.5), CrossEntropy(), 10, None)
    assert focal.gamma == 0.5
    miner = image_level(Examples(by="hardest", part=0.4, cap=0.1, scope="class"), CrossEntropy(), 10, None)
    assert (miner.part, miner.cap, miner.scope) == (0.4, 0.1, "class")
    influence = image_level(
        Examples(by="influence", start=0.5, alpha=7, detach=False), CrossEntropy(), 10, None
    )
    assert (influence.start_epoch, influence.alpha, influence.detach) == (5, 7, False)


def test_class_weights_are_those_of_the_effective_number_or_the_inverse():
    effective = class_weights(Balance(by="weights", beta=0.9), COUNTS)
    number = (1 - 0.9 ** COUNTS.double()) / (1 - 0.9)
    torch.testing.assert_close(effective, 3 / number / (1 / number).sum())
    assert class_weights(Balance(weighting="inverse"), torch.tensor([4, 0, 2])).tolist() == pytest.approx(
        [2 / 3, 0, 4 / 3]
    )


@pytest.mark.parametrize(("share", "epochs", "first"), [(0, 10, 0), (0.8, 10, 8), (1, 3, 3), (0.5, 5, 2)])
def test_a_share_of_the_epochs_is_a_first_epoch(share, epochs, first):
    assert start_epoch(share, epochs) == first


def test_samples_of_each_set_stand_in_every_batch(tiny, run_data):
    held = run_data()
    train = held.splits.train
    object.__setattr__(train, "domains", ("glyphs",) * 4 + ("omniglot",) * 8)
    sets = Data(name="several", sets=("omniglot", "glyphs"))  # in another order than that of their names
    config = Config(data=sets, pretrain=Pretrain(batch_size=8, sets=Sets(samples=(6, 2))))
    batches = Batches(config, held, CPU)
    for step in range(batches.per_epoch):
        domain = train.domain_ids()[train.labels[batches.rows(step)]]
        assert domain.tolist() == [0] * 2 + [1] * 6

    much = Config(data=sets, pretrain=Pretrain(batch_size=300, sets=Sets(samples=(200, 100))))
    with pytest.raises(UserError, match=r"pretrain\.sets\.samples: .* \(glyphs 48, omniglot 96 images\)"):
        Batches(much, held, CPU)
    assert (
        Batches(Config(data=sets, pretrain=Pretrain(batch_size=300)), held, CPU).per_epoch == 2
    )  # one of each
