"""Pretraining with images that count differently: on tiny real images, stopped and resumed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtl.config import Runtime
from mtl.losses import CrossEntropy
from mtl.runtime import checkpoints
from mtl.runtime.devices import choose_device
from mtl.runtime.interrupt import Interrupted
from mtl.runtime.run_folder import RunFolder
from mtl.training import curriculum
from mtl.training.pretrain import pretrain, pretrain_step
from mtl.training.pretrain_batches import Batch
from mtl.training.run_data import load_run_data

WAYS = {
    "sampling": {"balance": {"by": "sampling", "start": 0.5}},
    "weights": {"balance": {"by": "weights", "weighting": "inverse", "start": 0.5}},
    "logits": {"balance": {"by": "logits"}},
    "influence": {"examples": {"by": "influence", "start": 0.5}},
    "hardest": {"examples": {"by": "hardest", "scope": "memory", "part": 0.6, "cap": 0.1}},
    "self_paced": {"examples": {"by": "self_paced", "part": 0.4, "growth": 0.2}},
}
UNEVEN = {"imbalance": {"type": "exponential", "factor": 2}, "label_noise": 0.1}


def _result(config):
    payload = checkpoints.read(RunFolder.of(config).pretrain)
    return {k: v for k, v in payload.items() if k not in {"seconds", "config"}}


def _two(tiny, how):
    sections = {"pretrain": {"epochs": 4, "batch_size": 24, **how}, "data": UNEVEN}
    return tiny(run="whole", **sections), tiny(run="stopped", **sections)


@pytest.mark.parametrize("name", WAYS)
def test_goes_on_in_mid_epoch_exactly(tiny, interrupt_at, same, name):
    whole, stopped = _two(tiny, WAYS[name])
    pretrain(whole)
    coming = interrupt_at({2, 5, 9})
    while True:
        try:
            pretrain(stopped, resume=True)
        except Interrupted:
            continue
        break
    assert not coming
    assert same(_result(whole), _result(stopped))
    record, other = RunFolder.of(whole).curriculum, RunFolder.of(stopped).curriculum
    assert record.exists() == other.exists() == (name == "self_paced")
    if record.exists():
        assert torch.equal(curriculum.read(record).weights, curriculum.read(other).weights)


@pytest.mark.parametrize("name", WAYS)
def test_makes_another_network_than_plain_training(tiny, same, name):
    plain, other = _two(tiny, {})[0], _two(tiny, WAYS[name])[1]
    pretrain(plain)
    pretrain(other)
    assert not same(_result(plain)["backbone"], _result(other)["backbone"])


def test_the_record_of_a_curriculum_says_which_images_counted(tiny):
    config = _two(tiny, WAYS["self_paced"])[0]
    pretrain(config)
    found, run_data = curriculum.read(RunFolder.of(config).curriculum), load_run_data(config)
    assert torch.equal(found.images, run_data.pretrain_images)
    assert torch.equal(found.labels, run_data.splits.train.labels[run_data.pretrain_images])
    assert torch.equal(found.mislabelled, run_data.mislabelled[run_data.pretrain_images])
    assert found.weights.shape == (4, len(found.images))
    count = len(found.images) // 24 * 24  # what whole batches hold
    assert [(epoch >= 0).sum() for epoch in found.weights] == [count] * 4
    shares = [float((epoch > 0).sum() / count) for epoch in found.weights]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_one_head_for_each_set_leaves_the_classes_of_others_alone():
    device = choose_device(Runtime(device="cpu"))
    network = nn.ModuleDict({"backbone": nn.Flatten(), "classifier": _Linear(4, 5)})
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    before = network["classifier"].weight.detach().clone()
    images, labels = torch.randn(6, 1, 2, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    domains = torch.tensor([0, 0, 1, 1, 1])
    logits = network["classifier"](images.flatten(1))[:, :2]
    expected = float(F.cross_entropy(logits, labels).detach())
    batch = Batch(torch.arange(6), images, labels)
    loss, _ = pretrain_step(network, device, optimizer, CrossEntropy(), batch, domains)
    assert loss == pytest.approx(expected, rel=1e-5)
    moved = (network["classifier"].weight - before).abs().sum(1) > 0
    assert moved.tolist() == [True, True, False, False, False]


class _Linear(nn.Linear):
    def forward(self, features, labels=None):
        return super().forward(features)
