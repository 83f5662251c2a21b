"""What a config makes of an image set before any training."""

import pytest
import torch

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
