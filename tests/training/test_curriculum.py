"""The record of self-paced pretraining: what it holds is what the loss weighed."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl.errors import UserError
from mtl.runtime import checkpoints
from mtl.runtime.run_folder import RunFolder
from mtl.runtime.seeds import generator
from mtl.training import pretrain as stage
from mtl.training.curriculum import UNMET, percent, read, write
from mtl.training.pretrain import pretrain
from mtl.training.run_data import load_run_data


@pytest.fixture
def self_paced(tiny):
    """Makes configs of tiny self-paced runs with wrong labels, of whose images some are held out."""

    def make(**examples):
        examples = {"by": "self_paced", "part": 0.4, "growth": 0.3, "regulariser": "linear", **examples}
        config = tiny(pretrain={"epochs": 2, "batch_size": 20, "examples": examples})
        data = dataclasses.replace(config.data, label_noise=0.25, probe_fraction=0.35)
        return dataclasses.replace(config, data=data)

    return make


def test_percent_rounds_and_keeps_apart_what_counts_what_does_not_and_what_was_not_met():
    weights = torch.tensor([0.0, 1e-9, 0.004, 0.016, 0.5, 0.996, 1.0, math.nan])
    found = percent(weights)
    assert found.dtype == torch.int8
    assert found.tolist() == [0, 1, 1, 2, 50, 100, 100, UNMET]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_what_counts_is_known_from_percent(values):
    weights = torch.tensor(values)
    found = percent(weights)
    assert torch.equal(found > 0, weights > 0)
    assert (found.float() / 100 - weights).abs().max() <= 0.01
    assert found.max() <= 100


def test_a_record_is_read_as_it_was_written(self_paced, tmp_path):
    config = self_paced()
    run_data = load_run_data(config)
    rows, path = run_data.pretrain_images, tmp_path / "curriculum.pt"
    random = generator(0, "weights")
    admitted = [torch.randint(-1, 101, (len(rows),), generator=random).to(torch.int8) for _ in range(3)]
    header = checkpoints.header(config, "pretrain", run_data.splits.train.class_names)
    write(path, header, run_data, admitted)
    found = read(path)
    assert torch.equal(found.images, rows)
    assert torch.equal(found.labels, run_data.splits.train.labels[rows])
    assert torch.equal(found.mislabelled, run_data.mislabelled[rows])
    assert found.mislabelled.any()
    assert torch.equal(found.weights, torch.stack(admitted))
    assert found.class_names == run_data.splits.train.class_names


def test_pretraining_writes_what_its_loss_weighed(self_paced, monkeypatch):
    config = self_paced()
    run_data = load_run_data(config)
    seen, plain = [], stage.pretrain_step

    def spy(network, device, optimizer, objective, batch):
        done, criterion = plain(network, device, optimizer, objective, batch), objective.criterion
        seen.append((criterion.epoch, batch.rows.tolist(), criterion.weights_now[batch.rows].tolist()))
        return done

    monkeypatch.setattr(stage, "pretrain_step", spy)
    pretrain(config)
    found = read(RunFolder.of(config).curriculum)
    place = {image: i for i, image in enumerate(found.images.tolist())}
    expected = torch.full((2, len(place)), UNMET, dtype=torch.int8)
    for epoch, rows, weights in seen:
        for row, weight in zip(rows, weights, strict=True):
            expected[epoch, place[row]] = max(round(100 * weight), 1) if weight > 0 else 0
    assert torch.equal(found.weights, expected)
    assert {0, UNMET} < set(expected.flatten().tolist())  # 4 batches of 20 meet 80 of 96 images
    assert (expected > 0).sum(1).tolist() == [32, 56]  # 40 and 70 % of the 80, as asked for
    assert not torch.equal(found.images, torch.arange(len(place)))  # else places could be taken for images
    assert torch.equal(found.images, run_data.pretrain_images)


def test_no_other_pretraining_writes_a_record(pretrained):
    assert pretrained.exists()
    with pytest.raises(UserError, match=r"there is no such checkpoint; only pretraining with pretrain\.exam"):
        read(RunFolder(pretrained.parent).curriculum)


def test_what_is_no_record_is_refused(pretrained, tmp_path):
    with pytest.raises(UserError, match=r"pretrain\.pt: is not a record of self-paced pretraining"):
        read(pretrained)
    (tmp_path / "curriculum.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"curriculum\.pt: is damaged"):
        read(tmp_path / "curriculum.pt")
