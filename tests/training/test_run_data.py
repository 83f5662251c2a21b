"""What a config makes of an image set before any training."""

import pytest
import torch

from mtl.training.run_data import load_material


@pytest.mark.parametrize(
    "data", [{"probe_fraction": 0.5}, {"probe_fraction": 0.5, "imbalance": {"type": "step", "factor": 3}}]
)
def test_images_are_normalised_by_those_that_pretraining_sees(tiny, data):
    """Held-out images measure how well others do: no statistic of training may know them."""
    material = load_material(tiny(data=data))
    seen = material.splits.train.images[material.pretrain_images].double() / 255
    assert material.normalise.mean == pytest.approx([seen.mean().item()], abs=1e-12)
    assert material.normalise.std == pytest.approx([seen.std(correction=0).item()], abs=1e-12)
    everything = material.splits.train.images.double() / 255
    assert abs(everything.mean().item() - material.normalise.mean[0]) > 1e-6


def test_without_held_out_images_all_count(tiny):
    material = load_material(tiny())
    assert (list(material.normalise.mean), list(material.normalise.std)) == material.splits.train.mean_std()
    assert torch.equal(material.pretrain_images, torch.arange(len(material.splits.train)))
