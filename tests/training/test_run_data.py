"""What a config makes of an image set before any training; groups of images reach every stage."""

import numpy as np
import pytest
import torch

from mtl.data import load_splits
from mtl.errors import UserError
from mtl.evaluation.evaluate import run
from mtl.ledger.store import Ledger
from mtl.runtime.run_folder import RunFolder
from mtl.training.pretrain import pretrain
from mtl.training.run_data import load_run_data


@pytest.mark.parametrize(
    "data", [{"probe_fraction": 0.5}, {"probe_fraction": 0.5, "imbalance": {"type": "step", "factor": 3}}]
)
def test_images_are_normalised_by_those_that_pretraining_sees(tiny, data):
    """Held-out images measure how well others do: no statistic of training may know them."""
    run_data = load_run_data(tiny(data=data))
    seen = run_data.splits.train.images[run_data.pretrain_images].double() / 255
    assert run_data.normalise.mean == pytest.approx([seen.mean().item()], abs=1e-12)
    assert run_data.normalise.std == pytest.approx([seen.std(correction=0).item()], abs=1e-12)
    everything = run_data.splits.train.images.double() / 255
    assert abs(everything.mean().item() - run_data.normalise.mean[0]) > 1e-6


def test_without_held_out_images_all_count(tiny):
    run_data = load_run_data(tiny())
    assert (list(run_data.normalise.mean), list(run_data.normalise.std)) == run_data.splits.train.mean_std()
    assert torch.equal(run_data.pretrain_images, torch.arange(len(run_data.splits.train)))


BY_LAST_DIGIT = {
    "group_by": r"(\d)\.png$"
}  # of twelve images of a class, 00 and 10, and 01 and 11 belong together


def test_no_episode_of_the_ledger_has_a_group_on_both_sides(tiny):
    config = tiny(data=BY_LAST_DIGIT)
    run(config)
    splits = load_splits(config.data, 0)
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    query = "SELECT p.split, e.shot, e.classes, e.images FROM episode e JOIN phase p ON p.id = e.id >> 40"
    seen = set()
    with Ledger.read(RunFolder.of(config).ledger) as ledger:
        for split, shot, classes, images in ledger.sql.execute(query).fetchall():
            seen.add(split)
            way, rows = len(classes) // 4, np.frombuffer(images, "<i4")
            groups = parts[split].group_ids().numpy()[rows]
            assert not set(groups[: way * shot]) & set(groups[way * shot :])
    assert "test" in seen
    assert "train" in seen


def test_held_out_images_are_whole_groups(tiny):
    run_data = load_run_data(tiny(data={**BY_LAST_DIGIT, "probe_fraction": 0.5}))
    groups = run_data.splits.train.group_ids()
    assert not set(groups[run_data.held_out].tolist()) & set(groups[run_data.pretrain_images].tolist())
    assert len(run_data.held_out) == 6 * 12


def test_groups_too_few_for_evaluation_are_told_before_any_training(tiny):
    with pytest.raises(UserError, match=r"of the test split has 12 images in 2 groups of data\.group_by"):
        load_run_data(tiny(data={"group_by": r"^(\d)"}, evaluate={"queries": 4, "settings": [[3, 3]]}))
    with pytest.raises(UserError, match=r"12 images in 2 groups .* leaves 2 queries at most beside 3"):
        load_run_data(tiny(data={"group_by": r"^(\d)"}, meta={"shot": 3, "queries": 5}))


def test_pretraining_validates_with_as_many_queries_as_the_groups_leave(tiny):
    config = tiny(  # of ten and two images: five shots leave two queries, not seven
        data={"group_by": r"^(\d)"},
        pretrain={"validate_every": 1, "validate_tasks": 4},
        meta={"shot": 1, "queries": 2},
        evaluate={"queries": 2, "settings": [[3, 1]]},
    )
    pretrain(config)
    assert RunFolder.of(config).pretrain.is_file()
    assert "val_5way_5shot" in RunFolder.of(config).metrics.read_text()
